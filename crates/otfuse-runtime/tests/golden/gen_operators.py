#!/usr/bin/env python3
"""Writes operators.json beside this file: inputs and outputs of single operators, computed by onnxruntime.

usage: gen_operators.py        needs numpy, onnx, onnxruntime

`tests/operators.rs` holds the same operators under the same names.
"""
import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

rng = np.random.default_rng(0)
cases = {}


def floats(*shape, low=-2.0, high=2.0):
    return np.round(rng.uniform(low, high, shape), 3).astype(np.float32)


def ints(*values):
    return np.array(values, dtype=np.int64)


def case(name, op, inputs, outputs=1, **attributes):
    inputs = [None if x is None else np.asarray(x) for x in inputs]
    names = ["" if x is None else f"i{k}" for k, x in enumerate(inputs)]
    node = helper.make_node(op, names, [f"o{k}" for k in range(outputs)], **attributes)
    given = {f"i{k}": x for k, x in enumerate(inputs) if x is not None}
    infos = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for k, x in given.items()
    ]
    outs = [helper.make_empty_tensor_value_info(f"o{k}") for k in range(outputs)]
    graph = helper.make_graph([node], name, infos, outs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    model = onnx.shape_inference.infer_shapes(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results = session.run(None, given)
    dump = lambda x: None if x is None else {
        "type": str(x.dtype),
        "shape": list(x.shape),
        "data": [int(v) for v in x.flat] if x.dtype.kind in "iub" else [float(v) for v in x.flat],
    }
    cases[name] = {"inputs": [dump(x) for x in inputs], "outputs": [dump(np.asarray(x)) for x in results]}


x = floats(2, 3)
for op in "Relu Sigmoid Tanh Exp Reciprocal Abs Neg Sign Erf Floor Ceil Round Sin Cos Tan Softplus Softsign Mish HardSwish".split():
    case(op, op, [np.append(x, [[0.0, 0.5, 1.5]], 0).astype(np.float32) if op != "Reciprocal" else x])
for op in ["Log", "Sqrt"]:
    case(op, op, [floats(2, 3, low=0.1)])
case("LeakyRelu", "LeakyRelu", [x], alpha=0.2)
case("Elu", "Elu", [x], alpha=1.5)
case("Celu", "Celu", [x], alpha=0.7)
case("Selu", "Selu", [x])
case("HardSigmoid", "HardSigmoid", [x], alpha=0.3, beta=0.4)
case("ThresholdedRelu", "ThresholdedRelu", [x], alpha=0.5)
case("Gelu", "Gelu", [x])
case("Gelu_tanh", "Gelu", [x], approximate="tanh")
case("Not", "Not", [np.array([True, False])])

for op in ["Add", "Sub", "Mul", "Div"]:
    case(op, op, [floats(2, 1, 3), floats(4, 1, low=0.5)])
case("Div_integers", "Div", [ints(7, -7, 9), ints(2, 2, -4)])
case("Pow", "Pow", [floats(2, 3, low=0.1), floats(3)])
case("Pow_scalar", "Pow", [floats(2, 3), np.float32(3.0).reshape(())])
case("Mod", "Mod", [ints(7, -7, 7, -7), ints(3, 3, -3, -3)])
case("Mod_truncated", "Mod", [floats(5), np.float32([1.0, -0.7, 0.3, 1.5, 0.9])], fmod=1)
for op in ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]:
    case(op, op, [np.float32([[1, 2], [3, 4]]), np.float32([2, 4])])
for op in ["And", "Or", "Xor"]:
    case(op, op, [np.array([[True], [False]]), np.array([True, False])])
case("Sum", "Sum", [floats(2, 3), floats(3), floats(2, 1)])
case("Mean", "Mean", [floats(2, 3), floats(3)])
case("Min", "Min", [floats(2, 3), floats(3)])
case("Max", "Max", [floats(2, 3), floats(3), floats(1)])
case("PRelu", "PRelu", [floats(2, 3, 2), floats(3, 1)])
case("Clip", "Clip", [x, np.float32(-0.5), np.float32(1.0)])
case("Clip_above", "Clip", [x, None, np.float32(1.0)])
case("Clip_integers", "Clip", [ints(-5, 0, 9), np.int64(-1), np.int64(4)])
case("Where", "Where", [np.array([[True], [False]]), floats(3), floats(2, 3)])
case("Where_integers", "Where", [np.array([True, False]), ints(1, 2), ints(3, 4)])

case("MatMul", "MatMul", [floats(2, 3), floats(3, 4)])
case("MatMul_batches", "MatMul", [floats(2, 1, 3, 4), floats(5, 4, 2)])
case("MatMul_weights", "MatMul", [floats(2, 3, 4), floats(4, 5)])
case("MatMul_vector_left", "MatMul", [floats(4), floats(2, 4, 3)])
case("MatMul_vector_right", "MatMul", [floats(2, 3, 4), floats(4)])
case("MatMul_vectors", "MatMul", [floats(4), floats(4)])
case("Gemm", "Gemm", [floats(3, 2), floats(4, 3), floats(2, 1)], alpha=0.5, beta=2.0, transA=1, transB=1)
case("Gemm_scalar_bias", "Gemm", [floats(2, 3), floats(3, 2), np.float32(1.5).reshape(())])

case("Conv", "Conv", [floats(2, 3, 6, 5), floats(4, 3, 3, 2), floats(4)], strides=[2, 1], pads=[1, 0, 2, 1])
case("Conv_dilated_groups", "Conv", [floats(1, 4, 7, 7), floats(6, 2, 3, 3)], group=2, dilations=[2, 1], pads=[1, 1, 1, 1])
case("Conv_depthwise", "Conv", [floats(1, 3, 5, 5), floats(3, 1, 3, 3)], group=3, pads=[1, 1, 1, 1], strides=[2, 2])
case("Conv_same_upper", "Conv", [floats(1, 2, 5, 6), floats(2, 2, 3, 4)], auto_pad="SAME_UPPER", strides=[2, 2])
case("Conv_same_lower", "Conv", [floats(1, 2, 5, 6), floats(2, 2, 3, 4)], auto_pad="SAME_LOWER", strides=[2, 2])
case("Conv_1d", "Conv", [floats(2, 2, 7), floats(3, 2, 3), floats(3)], pads=[2, 1], dilations=[2])
case("Conv_3d", "Conv", [floats(1, 2, 4, 5, 3), floats(2, 2, 2, 3, 2)], pads=[1, 0, 1, 0, 1, 1], strides=[1, 2, 1])
case("ConvTranspose", "ConvTranspose", [floats(1, 2, 3, 4), floats(2, 3, 3, 3), floats(3)], strides=[2, 2], pads=[1, 0, 1, 2], output_padding=[1, 1])
case("ConvTranspose_groups", "ConvTranspose", [floats(2, 4, 3, 3), floats(4, 2, 2, 3)], group=2, dilations=[2, 1])
case("ConvTranspose_shape", "ConvTranspose", [floats(1, 1, 3, 3), floats(1, 2, 3, 3)], strides=[3, 2], output_shape=[10, 8])
case("ConvTranspose_same", "ConvTranspose", [floats(1, 1, 3, 3), floats(1, 2, 3, 3)], strides=[2, 2], auto_pad="SAME_UPPER")
case("ConvTranspose_1d", "ConvTranspose", [floats(1, 2, 4), floats(2, 1, 3)], strides=[2], pads=[1, 1])
case("ConvTranspose_3d", "ConvTranspose", [floats(1, 1, 2, 3, 2), floats(1, 2, 2, 2, 3)], strides=[2, 1, 1])

case("MaxPool", "MaxPool", [floats(2, 2, 6, 5)], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
case("MaxPool_ceil", "MaxPool", [floats(1, 2, 6, 6)], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
case("MaxPool_ceil_pads", "MaxPool", [floats(1, 1, 5, 7)], kernel_shape=[2, 3], strides=[3, 2], pads=[1, 1, 1, 1], ceil_mode=1)
case("MaxPool_dilated", "MaxPool", [floats(1, 1, 6, 7)], kernel_shape=[2, 3], dilations=[2, 2])
case("MaxPool_same", "MaxPool", [floats(1, 1, 5, 6)], kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_LOWER")
case("MaxPool_1d", "MaxPool", [floats(2, 2, 7)], kernel_shape=[3], strides=[2], pads=[1, 1])
case("MaxPool_3d", "MaxPool", [floats(1, 2, 4, 4, 5)], kernel_shape=[2, 2, 3], strides=[2, 1, 2])
case("AveragePool", "AveragePool", [floats(2, 2, 6, 5)], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
case("AveragePool_include", "AveragePool", [floats(2, 2, 6, 5)], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], count_include_pad=1)
case("AveragePool_ceil", "AveragePool", [floats(1, 2, 6, 6)], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
case("AveragePool_ceil_include", "AveragePool", [floats(1, 1, 6, 6)], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0], ceil_mode=1, count_include_pad=1)
case("AveragePool_1d", "AveragePool", [floats(2, 2, 7)], kernel_shape=[3], strides=[2], pads=[1, 0])
case("AveragePool_3d", "AveragePool", [floats(1, 2, 4, 4, 5)], kernel_shape=[2, 2, 3], strides=[2, 1, 2], pads=[0, 1, 0, 0, 0, 1])
case("AveragePool_dilated", "AveragePool", [floats(1, 1, 6, 7)], kernel_shape=[2, 3], dilations=[2, 2])
case("GlobalAveragePool", "GlobalAveragePool", [floats(2, 3, 4, 2)])
case("GlobalMaxPool", "GlobalMaxPool", [floats(2, 3, 5)])

case("BatchNormalization", "BatchNormalization", [floats(2, 3, 2, 2), floats(3), floats(3), floats(3), floats(3, low=0.1)], epsilon=1e-3)
case("BatchNormalization_flat", "BatchNormalization", [floats(4, 3), floats(3), floats(3), floats(3), floats(3, low=0.1)])
case("InstanceNormalization", "InstanceNormalization", [floats(2, 3, 4, 2), floats(3), floats(3)], epsilon=1e-3)
case("LayerNormalization", "LayerNormalization", [floats(2, 3, 4), floats(4), floats(4)])
case("LayerNormalization_axes", "LayerNormalization", [floats(2, 3, 4), floats(3, 4)], axis=1, epsilon=1e-2)
case("LRN", "LRN", [floats(1, 6, 2, 2)], size=3, alpha=0.5, beta=0.6, bias=1.5)
case("LRN_odd", "LRN", [floats(1, 6, 2, 2)], size=5)
case("Softmax", "Softmax", [floats(2, 3, 4)], axis=1)
case("LogSoftmax", "LogSoftmax", [floats(2, 3, 4)], axis=-1)

for kind in ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp"]:
    axes = {"Sum": ints(0, -1)}.get(kind, ints(1))
    case(f"Reduce{kind}", f"Reduce{kind}", [floats(2, 5, 2), axes], keepdims=int(kind in ["Mean", "Prod"]))
case("ReduceLogSum", "ReduceLogSum", [floats(2, 3, low=0.1), ints(0)], keepdims=0)
case("ReduceSum_all", "ReduceSum", [floats(2, 3)], keepdims=0)
case("ReduceSum_noop", "ReduceSum", [floats(2, 3)], noop_with_empty_axes=1)
case("ReduceProd_integers", "ReduceProd", [ints(2, 3, 4), ints(0)], keepdims=0)
case("ArgMax", "ArgMax", [np.float32([[1, 3, 3], [4, 2, 4]])], axis=1, keepdims=0)
case("ArgMin", "ArgMin", [floats(2, 3, 2)], axis=-2, keepdims=1)

y = floats(2, 3, 4)
case("Flatten", "Flatten", [y], axis=2)
case("Flatten_all", "Flatten", [y], axis=0)
case("Reshape", "Reshape", [y, ints(0, -1, 2)])
case("Reshape_scalar", "Reshape", [floats(1, 1), np.array([], dtype=np.int64)])
case("Transpose", "Transpose", [y], perm=[1, 2, 0])
case("Transpose_reverse", "Transpose", [y])
case("Squeeze", "Squeeze", [floats(1, 3, 1), ints(-1)])
case("Squeeze_all", "Squeeze", [floats(1, 3, 1)])
case("Unsqueeze", "Unsqueeze", [floats(3, 2), ints(0, -1)])
case("Concat", "Concat", [floats(2, 3), floats(2, 1)], axis=-1)
case("Concat_integers", "Concat", [ints(1, 2), ints(3)], axis=0)
case("Split", "Split", [floats(5, 2), ints(1, 4)], outputs=2, axis=0)
case("Split_equal", "Split", [floats(2, 7)], outputs=3, axis=1, num_outputs=3)
case("Slice", "Slice", [floats(4, 6), ints(1, -100), ints(1000, -1), ints(0, 1), ints(1, 2)])
case("Slice_backwards", "Slice", [floats(4, 6), ints(-1, 4), ints(-1000, 0), ints(1, 0), ints(-2, -1)])
case("Slice_integers", "Slice", [ints(1, 2, 3, 4), ints(-2), ints(100)])
case("Pad", "Pad", [floats(2, 3), ints(1, 0, 0, 2), np.float32(1.5)])
case("Pad_negative", "Pad", [floats(4, 3), ints(-1, 1, 0, -1)])
case("Pad_reflect", "Pad", [floats(3, 4), ints(2, 1, 1, 3)], mode="reflect")
case("Pad_edge", "Pad", [floats(2, 3), ints(2, 2), None, ints(1)], mode="edge")
case("Pad_wrap", "Pad", [floats(2, 3), ints(1, 2, 1, 2)], mode="wrap")
case("Gather", "Gather", [floats(3, 4), np.array([[0, -1], [2, 1]], dtype=np.int64)], axis=1)
case("Gather_scalar", "Gather", [ints(5, 6, 7), np.array(-2, dtype=np.int64)])
case("Expand", "Expand", [floats(3, 1), ints(2, 1, 4)])
case("Tile", "Tile", [floats(2, 3), ints(2, 2)])
case("Shape", "Shape", [y])
case("Shape_part", "Shape", [y], start=-2, end=2)
case("ConstantOfShape", "ConstantOfShape", [ints(2, 3)], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.5]))
case("ConstantOfShape_integers", "ConstantOfShape", [ints(2)], value=helper.make_tensor("v", TensorProto.INT64, [1], [7]))
case("Range", "Range", [np.int64(10), np.int64(-1), np.int64(-3)])
case("Range_floats", "Range", [np.float32(0), np.float32(1), np.float32(0.3)])
case("Cast", "Cast", [np.float32([-1.7, 0.2, 3.9])], to=TensorProto.INT64)
case("Cast_bool", "Cast", [np.float32([-1.7, 0.0, 3.9])], to=TensorProto.BOOL)
case("Cast_float", "Cast", [ints(1, -2)], to=TensorProto.FLOAT)
case("Cast_uint8", "Cast", [ints(1, 300, -1)], to=TensorProto.UINT8)
case("Identity", "Identity", [x])

# Steps, samples, inputs = 3, 2, 4; 5 hidden units.
for cell, gates in [("RNN", 1), ("GRU", 3), ("LSTM", 4)]:
    weights = lambda: [floats(1, gates * 5, 4, low=-0.5, high=0.5), floats(1, gates * 5, 5, low=-0.5, high=0.5)]
    case(cell, cell, [floats(3, 2, 4), *weights()], outputs=2, hidden_size=5)
    states = [floats(1, 2, 5)] + ([floats(1, 2, 5)] if cell == "LSTM" else [])
    lengths = np.array([3, 2], dtype=np.int32)
    before = {"linear_before_reset": 1} if cell == "GRU" else {}
    bias = floats(1, 2 * gates * 5, low=-0.5, high=0.5)
    case(f"{cell}_all", cell, [floats(3, 2, 4), *weights(), bias, lengths, *states], outputs=2, hidden_size=5, **before)
    case(f"{cell}_reverse", cell, [floats(3, 2, 4), *weights(), bias], outputs=2, hidden_size=5, direction="reverse")
case("GroupNormalization", "GroupNormalization", [floats(2, 4, 3), floats(2), floats(2)], num_groups=2, epsilon=1e-3)
case("Resize_nearest", "Resize", [floats(1, 2, 3, 2), None, np.float32([1, 1, 2, 3])],
     mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
case("Resize_linear", "Resize", [floats(1, 2, 4, 3), None, np.float32([1, 1, 1.5, 2])], mode="linear")
case("Resize_corners", "Resize", [floats(1, 1, 4, 3), None, None, ints(1, 1, 3, 5)],
     mode="linear", coordinate_transformation_mode="align_corners")
case("DepthToSpace", "DepthToSpace", [floats(1, 8, 2, 3)], blocksize=2, mode="CRD")
case("SpaceToDepth", "SpaceToDepth", [floats(1, 2, 4, 2)], blocksize=2)
case("Trilu", "Trilu", [floats(2, 3, 4), np.int64(1)], upper=0)
case("CumSum", "CumSum", [floats(3, 4), np.int64(1)], reverse=1, exclusive=1)
case("TopK", "TopK", [floats(3, 5), ints(2)], outputs=2, axis=1)
case("GatherElements", "GatherElements", [floats(3, 3), np.array([[2, 0, 0], [-1, 1, 2]], dtype=np.int64)], axis=0)
case("GatherND", "GatherND", [floats(3, 2, 2), np.array([[0, 1], [2, 0], [0, 1]], dtype=np.int64)])
case("ScatterElements", "ScatterElements", [floats(3, 3), np.array([[2, 0, 1]], dtype=np.int64), floats(1, 3)], axis=0)
case("ScatterND", "ScatterND", [floats(4, 2), np.array([[3], [0]], dtype=np.int64), floats(2, 2)])

batch = [floats(2, 3, 2, 2), floats(3), floats(3), floats(3), floats(3, low=0.1)]
case("BatchNormalization_in_training", "BatchNormalization", batch, outputs=3, epsilon=1e-3, momentum=0.7, training_mode=1)
case("Einsum", "Einsum", [floats(2, 3, 4), floats(2, 4, 5)], equation="bij,bjk->bki")
case("Einsum_one", "Einsum", [floats(2, 3, 4)], equation="abc->ca")
case("Einsum_outer", "Einsum", [floats(3), floats(4)], equation="i,d->id")
case("Einsum_three", "Einsum", [floats(2, 3), floats(3, 4), floats(4, 2)], equation="ab,bc,cd->ad")
case("Einsum_number", "Einsum", [floats(2, 3), floats(2, 3)], equation="ij,ij->")

target = pathlib.Path(__file__).with_name("operators.json")
lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(cases.items()))
target.write_text("{\n" + lines + "\n}\n")
print(target, len(cases), "cases")
