#!/usr/bin/env python3
"""30 networks in three exports each: does `otfuse` find a checkpoint's tensors, move its neurons and find them again?

For each network and export, the checkpoint is written as ONNX (`otfuse convert`), its neurons are brought into the order of
another's (`otfuse align`), then the moved copy is fused with the checkpoint. The first is run by onnxruntime, the others are
loaded strictly; all have to compute what the checkpoint does. Exports are made from the first checkpoint's network ("own") and
from one that was never trained ("other"). The last eight networks use a layer or a weight more than once.

usage: exports.py OTFUSE FOLDER [NETWORK ...]
needs torch, torchvision, onnx, onnxscript, onnxruntime; prints a table in Markdown
"""
import copy
import json
import logging
import pathlib
import subprocess
import sys
import warnings

import onnxruntime
import torch
import torchvision.models as vision
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

FORMS = {"default": {}, "optimize=False": {"optimize": False}, "dynamo=False": {"dynamo": False}}


class Net(nn.Module):
    """A module of the parts given, run by a function of itself and the inputs."""

    def __init__(self, run, **parts):
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs):
        return self.run(self, *inputs)


def relu_mean(x, axes):
    return functional.relu(x).mean(axes)


def cnn_with_norms():
    def run(net, x):
        x = functional.relu(net.b1(net.c1(x)))
        return net.fc(relu_mean(net.b2(net.c2(x)), (2, 3)))

    parts = {"c1": nn.Conv2d(3, 16, 3, bias=False), "b1": nn.BatchNorm2d(16), "c2": nn.Conv2d(16, 16, 3)}
    return Net(run, **parts, b2=nn.BatchNorm2d(16), fc=nn.Linear(16, 5))


def cnn():
    def run(net, x):
        x = functional.max_pool2d(functional.relu(net.c2(functional.relu(net.c1(x)))), 3)
        return net.f2(functional.relu(net.f1(x.flatten(1))))

    return Net(run, c1=nn.Conv2d(3, 12, 3), c2=nn.Conv2d(12, 16, 3), f1=nn.Linear(256, 24), f2=nn.Linear(24, 5))


def lstm():
    parts = {"e": nn.Embedding(20, 6), "r": nn.LSTM(6, 10, 2, batch_first=True), "o": nn.Linear(10, 4)}
    return Net(lambda net, x: net.o(net.r(net.e(x))[0][:, -1]), **parts)


def gru():
    cells = nn.GRU(6, 9, 2, batch_first=True, bidirectional=True)
    return Net(lambda net, x: net.o(net.r(x)[0].mean(1)), r=cells, o=nn.Linear(18, 4))


def rnn():
    return Net(lambda net, x: net.o(net.r(x)[0]), r=nn.RNN(6, 9, bidirectional=True), o=nn.Linear(18, 4))


def encoder():
    layer = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
    layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    net = Net(lambda net, x: net.o(net.t(net.i(x) + net.table).mean(1)), i=nn.Linear(6, 16), t=layers, o=nn.Linear(16, 3))
    net.register_buffer("table", torch.sin(torch.arange(112.0) * 0.7).view(1, 7, 16), persistent=False)
    return net


def block(width, heads):
    def run(net, x):
        batch, length, _ = x.shape
        split = lambda y: y.view(batch, length, heads, width // heads).transpose(1, 2)
        y = net.n1(x)
        y = functional.scaled_dot_product_attention(split(net.q(y)), split(net.k(y)), split(net.v(y)))
        x = x + net.p(y.transpose(1, 2).reshape(batch, length, width))
        return x + net.m(net.n2(x))

    linear = lambda **options: nn.Linear(width, width, **options)
    inner = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))
    norms = {"n1": nn.LayerNorm(width), "n2": nn.LayerNorm(width)}
    return Net(run, q=linear(), k=linear(bias=False), v=linear(), p=linear(), m=inner, **norms)


def attention():
    def run(net, x):
        x = net.e(x) + net.position
        for part in net.blocks:
            x = part(x)
        return net.o(net.n(x).mean(1))

    blocks = nn.ModuleList([block(16, 4), block(16, 4)])
    net = Net(run, e=nn.Embedding(20, 16), blocks=blocks, n=nn.LayerNorm(16), o=nn.Linear(16, 5))
    net.position = nn.Parameter(torch.randn(1, 7, 16))
    return net


def unet():
    def run(net, x):
        above = net.d1(x)
        below = net.m(net.d2(functional.max_pool2d(above, 2)))
        return net.o(net.u1(torch.cat([net.up(below), above], 1)))

    part = lambda a, b: nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(2, b), nn.PReLU(b))
    parts = {"d1": part(3, 8), "d2": part(8, 16), "m": part(16, 16), "u1": part(16, 8)}
    return Net(run, **parts, up=nn.ConvTranspose2d(16, 8, 2, stride=2), o=nn.Conv2d(8, 2, 1))


def weight_norm():
    norm = parametrizations.weight_norm
    run = lambda net, x: net.fc(relu_mean(net.c2(functional.relu(net.c1(x))), 2))
    return Net(run, c1=norm(nn.Conv1d(4, 12, 3)), c2=norm(nn.Conv1d(12, 12, 3, dilation=2)), fc=norm(nn.Linear(12, 3)))


def spectral_norm():
    def run(net, x):
        x = functional.leaky_relu(net.c2(functional.leaky_relu(net.c1(x))), 0.2).mean((2, 3))
        return net.f2(functional.relu(net.f1(x)))

    norm = parametrizations.spectral_norm
    parts = {"c1": norm(nn.Conv2d(3, 12, 3)), "c2": norm(nn.ConvTranspose2d(12, 10, 2)), "f1": norm(nn.Linear(10, 10))}
    return Net(run, **parts, f2=nn.Linear(10, 3))


def two_ends():
    def run(net, p, q):
        hidden = functional.relu(net.t(functional.relu(net.a(p)) + functional.relu(net.b(q))))
        return net.x(hidden), net.y(hidden)

    ends = {"x": nn.Linear(14, 3), "y": nn.Linear(14, 2)}
    return Net(run, a=nn.Linear(5, 12), b=nn.Linear(4, 12), t=nn.Linear(12, 14), **ends)


def autoencoder():
    encode = nn.Sequential(nn.Linear(20, 14), nn.Tanh(), nn.Linear(14, 6))
    decode = nn.Sequential(nn.Linear(6, 14), nn.Tanh(), nn.Linear(14, 20))
    return Net(lambda net, x: net.decode(net.encode(x)), encode=encode, decode=decode)


def dilated():
    layer = lambda a, dilation: [nn.Conv1d(a, 10, 3, dilation=dilation), nn.BatchNorm1d(10), nn.ReLU()]
    return Net(lambda net, x: net.o(net.net(x)), net=nn.Sequential(*layer(4, 2), *layer(10, 4)), o=nn.Conv1d(10, 3, 1))


def volumes():
    run = lambda net, x: net.f(relu_mean(net.c2(functional.relu(net.b(net.c1(x)))), (2, 3, 4)))
    return Net(run, c1=nn.Conv3d(2, 8, 3, padding=1), b=nn.BatchNorm3d(8), c2=nn.Conv3d(8, 10, 3), f=nn.Linear(10, 3))


def block_again():
    def run(net, x):
        x = net.i(x)
        for _ in range(3):
            x = x + net.block(x)
        return net.o(x).mean(1)

    inner = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
    return Net(run, i=nn.Linear(6, 16), block=inner, o=nn.Linear(16, 4))


def weight_transposed():
    def run(net, x):
        x = functional.relu(net.m(functional.relu(net.m(functional.relu(net.e(x))))))
        return functional.linear(x, net.e.weight.t(), net.bias)

    net = Net(run, e=nn.Linear(10, 12), m=nn.Linear(12, 12))
    net.bias = nn.Parameter(torch.randn(10))
    return net


def siamese():
    def run(net, p, q):
        ends = [functional.relu(net.b(functional.relu(net.a(x)))) for x in (p, q)]
        return net.o(torch.cat(ends, -1))

    return Net(run, a=nn.Linear(8, 8), b=nn.Linear(8, 8), o=nn.Linear(16, 3))


def constant_factor():
    net = Net(lambda net, x: net.o(functional.relu(net.a(x @ net.filters))), a=nn.Linear(8, 8), o=nn.Linear(8, 3))
    net.register_buffer("filters", torch.sin(torch.arange(64.0)).view(8, 8), persistent=False)
    return net


def beside_unused():
    def run(net, x):
        return net.o(functional.relu(net.b(functional.relu(net.b(functional.relu(net.a(x)))))))

    return Net(run, a=nn.Linear(5, 8), b=nn.Linear(8, 8), unused=nn.Linear(8, 8), o=nn.Linear(8, 3))


def copied_layers():
    def run(net, x):
        x = functional.relu(net.a(x))
        for layer in net.layers:
            x = functional.relu(layer(x))
        return net.o(x)

    layer = nn.Linear(8, 8)
    return Net(run, a=nn.Linear(5, 8), layers=nn.ModuleList([layer, copy.deepcopy(layer)]), o=nn.Linear(8, 3))


def norm_again():
    def run(net, x):
        x = functional.relu(net.a(x))
        for _ in range(2):
            x = functional.relu(net.norm(net.b(x)))
        return net.o(x.mean((2, 3)))

    layer = lambda a: nn.Conv2d(a, 8, 3, padding=1)
    return Net(run, a=layer(3), b=layer(8), norm=nn.BatchNorm2d(8), o=nn.Linear(8, 3))


def norm_for_each_use():
    def run(net, x):
        x = functional.relu(net.a(x))
        for norm in (net.n1, net.n2):
            x = functional.relu(norm(net.b(x)))
        return net.o(x.mean((2, 3)))

    layer = lambda a: nn.Conv2d(a, 8, 3, padding=1)
    return Net(run, a=layer(3), b=layer(8), n1=nn.BatchNorm2d(8), n2=nn.BatchNorm2d(8), o=nn.Linear(8, 3))


def random(*shape):
    return lambda: (torch.randn(*shape),)


def tokens():
    return (torch.randint(0, 20, (2, 7)),)


IMAGE = random(1, 3, 64, 64)
NETWORKS = {
    "CNN with batch normalisation": (cnn_with_norms, random(2, 3, 12, 12)),
    "CNN": (cnn, random(2, 3, 16, 16)),
    "LSTM": (lstm, tokens),
    "GRU, both directions": (gru, random(2, 7, 6)),
    "RNN, both directions": (rnn, random(7, 2, 6)),
    "TransformerEncoder, constant table": (encoder, random(2, 7, 6)),
    "own attention": (attention, tokens),
    "U-Net": (unet, random(1, 3, 16, 16)),
    "weight_norm": (weight_norm, random(2, 4, 20)),
    "spectral_norm": (spectral_norm, random(2, 3, 10, 10)),
    "two inputs, two outputs": (two_ends, lambda: (torch.randn(2, 5), torch.randn(2, 4))),
    "autoencoder": (autoencoder, random(2, 20)),
    "dilated Conv1d": (dilated, random(2, 4, 24)),
    "Conv3d": (volumes, random(1, 2, 6, 6, 6)),
    "resnet18": (lambda: vision.resnet18(num_classes=10), IMAGE),
    "mobilenet_v3_small": (lambda: vision.mobilenet_v3_small(num_classes=10), IMAGE),
    "efficientnet_b0": (lambda: vision.efficientnet_b0(num_classes=10), IMAGE),
    "convnext_tiny": (lambda: vision.convnext_tiny(num_classes=10), IMAGE),
    "densenet121": (lambda: vision.densenet121(num_classes=10), IMAGE),
    "shufflenet_v2": (lambda: vision.shufflenet_v2_x0_5(num_classes=10), IMAGE),
    "swin": (lambda: vision.SwinTransformer([4, 4], 32, [2, 2], [2, 4], [4, 4], num_classes=10), IMAGE),
    "VisionTransformer": (lambda: vision.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=10), random(1, 3, 32, 32)),
    "block used three times": (block_again, random(2, 5, 6)),
    "weight used transposed": (weight_transposed, random(2, 4, 10)),
    "siamese": (siamese, lambda: (torch.randn(2, 4, 8), torch.randn(2, 4, 8))),
    "constant factor": (constant_factor, random(2, 4, 8)),
    "layer used twice beside an unused one": (beside_unused, random(2, 4, 5)),
    "copied layers": (copied_layers, random(2, 4, 5)),
    "batch normalisation used twice": (norm_again, random(2, 3, 8, 8)),
    "convolution used twice, with two normalisations": (norm_for_each_use, random(2, 3, 8, 8)),
}


def trained(make, seed):
    """A network whose vectors and statistics are no longer all equal."""
    torch.manual_seed(seed)
    net = make().eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.dim() == 1 or any(word in name for word in ("position", "token", "layer_scale", "table")):
                parameter += 0.2 * torch.randn_like(parameter)
        for name, buffer in net.named_buffers():
            if name.endswith("running_mean"):
                buffer += 0.3 * torch.randn_like(buffer)
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand_like(buffer))
    return net


def outputs(net, x):
    with torch.no_grad():
        y = net(*x)
    return y if isinstance(y, tuple) else (y,)


def check(otfuse, folder, make, x, onnx):
    """What became of one export: a cell of the table, and whether all held."""
    paths = {name: str(folder / f"{name}.pt") for name in ("1", "2", "moved", "fused")}
    written = folder / "written.onnx"
    written.unlink(missing_ok=True)
    lines = [
        ["convert", paths["1"], str(written), "--arch", str(onnx)],
        ["align", paths["1"], paths["2"], "--arch", str(onnx), "-o", paths["moved"]],
        ["fuse", paths["moved"], paths["1"], "--arch", str(onnx), "-o", paths["fused"], "--json"],
    ]
    for line in lines:
        done = subprocess.run([otfuse, *line], capture_output=True, text=True)
        if done.returncode != 0:
            print(done.stderr, file=sys.stderr)
            return "refused", False
    net = make().eval()
    net.load_state_dict(torch.load(paths["1"]))
    wanted = outputs(net, x)
    session = onnxruntime.InferenceSession(str(written))
    inputs = {to.name: value.numpy() for to, value in zip(session.get_inputs(), x)}
    found = [torch.from_numpy(found) for found in session.run(None, inputs)]
    error = max(float((a - b).abs().max()) for a, b in zip(found, wanted))
    for name in ("moved", "fused"):
        net.load_state_dict(torch.load(paths[name]), strict=True)
        error = max([error, *(float((a - b).abs().max()) for a, b in zip(outputs(net, x), wanted))])
    groups = len(json.loads(done.stdout)["groups"])
    return f"{groups} groups, {error:.0e}", error < 1e-4


def main(otfuse, folder, *chosen):
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)
    print("| network | " + " | ".join(f"{form}, {of}" for form in FORMS for of in ("own", "other")) + " |")
    print("|---" * (1 + 2 * len(FORMS)) + "|")
    held = total = 0
    for name, (make, inputs) in NETWORKS.items():
        if chosen and name not in chosen:
            continue
        place = pathlib.Path(folder) / name.replace(" ", "_").replace(",", "")
        place.mkdir(parents=True, exist_ok=True)
        for seed in (1, 2):
            torch.save(trained(make, seed).state_dict(), place / f"{seed}.pt")
        torch.manual_seed(5)
        x = inputs()
        cells = []
        for form, options in FORMS.items():
            for of in ("own", "other"):
                torch.manual_seed(77)
                net = trained(make, 1) if of == "own" else make().eval()
                onnx = place / f"{form}.{of}.onnx"
                try:
                    torch.onnx.export(net, x, str(onnx), verbose=False, **options)
                except torch.onnx.errors.OnnxExporterError as error:
                    cells.append("no export")
                    print(f"{name}, {form}: {type(error).__name__}", file=sys.stderr)
                    continue
                cell, ok = check(otfuse, place, make, x, onnx)
                held, total = held + ok, total + 1
                cells.append(cell)
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{held} of {total} exports")


if __name__ == "__main__":
    main(*sys.argv[1:])
