#!/usr/bin/env python3
"""Writes gradients.json beside this file: gradients of single operators, computed by PyTorch in double precision.

usage: gen_gradients.py        needs numpy, torch; reads the inputs in operators.json

The gradient is that of sum_k cos(k + 1) y_k, where y_k are the elements of the first output in row-major order.
"""
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

folder = pathlib.Path(__file__).parent
golden = json.loads((folder / "operators.json").read_text())


def conv(x, w, b=None, *, pads, strides=1, dilations=1, groups=1):
    """Pads as ONNX lists them: all begins, then all ends."""
    n = len(pads) // 2
    x = F.pad(x, [p for axis in reversed(range(n)) for p in (pads[axis], pads[n + axis])])
    return [F.conv1d, F.conv2d, F.conv3d][n - 1](x, w, b, stride=strides, dilation=dilations, groups=groups)


def max_pool(x, kernel, pads, strides, ceil=False):
    n = len(kernel)
    x = F.pad(x, [p for axis in reversed(range(n)) for p in (pads[axis], pads[n + axis])], value=-np.inf)
    return [F.max_pool1d, F.max_pool2d, F.max_pool3d][n - 1](x, kernel, strides, ceil_mode=ceil)


def average_pool(x, kernel, pads, strides, include=False):
    n = len(kernel)
    pads = [p for axis in reversed(range(n)) for p in (pads[axis], pads[n + axis])]
    pool = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][n - 1]
    mean = pool(F.pad(x, pads), kernel, strides)
    return mean if include else mean / pool(F.pad(torch.ones_like(x), pads), kernel, strides)


def batch_norm(x, scale, bias, mean, variance, epsilon):
    """With gradients by the statistics too, which PyTorch's does not give."""
    scale, bias, mean, variance = (p.reshape(-1, *[1] * (x.ndim - 2)) for p in (scale, bias, mean, variance))
    return (x - mean) / torch.sqrt(variance + epsilon) * scale + bias


def transposed(x, w, pads, strides=1):
    """Pads as ONNX lists them are cut off the whole output."""
    n = len(pads) // 2
    y = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][n - 1](x, w, stride=strides)
    for axis in range(n):
        y = y.narrow(2 + axis, pads[axis], y.shape[2 + axis] - pads[axis] - pads[n + axis])
    return y


def recurrent(kind, x, w, r, b=None, lengths=None, h=None, c=None, *, reverse=False, linear_before_reset=False):
    """The cells step by step, in ONNX's order of gates (LSTM i, o, f, c; GRU z, r, h)."""
    steps, samples, hidden = x.shape[0], x.shape[1], r.shape[2]
    w, r = w[0], r[0]
    wb, rb = b[0].split(b.shape[1] // 2) if b is not None else [torch.zeros(len(w), dtype=x.dtype)] * 2
    h = torch.zeros(samples, hidden, dtype=x.dtype) if h is None else h[0]
    c = torch.zeros_like(h) if c is None else c[0]
    lengths = torch.full([samples], steps) if lengths is None else lengths
    outputs = [None] * steps
    for step in reversed(range(steps)) if reverse else range(steps):
        of_x = (x[step] @ w.T + wb).split(hidden, 1)
        of_h = (h @ r.T + rb).split(hidden, 1)
        if kind == "RNN":
            new, cell = torch.tanh(of_x[0] + of_h[0]), c
        elif kind == "GRU":
            update, reset = torch.sigmoid(of_x[0] + of_h[0]), torch.sigmoid(of_x[1] + of_h[1])
            linear = reset * of_h[2] if linear_before_reset else (reset * h) @ r[2 * hidden:].T + rb[2 * hidden:]
            new, cell = (1 - update) * torch.tanh(of_x[2] + linear) + update * h, c
        else:
            i, o, f, g = (a + b for a, b in zip(of_x, of_h))
            cell = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            new = torch.sigmoid(o) * torch.tanh(cell)
        alive = (step < lengths)[:, None]
        outputs[step] = torch.where(alive, new, 0.0)
        h, c = torch.where(alive, new, h), torch.where(alive, cell, c)
    return torch.stack(outputs)[:, None]


def space_to_depth(x, block):
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // block, block, w // block, block)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, h // block, w // block)


def cells(kind):
    run = lambda *a, **k: recurrent(kind, *a, **k)
    whole = {"linear_before_reset": True} if kind == "GRU" else {}
    return {kind: run, f"{kind}_all": lambda *a: run(*a, **whole), f"{kind}_reverse": lambda *a: run(*a, reverse=True)}


OPERATORS = {
    **{name: getattr(torch, name.lower()) for name in "Relu Sigmoid Tanh Exp Reciprocal Abs Neg Erf Sin Cos Tan Log Sqrt".split()},
    "Softplus": F.softplus, "Softsign": F.softsign, "Mish": F.mish, "HardSwish": F.hardswish,
    "LeakyRelu": lambda x: F.leaky_relu(x, 0.2), "Elu": lambda x: F.elu(x, 1.5), "Celu": lambda x: F.celu(x, 0.7), "Selu": F.selu,
    "HardSigmoid": lambda x: torch.clamp(0.3 * x + 0.4, 0, 1), "ThresholdedRelu": lambda x: torch.where(x > 0.5, x, 0.0),
    "Gelu": F.gelu, "Gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "Pow": torch.pow,
    "Pow_scalar": lambda x, p: x ** 3 + 0 * p,
    "Sum": lambda *xs: sum(xs), "Mean": lambda *xs: sum(xs) / len(xs),
    "Min": torch.minimum, "Max": lambda a, b, c: torch.maximum(torch.maximum(a, b), c),
    "PRelu": lambda x, a: torch.where(x < 0, a * x, x), "Where": lambda c, a, b: torch.where(c != 0, a, b),
    "Clip_above": lambda x, _, most: torch.clamp(x, max=most.item()),
    **{f"MatMul{kind}": torch.matmul for kind in ["", "_batches", "_weights", "_vector_left", "_vector_right", "_vectors"]},
    "Gemm": lambda a, b, c: 0.5 * a.T @ b.T + 2 * c, "Gemm_scalar_bias": lambda a, b, c: a @ b + c,
    "Conv": lambda *a: conv(*a, strides=[2, 1], pads=[1, 0, 2, 1]),
    "Conv_dilated_groups": lambda *a: conv(*a, groups=2, dilations=[2, 1], pads=[1, 1, 1, 1]),
    "Conv_depthwise": lambda *a: conv(*a, groups=3, pads=[1, 1, 1, 1], strides=[2, 2]),
    "Conv_same_upper": lambda *a: conv(*a, pads=[1, 1, 1, 1], strides=[2, 2]),
    "Conv_1d": lambda *a: conv(*a, pads=[2, 1], dilations=[2]),
    "ConvTranspose": lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2)[:, :, 1:, :][:, :, :7, :8],
    "ConvTranspose_groups": lambda x, w: F.conv_transpose2d(x, w, groups=2, dilation=[2, 1]),
    "ConvTranspose_1d": lambda x, w: F.conv_transpose1d(x, w, stride=2, padding=1),
    "MaxPool": lambda x: max_pool(x, [3, 2], [1, 0, 1, 1], [2, 2]),
    "MaxPool_ceil": lambda x: max_pool(x, [3, 3], [0, 0, 0, 0], [2, 2], True),
    "MaxPool_1d": lambda x: max_pool(x, [3], [1, 1], [2]),
    "AveragePool": lambda x: average_pool(x, [3, 2], [1, 0, 1, 1], [2, 2]),
    "AveragePool_include": lambda x: average_pool(x, [3, 2], [1, 0, 1, 1], [2, 2], True),
    "AveragePool_1d": lambda x: average_pool(x, [3], [1, 0], [2]),
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True), "GlobalMaxPool": lambda x: x.amax(2, keepdim=True),
    "BatchNormalization": lambda *a: batch_norm(*a, 1e-3), "BatchNormalization_flat": lambda *a: batch_norm(*a, 1e-5),
    "InstanceNormalization": lambda x, s, b: F.instance_norm(x, weight=s, bias=b, eps=1e-3),
    "LayerNormalization": lambda x, s, b: F.layer_norm(x, [4], s, b),
    "LayerNormalization_axes": lambda x, s: F.layer_norm(x, [3, 4], s, eps=1e-2),
    "LRN": lambda x: F.local_response_norm(x, 3, 0.5, 0.6, 1.5), "LRN_odd": lambda x: F.local_response_norm(x, 5),
    "Softmax": lambda x: F.softmax(x, 1), "LogSoftmax": lambda x: F.log_softmax(x, -1),
    "ReduceSum": lambda x, _: x.sum((0, -1)), "ReduceMean": lambda x, _: x.mean(1, keepdim=True),
    "ReduceMax": lambda x, _: x.amax(1), "ReduceMin": lambda x, _: x.amin(1), "ReduceL1": lambda x, _: x.abs().sum(1),
    "ReduceL2": lambda x, _: x.norm(dim=1), "ReduceSumSquare": lambda x, _: (x * x).sum(1),
    "ReduceLogSumExp": lambda x, _: x.logsumexp(1), "ReduceLogSum": lambda x, _: x.sum(0).log(), "ReduceSum_all": torch.sum,
    "Flatten": lambda x: x.reshape(6, 4), "Reshape": lambda x, _: x.reshape(2, -1, 2), "Transpose": lambda x: x.permute(1, 2, 0),
    "Squeeze": lambda x, _: x.squeeze(-1), "Unsqueeze": lambda x, _: x[None, :, :, None],
    "Concat": lambda a, b: torch.cat([a, b], -1), "Split": lambda x, _: x[:1], "Split_equal": lambda x: x[:, :3],
    "Slice": lambda x, *_: x[1:1000, -100:-1:2], "Slice_backwards": lambda x, *_: x[[3, 2, 1]][:, [5, 3, 1]],
    "Pad": lambda x, *_: F.pad(x, [0, 2, 1, 0], value=1.5), "Pad_reflect": lambda x, _: F.pad(x[None], [1, 3, 2, 1], mode="reflect")[0],
    "Gather": lambda x, i: x[:, i.long()], "Expand": lambda x, _: x.expand(2, 3, 4), "Tile": lambda x, _: x.tile(2, 2),
    "Identity": lambda x: x * 1.0,
    "Clip": lambda x, least, most: torch.clamp(x, least.item(), most.item()),
    "Conv_same_lower": lambda *a: conv(*a, pads=[1, 1, 1, 1], strides=[2, 2]),
    "Conv_3d": lambda *a: conv(*a, pads=[1, 0, 1, 0, 1, 1], strides=[1, 2, 1]),
    "ConvTranspose_same": lambda x, w: transposed(x, w, [0, 0, 1, 1], 2),
    "ConvTranspose_3d": lambda x, w: transposed(x, w, [0] * 6, [2, 1, 1]),
    "ConvTranspose_shape": lambda x, w: F.pad(F.conv_transpose2d(x, w, stride=[3, 2]), [0, 1, 0, 1]),
    "MaxPool_3d": lambda x: max_pool(x, [2, 2, 3], [0] * 6, [2, 1, 2]),
    "MaxPool_dilated": lambda x: F.max_pool2d(x, [2, 3], stride=1, dilation=2),
    "AveragePool_ceil": lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True),
    "AveragePool_3d": lambda x: average_pool(x, [2, 2, 3], [0, 1, 0, 0, 0, 1], [2, 1, 2]),
    "ReduceProd": lambda x, _: x.prod(1, keepdim=True), "ReduceSum_noop": lambda x: x * 1.0,
    "Flatten_all": lambda x: x.reshape(1, -1), "Reshape_scalar": lambda x, _: x.reshape(()),
    "Transpose_reverse": lambda x: x.permute(2, 1, 0), "Squeeze_all": torch.squeeze,
    "Pad_negative": lambda x, _: F.pad(x, [1, -1, -1, 0]), "Pad_wrap": lambda x, _: F.pad(x[None], [2, 2, 1, 1], mode="circular")[0],
    "Pad_edge": lambda x, *_: F.pad(x[None], [2, 2, 0, 0], mode="replicate")[0],
    **cells("RNN"), **cells("GRU"), **cells("LSTM"),
    "GroupNormalization": lambda x, s, b: F.group_norm(x, 2, eps=1e-3) * s.repeat_interleave(2)[:, None] + b.repeat_interleave(2)[:, None],
    "Resize_nearest": lambda x, *_: F.interpolate(x, scale_factor=(2, 3)),
    "Resize_linear": lambda x, *_: F.interpolate(x, scale_factor=(1.5, 2), mode="bilinear"),
    "Resize_corners": lambda x, *_: F.interpolate(x, (3, 5), mode="bilinear", align_corners=True),
    "DepthToSpace": lambda x: F.pixel_shuffle(x, 2), "SpaceToDepth": lambda x: space_to_depth(x, 2),
    "Trilu": lambda x, _: torch.tril(x, 1), "TopK": lambda x, _: x.topk(2, 1).values,
    "CumSum": lambda x, _: x.flip(1).cumsum(1).flip(1) - x,
    "GatherElements": lambda x, i: x.gather(0, i.long() % 3), "GatherND": lambda x, i: x[tuple(i.long().T)],
    "ScatterElements": lambda x, i, u: torch.scatter(x, 0, i.long(), u), "ScatterND": lambda x, i, u: x.index_put((i.long()[:, 0],), u),
}

results = {}
for name, function in OPERATORS.items():
    inputs = []
    for value in golden[name]["inputs"]:
        if value is None:
            inputs.append(None)
            continue
        tensor = torch.tensor(np.array(value["data"], dtype="float64").reshape(value["shape"]))
        inputs.append(tensor.requires_grad_(value["type"] == "float32"))
    output = function(*inputs)
    expected = golden[name]["outputs"][0]
    assert list(output.shape) == expected["shape"], (name, output.shape, expected["shape"])
    assert np.allclose(output.detach().numpy().ravel(), expected["data"], rtol=1e-4, atol=1e-4), name
    (output.reshape(-1) * torch.cos(torch.arange(1, output.numel() + 1, dtype=torch.float64))).sum().backward()
    results[name] = [None if x is None or x.grad is None else [float(f"{v:.7g}") for v in x.grad.ravel()] for x in inputs]

lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(results.items()))
(folder / "gradients.json").write_text("{\n" + lines + "\n}\n")
print(len(results), "cases")
