#!/usr/bin/env python3
"""Writes files that ask for more than any machine has: python3 fuzz/bombs.py FOLDER. Needs numpy and onnx.

Each is small, valid in form, and stands for a kind: operators that make shapes out of numbers, loops, declared sizes, wiring that
doubles what an analysis has to follow, nesting.
"""

import io
import json
import pathlib
import pickle
import struct
import sys
import zipfile

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
F16 = TensorProto.FLOAT16


def ints(name, values, shape=None):
    values = np.array(values, dtype=np.int64)
    return numpy_helper.from_array(values if shape is None else values.reshape(shape), name)


def floats(name, array):
    return numpy_helper.from_array(np.asarray(array, dtype=np.float32), name)


def value(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, constants=(), opset=18, functions=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], functions=list(functions))
    made.ir_version = 8
    return made.SerializeToString()


def layer(x="x", y="h", width=8, name="w"):
    """A layer with neurons, so that there is something to prove."""
    random = np.random.default_rng(0)
    return (
        [helper.make_node("MatMul", [x, f"{name}1"], [f"{name}a"]), helper.make_node("Relu", [f"{name}a"], [f"{name}r"]),
         helper.make_node("MatMul", [f"{name}r", f"{name}2"], [y])],
        [floats(f"{name}1", random.normal(size=(4, width))), floats(f"{name}2", random.normal(size=(width, 4)))],
    )


def behind(nodes, constants, output="y", x_shape=(1, 4), out_shape=None, inputs=(), kind=FLOAT, opset=18):
    """A network whose layer gives `h`, with nodes behind it."""
    first, weights = layer()
    return model([*first, *nodes], [value("x", list(x_shape)), *inputs], [value(output, out_shape, kind)],
                 [*weights, *constants], opset)


N = helper.make_node


def shapes():
    """Operators that make a tensor of any size out of a few numbers."""
    big = [[1 << 33], [1 << 31], [1 << 29], [70000, 70000], [1 << 20, 1 << 20, 1 << 20, 1 << 20], [1 << 62, 4], [-1], [1 << 28],
           [(1 << 63) - 1], [0, 1 << 40], [3 << 26]]
    for at, shape in enumerate(big):
        s = ints("s", shape)
        yield f"constantofshape-{at}", behind([N("ConstantOfShape", ["s"], ["c"]), N("ReduceSum", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [s])
        yield f"expand-{at}", behind([N("Expand", ["one", "s"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [s, floats("one", [1.0])])
        yield f"randomlike-{at}", behind([N("RandomNormal", [], ["c"], shape=shape), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [])
        yield f"reshape-{at}", behind([N("Reshape", ["h", "s"], ["y"])], [s])
        yield f"dynamic-cos-{at}", behind([N("Cast", ["h"], ["i"], to=INT64), N("Mul", ["i", "z"], ["j"]), N("ReduceMax", ["j"], ["k"], keepdims=0),
                                           N("Add", ["s", "k"], ["t"]), N("ConstantOfShape", ["t"], ["c"]), N("ReduceSum", ["c"], ["r"], keepdims=0),
                                           N("Add", ["h", "r"], ["y"])], [s, ints("z", 0)])
    for at, count in enumerate([1 << 20, 1 << 24, 1 << 28, 1 << 30, 1 << 33, 1 << 40, (1 << 62)]):
        yield f"tile-{at}", behind([N("Tile", ["h", "s"], ["c"]), N("ReduceMax", ["c"], ["y"], keepdims=0)], [ints("s", [1, count])])
        yield f"tile2-{at}", behind([N("Tile", ["h", "s"], ["c"]), N("ReduceMax", ["c"], ["y"], keepdims=0)], [ints("s", [count, count])])
        yield f"range-{at}", behind([N("Range", ["a", "b", "d"], ["c"]), N("Cast", ["c"], ["f"], to=FLOAT), N("ReduceMax", ["f"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                    [ints("a", 0), ints("b", count), ints("d", 1)])
        yield f"range-float-{at}", behind([N("Range", ["a", "b", "d"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                          [floats("a", 0), floats("b", float(count)), floats("d", 1.0)])
        yield f"pad-{at}", behind([N("Pad", ["h", "s"], ["c"]), N("ReduceMax", ["c"], ["y"], keepdims=0)], [ints("s", [0, count, 0, count])])
        yield f"pad-reflect-{at}", behind([N("Pad", ["h", "s"], ["c"], mode="edge"), N("ReduceMax", ["c"], ["y"], keepdims=0)], [ints("s", [0, count, 0, 0])])
        yield f"pad-negative-{at}", behind([N("Pad", ["h", "s"], ["c"]), N("ReduceMax", ["c"], ["y"], keepdims=0)], [ints("s", [0, -count, 0, count])])
        yield f"resize-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("Resize", ["u", "", "", "s"], ["c"], mode="nearest"), N("ReduceMax", ["c"], ["y"], keepdims=0)],
                                     [ints("ax", [0, 1]), ints("s", [1, 1, 1, count])])
        yield f"resize-linear-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("Resize", ["u", "", "s"], ["c"], mode="linear"), N("ReduceMax", ["c"], ["y"], keepdims=0)],
                                            [ints("ax", [0, 1]), floats("s", [1, 1, 1, float(count)])])
        yield f"resize-cubic-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("Resize", ["u", "", "", "s"], ["c"], mode="cubic"), N("ReduceMax", ["c"], ["y"], keepdims=0)],
                                           [ints("ax", [0, 1]), ints("s", [1, 1, count, count])])
        yield f"upsample-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("Upsample", ["u", "s"], ["c"], mode="nearest"), N("ReduceMax", ["c"], ["y"], keepdims=0)],
                                       [ints("ax", [0, 1]), floats("s", [1, 1, 1, float(count)])], opset=9)
        yield f"onehot-{at}", behind([N("OneHot", ["i", "d", "v"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                     [ints("i", [0, 1, 2]), ints("d", count), floats("v", [0, 1])])
        yield f"averagepool-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("AveragePool", ["u"], ["c"], kernel_shape=[2], pads=[min(count, 1 << 40), min(count, 1 << 40)], count_include_pad=1),
                                           N("ReduceMax", ["c"], ["y"], keepdims=0)], [ints("ax", [0])])
        yield f"averagepool-kernel-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("AveragePool", ["u"], ["c"], kernel_shape=[count], pads=[count - 1, count - 1], count_include_pad=1),
                                                  N("ReduceMax", ["c"], ["y"], keepdims=0)], [ints("ax", [0])])
        yield f"maxpool-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("MaxPool", ["u"], ["c"], kernel_shape=[count], pads=[count - 1, count - 1]),
                                       N("ReduceMax", ["c"], ["y"], keepdims=0)], [ints("ax", [0])])
        yield f"conv-pads-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("Conv", ["u", "k"], ["c"], pads=[count, count]), N("ReduceMax", ["c"], ["y"], keepdims=0)],
                                        [ints("ax", [0]), floats("k", np.ones((1, 1, 3)))])
        yield f"conv-dilation-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("Conv", ["u", "k"], ["c"], pads=[count, count], dilations=[count]), N("ReduceMax", ["c"], ["y"], keepdims=0)],
                                            [ints("ax", [0]), floats("k", np.ones((1, 1, 2)))])
        yield f"convtranspose-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("ConvTranspose", ["u", "k"], ["c"], strides=[count]), N("ReduceMax", ["c"], ["y"], keepdims=0)],
                                            [ints("ax", [0]), floats("k", np.ones((1, 1, 3)))])
        yield f"convtranspose-shape-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("ConvTranspose", ["u", "k"], ["c"], output_shape=[count]), N("ReduceMax", ["c"], ["y"], keepdims=0)],
                                                  [ints("ax", [0]), floats("k", np.ones((1, 1, 3)))])
        yield f"convtranspose-outpad-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("ConvTranspose", ["u", "k"], ["c"], output_padding=[count]), N("ReduceMax", ["c"], ["y"], keepdims=0)],
                                                   [ints("ax", [0]), floats("k", np.ones((1, 1, 3)))])
        yield f"col2im-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("Col2Im", ["u", "s", "b"], ["c"]), N("ReduceMax", ["c"], ["y"], keepdims=0)],
                                     [ints("ax", [0]), ints("s", [1, count]), ints("b", [1, 1])])
        yield f"lrn-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("LRN", ["u"], ["c"], size=count | 1), N("ReduceMax", ["c"], ["y"], keepdims=0)], [ints("ax", [0, 3])])
        yield f"depthtospace-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("DepthToSpace", ["u"], ["y"], blocksize=count)], [ints("ax", [0, 3])])
        yield f"spacetodepth-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("SpaceToDepth", ["u"], ["y"], blocksize=count)], [ints("ax", [0, 3])])
        yield f"gemm-alpha-{at}", behind([N("Gemm", ["h", "k"], ["y"], alpha=float(count))], [floats("k", np.full((4, 4), 1e30))])
        yield f"topk-{at}", behind([N("TopK", ["h", "s"], ["y", "i"])], [ints("s", [count])])
        yield f"gridsample-{at}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("Expand", ["grid", "s"], ["g"]), N("GridSample", ["u", "g"], ["c"]), N("ReduceMax", ["c"], ["y"], keepdims=0)],
                                         [ints("ax", [0, 1]), floats("grid", np.zeros((1, 1, 1, 2))), ints("s", [1, 1, count, 2])])
        yield f"trilu-{at}", behind([N("Trilu", ["h", "s"], ["y"])], [ints("s", count)])
        yield f"slice-{at}", behind([N("Slice", ["h", "a", "b", "x1", "d"], ["y"])], [ints("a", [-count]), ints("b", [count]), ints("x1", [1]), ints("d", [count])])
        yield f"slice-negative-{at}", behind([N("Slice", ["h", "a", "b", "x1", "d"], ["y"])], [ints("a", [count]), ints("b", [-count - 1]), ints("x1", [1]), ints("d", [-(1 << 63)])])
        yield f"split-{at}", behind([N("Split", ["h"], ["y", "z"], axis=1, num_outputs=count)], [])
        yield f"bitshift-{at}", behind([N("BitShift", ["u", "u"], ["v"], direction="LEFT"), N("Cast", ["v"], ["f"], to=FLOAT), N("Add", ["h", "f"], ["y"])],
                                       [numpy_helper.from_array(np.array([count & 0xffffffff], dtype=np.uint64), "u")])
    for width in (12, 15, 17, 20, 26):
        side = 1 << width
        # Broadcasting: a column and a row of a length each.
        column, row = [N("ConstantOfShape", ["s1"], ["a"]), N("ConstantOfShape", ["s2"], ["b"])], [ints("s1", [side, 1]), ints("s2", [1, side])]
        for operator in ("Add", "Pow", "Equal", "Mod", "Max", "Sum", "Mean", "PRelu"):
            extra = {"fmod": 1} if operator == "Mod" else {}
            yield f"broadcast-{operator}-{width}", behind([*column, N(operator, ["a", "b"], ["c"], **extra), N("Cast", ["c"], ["f"], to=FLOAT), N("ReduceMax", ["f"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], row)
        yield f"where-{width}", behind([*column, N("Cast", ["a"], ["m"], to=BOOL), N("Where", ["m", "a", "b"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], row)
        yield f"matmul-outer-{width}", behind([*column, N("MatMul", ["a", "b"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], row)
        yield f"gemm-outer-{width}", behind([*column, N("Gemm", ["a", "b"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], row)
        yield f"einsum-outer-{width}", behind([*column, N("Einsum", ["a", "b"], ["c"], equation="ij,jk->ik"), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], row)
        yield f"einsum-many-{width}", behind([N("ConstantOfShape", ["s"], ["a"]), N("Einsum", ["a", "a", "a"], ["c"], equation="i,j,k->ijk"), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [ints("s", [side])])
        yield f"eyelike-{width}", behind([N("ConstantOfShape", ["s"], ["a"]), N("EyeLike", ["a"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [ints("s", [side, side])])
        yield f"gather-{width}", behind([N("ConstantOfShape", ["s"], ["a"], value=helper.make_tensor("v", INT64, [1], [0])), N("Gather", ["t", "a"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                        [ints("s", [side]), floats("t", np.ones((2, 4096)))])
        yield f"gathernd-{width}", behind([N("ConstantOfShape", ["s"], ["a"], value=helper.make_tensor("v", INT64, [1], [0])), N("GatherND", ["t", "a"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                          [ints("s", [side, 1]), floats("t", np.ones((2, 4096)))])
        yield f"gatherelements-{width}", behind([N("ConstantOfShape", ["s"], ["a"], value=helper.make_tensor("v", INT64, [1], [0])), N("GatherElements", ["t", "a"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                                [ints("s", [side]), floats("t", np.ones(4))])
        yield f"scatternd-{width}", behind([N("ConstantOfShape", ["s"], ["a"]), N("ScatterND", ["a", "i", "u"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                           [ints("s", [side, 1024]), ints("i", [[0]]), floats("u", np.ones((1, 1024)))])
        yield f"nonzero-{width}", behind([N("ConstantOfShape", ["s"], ["a"], value=helper.make_tensor("v", FLOAT, [1], [1])), N("NonZero", ["a"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Cast", ["r"], ["f"], to=FLOAT), N("Add", ["h", "f"], ["y"])], [ints("s", [side, 64, 4, 1, 1, 1])])
        yield f"cumsum-{width}", behind([N("ConstantOfShape", ["s"], ["a"]), N("CumSum", ["a", "ax"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [ints("s", [side, 64]), ints("ax", 0)])
        yield f"matmul-square-{width}", behind([N("ConstantOfShape", ["s"], ["a"]), N("MatMul", ["a", "a"], ["c"]), N("MatMul", ["c", "a"], ["c2"]), N("MatMul", ["c2", "a"], ["c3"]), N("ReduceMax", ["c3"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [ints("s", [side, side])])
        yield f"matmul-batch-{width}", behind([N("ConstantOfShape", ["s1"], ["a"]), N("ConstantOfShape", ["s2"], ["b"]), N("MatMul", ["a", "b"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [ints("s1", [side, 1, 32, 32]), ints("s2", [1, side, 32, 32])])
        yield f"conv-large-{width}", behind([N("ConstantOfShape", ["s1"], ["a"]), N("ConstantOfShape", ["s2"], ["b"]), N("Conv", ["a", "b"], ["c"], pads=[64, 64, 64, 64]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                            [ints("s1", [1, 32, min(side, 8192), 128]), ints("s2", [256, 32, 65, 65])])
        yield f"softmax-{width}", behind([N("ConstantOfShape", ["s"], ["a"]), *[N("Softmax", [f"a{i}" if i else "a"], [f"a{i+1}"]) for i in range(40)], N("ReduceMax", ["a40"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [ints("s", [side, 64])])
        yield f"attention-{width}", behind([N("ConstantOfShape", ["s"], ["a"]), N("Attention", ["a", "a", "a"], ["c"], q_num_heads=1, kv_num_heads=1), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [ints("s", [1, side, 16])], opset=23)
        yield f"lstm-{width}", behind([N("ConstantOfShape", ["s"], ["a"]), N("LSTM", ["a", "W", "R"], ["c"], hidden_size=8), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                      [ints("s", [side, 1, 4]), floats("W", np.ones((1, 32, 4)) / 10), floats("R", np.ones((1, 32, 8)) / 10)])
        yield f"gru-batch-{width}", behind([N("ConstantOfShape", ["s"], ["a"]), N("GRU", ["a", "W", "R"], ["c"], hidden_size=64), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                           [ints("s", [64, side, 4]), floats("W", np.ones((1, 192, 4)) / 10), floats("R", np.ones((1, 192, 64)) / 10)])
        yield f"concat-same-{width}", behind([N("ConstantOfShape", ["s"], ["a"]), N("Concat", ["a"] * 1000, ["c"], axis=0), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [ints("s", [side, 64])])
        yield f"alive-{width}", behind([*[N("ConstantOfShape", ["s"], [f"a{i}"]) for i in range(60)], N("Concat", [f"a{i}" for i in range(60)], ["c"], axis=0), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [ints("s", [side, 64])])
        yield f"deform-{width}", behind([N("ConstantOfShape", ["s"], ["a"]), N("ConstantOfShape", ["s2"], ["o"]), N("DeformConv", ["a", "k", "o"], ["c"], pads=[1, 1, 1, 1]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                        [ints("s", [1, 8, side, 64]), ints("s2", [1, 18, side, 64]), floats("k", np.ones((8, 8, 3, 3)))], opset=19)


def body_graph(name, nodes, inputs, outputs, constants=()):
    return helper.make_graph(nodes, name, inputs, outputs, list(constants))


def loops():
    def loop(trip, nodes, outs=("y",), scan=(), start="h"):
        b = body_graph("body", [N("Identity", ["cond"], ["cond_out"]), *nodes], [value("i", [], INT64), value("cond", [], BOOL), value("v", None)],
                       [value("cond_out", [], BOOL), value("v_out", None), *[value(s, None) for s in scan]])
        return N("Loop", [trip, "true", start], list(outs), body=b)

    true = numpy_helper.from_array(np.array(True), "true")
    for power in (10, 16, 20, 23, 24, 30, 40, 62):
        yield f"loop-{power}", behind([loop("n", [N("Add", ["v", "v"], ["t"]), N("Tanh", ["t"], ["v_out"])])], [ints("n", 1 << power), true])
        yield f"loop-empty-{power}", behind([loop("n", [N("Identity", ["v"], ["v_out"])])], [ints("n", 1 << power), true])
        yield f"loop-scan-{power}", behind([loop("n", [N("Tanh", ["v"], ["v_out"]), N("ConstantOfShape", ["s"], ["big"])], ("y", "z"), ("big",)), ], [ints("n", 1 << power), true, ints("s", [1 << 16])])
        yield f"loop-grow-{power}", behind([loop("n", [N("Concat", ["v", "v"], ["v_out"], axis=0)], ("q",)), N("ReduceMax", ["q"], ["y"], keepdims=0)], [ints("n", 1 << power), true])
        yield f"loop-slowgrow-{power}", behind([loop("n", [N("Concat", ["v", "h"], ["v_out"], axis=0)], ("q",)), N("ReduceMax", ["q"], ["y"], keepdims=0)], [ints("n", 1 << power), true])
        yield f"scan-{power}", behind([N("ConstantOfShape", ["s"], ["seq"]), N("Scan", ["h", "seq"], ["y", "z"], num_scan_inputs=1,
                                       body=body_graph("b", [N("Add", ["st", "el"], ["st_out"]), N("Identity", ["el"], ["o"])], [value("st", None), value("el", None)], [value("st_out", None), value("o", None)]))],
                                      [ints("s", [1 << min(power, 40), 4])])
    endless = body_graph("body", [N("Identity", ["true"], ["cond_out"]), N("Tanh", ["v"], ["v_out"])], [value("i", [], INT64), value("cond", [], BOOL), value("v", None)],
                         [value("cond_out", [], BOOL), value("v_out", None)])
    yield "loop-endless", behind([N("Loop", ["", "true", "h"], ["y"], body=endless)], [true])
    for depth in (2, 3, 6, 12, 20):
        nodes, counts = [N("Tanh", ["v"], ["v_out"])], 100
        inner = None
        for level in range(depth):
            inner = body_graph(f"b{level}", [N("Identity", ["true"], [f"c{level}"]), *([N("Tanh", [f"v{level}"], [f"o{level}"])] if inner is None else [N("Loop", ["n", "true", f"v{level}"], [f"o{level}"], body=inner)])],
                               [value(f"i{level}", [], INT64), value(f"k{level}", [], BOOL), value(f"v{level}", None)], [value(f"c{level}", [], BOOL), value(f"o{level}", None)])
        yield f"loops-nested-{depth}", behind([N("Loop", ["n", "true", "h"], ["y"], body=inner)], [ints("n", counts), true])
        yield f"loops-nested-big-{depth}", behind([N("Loop", ["n", "true", "h"], ["y"], body=inner)], [ints("n", 1 << 20), true])
        branch = body_graph("leaf", [N("Tanh", ["h"], ["leaf_out"])], [], [value("leaf_out", None)])
        for level in range(depth):
            other = body_graph(f"e{level}", [N("Neg", ["h"], [f"e{level}o"])], [], [value(f"e{level}o", None)])
            branch = body_graph(f"t{level}", [N("If", ["true"], [f"t{level}o"], then_branch=branch, else_branch=other)], [], [value(f"t{level}o", None)])
        yield f"ifs-nested-{depth}", behind([N("If", ["true"], ["y"], then_branch=branch, else_branch=body_graph("x", [N("Neg", ["h"], ["xo"])], [], [value("xo", None)]))], [true])
    both = body_graph("leaf", [N("Tanh", ["h"], ["leaf_out"])], [], [value("leaf_out", None)])
    for level in range(14):
        both = body_graph(f"t{level}", [N("If", ["true"], [f"t{level}o"], then_branch=both, else_branch=both)], [], [value(f"t{level}o", None)])
    yield "ifs-tree-14", behind([N("If", ["true"], ["y"], then_branch=both, else_branch=both)], [true])


def declared():
    """Sizes that are only said."""
    for at, shape in enumerate([[1 << 40, 4], [1 << 29, 4], [1 << 31, 4], [(1 << 62), 4], [1 << 32, 1 << 32, 4], [-1, 4], [-5, 4], [0, 4], [1, 1 << 28], [1, 1 << 20, 1 << 20], [1 << 63 - 1, 4], [1 << 27, 4],
                                [100, 100, 100, 100, 100, 4], [1] * 70 + [4], [1] * 4000 + [4]]):
        first, weights = layer()
        yield f"input-{at}", model([*first, N("Identity", ["h"], ["y"])], [value("x", shape)], [value("y", None)], weights)
        yield f"input-second-{at}", model([*first, N("Shape", ["z"], ["zs"]), N("Cast", ["zs"], ["zf"], to=FLOAT), N("ReduceMax", ["zf"], ["zm"], keepdims=0), N("Add", ["h", "zm"], ["y"])], [value("x", [1, 4]), value("z", shape)], [value("y", None)], weights)
        yield f"output-{at}", model([*first, N("Identity", ["h"], ["y"])], [value("x", ["n", 4])], [value("y", shape)], weights)
        yield f"input-int-{at}", model([*first, N("Cast", ["z"], ["zf"], to=FLOAT), N("ReduceMax", ["zf"], ["zm"], keepdims=0), N("Add", ["h", "zm"], ["y"])], [value("x", [1, 4]), value("z", shape, INT64)], [value("y", None)], weights)
        tensor = helper.make_tensor("big", FLOAT, [1], [1.0])
        del tensor.dims[:]
        tensor.dims.extend([d if -(1 << 63) <= d < 1 << 63 else 5 for d in shape])
        yield f"initializer-{at}", model([*first, N("Add", ["h", "big"], ["y"])], [value("x", [1, 4])], [value("y", None)], [*weights, tensor])
        empty = helper.make_tensor("big", FLOAT, [0], [])
        del empty.dims[:]
        empty.dims.extend([d if -(1 << 63) <= d < 1 << 63 else 5 for d in shape] + [0])
        yield f"initializer-empty-{at}", model([*first, N("ReduceSum", ["big"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [value("x", [1, 4])], [value("y", None)], [*weights, empty])
        made = model([*first, N("Identity", ["h"], ["m"]), N("Identity", ["m"], ["y"])], [value("x", [1, 4])], [value("y", None)], weights)
        from onnx import ModelProto
        proto = ModelProto.FromString(made)
        proto.graph.value_info.append(value("m", shape))
        yield f"valueinfo-{at}", proto.SerializeToString()
    many = [value(f"x{i}", [1, 1 << 18]) for i in range(1000)]
    yield "inputs-many", model([N("Sum", [f"x{i}" for i in range(1000)], ["s"]), N("ReduceMax", ["s"], ["y"], keepdims=0)], many, [value("y", None)], [])
    yield "inputs-many-unused", behind([N("Identity", ["h"], ["y"])], [], inputs=[value(f"z{i}", [1 << 20]) for i in range(5000)])
    first, weights = layer()
    yield "symbols-long", model([*first, N("Identity", ["h"], ["y"])], [value("x", ["n" * 1_000_000, 4])], [value("y", None)], weights)
    yield "symbols-many", model([N("Reshape", ["x", "s"], ["r"]), *[N("Concat", ["r", "r"] if i == 0 else [f"c{i-1}", f"c{i-1}"], [f"c{i}"], axis=0) for i in range(60)], N("ReduceMax", ["c59"], ["y"])],
                                [value("x", [f"d{i}" for i in range(60)])], [value("y", None)], [ints("s", [-1])])


def wiring():
    """Graphs that make an analysis follow too much."""
    for count in (16, 18, 24, 30, 60):
        yield f"concat-chain-{count}", behind([N("Concat", ["h" if i == 0 else f"c{i-1}"] * 2, [f"c{i}"], axis=1) for i in range(count)] + [N("ReduceMax", [f"c{count-1}"], ["y"])], [])
        yield f"add-chain-{count}", behind([N("Add", ["h" if i == 0 else f"c{i-1}"] * 2, [f"c{i}"]) for i in range(count)] + [N("Identity", [f"c{count-1}"], ["y"])], [])
        yield f"concat-slices-{count}", behind([n for i in range(count) for n in (N("Concat", ["h" if i == 0 else f"c{i-1}"] * 2, [f"d{i}"], axis=1), N("Slice", [f"d{i}", "a", "b", "one"], [f"c{i}"]))] + [N("ReduceMax", [f"c{count-1}"], ["y"])],
                                               [ints("a", [1]), ints("b", [1 << 40]), ints("one", [1])])
        yield f"concat-batch-{count}", behind([N("Concat", ["h" if i == 0 else f"c{i-1}"] * 2, [f"c{i}"], axis=0) for i in range(count)] + [N("ReduceMax", [f"c{count-1}"], ["y"])], [])
        yield f"flatten-chain-{count}", model([n for i in range(count) for n in (N("Unsqueeze", ["x" if i == 0 else f"c{i-1}", "ax"], [f"u{i}"]), N("Concat", [f"u{i}", f"u{i}"], [f"v{i}"], axis=2), N("Reshape", [f"v{i}", "s"], [f"c{i}"]))] + [N("ReduceMax", [f"c{count-1}"], ["y"])],
                                              [value("x", [1, 4])], [value("y", None)], [ints("ax", [2]), ints("s", [1, -1])])
    for count in (100, 1000, 10_000, 100_000):
        yield f"concat-wide-{count}", behind([N("Concat", ["h"] * count, ["c"], axis=1), N("ReduceMax", ["c"], ["y"])], [])
        yield f"concat-inputs-{count}", model([N("Concat", [f"x{i}" for i in range(count)], ["c"], axis=1), N("ReduceMax", ["c"], ["y"])], [value(f"x{i}", [1, 2]) for i in range(count)], [value("y", None)], [])
        random = np.random.default_rng(1)
        parts = [floats(f"p{i}", random.normal(size=(4, 2))) for i in range(count)]
        yield f"concat-weights-{count}", model([N("Concat", [f"p{i}" for i in range(count)], ["c"], axis=1), N("MatMul", ["x", "c"], ["d"]), N("Relu", ["d"], ["e"]), N("ReduceMax", ["e"], ["y"])], [value("x", [1, 4])], [value("y", None)], parts)
        yield f"split-wide-{count}", model([N("MatMul", ["x", "w"], ["h"]), N("Split", ["h", "s"], [f"c{i}" for i in range(count)], axis=1), N("Add", ["c0", f"c{count-1}"], ["y"])],
                                           [value("x", [1, 4])], [value("y", None)], [floats("w", random.normal(size=(4, count))), ints("s", [1] * count)])
        yield f"split-sum-{count}", model([N("MatMul", ["x", "w"], ["h"]), N("Split", ["h", "s"], [f"c{i}" for i in range(count)], axis=1), N("Sum", [f"c{i}" for i in range(count)], ["y"])],
                                          [value("x", [1, 4])], [value("y", None)], [floats("w", random.normal(size=(4, count))), ints("s", [1] * count)])
        yield f"chain-{count}", behind([N("Relu", ["h" if i == 0 else f"c{i-1}"], [f"c{i}"]) for i in range(count)] + [N("Identity", [f"c{count-1}"], ["y"])], [])
        yield f"sum-wide-{count}", behind([N("Sum", ["h"] * count, ["y"])], [])
        yield f"layers-{count}", model([n for i in range(min(count, 10_000)) for n in (N("MatMul", ["x" if i == 0 else f"c{i-1}", f"w{i % 8}"], [f"c{i}"]),)] + [N("Identity", [f"c{min(count, 10_000)-1}"], ["y"])],
                                       [value("x", [1, 4])], [value("y", None)], [floats(f"w{i}", np.eye(4)) for i in range(8)])
    for blocks in (30, 100, 200):
        random = np.random.default_rng(2)
        nodes, constants, state, width = [], [], "x", 4
        for i in range(blocks):
            constants.append(floats(f"w{i}", random.normal(size=(width, 4)) / width))
            nodes += [N("MatMul", [state, f"w{i}"], [f"m{i}"]), N("Relu", [f"m{i}"], [f"r{i}"]), N("Concat", [state, f"r{i}"], [f"c{i}"], axis=1)]
            state, width = f"c{i}", width + 4
        constants.append(floats("last", random.normal(size=(width, 3))))
        yield f"dense-{blocks}", model([*nodes, N("MatMul", [state, "last"], ["y"])], [value("x", [1, 4])], [value("y", None)], constants)
    fib = [N("Concat", ["h", "h"], ["c1"], axis=1), N("Concat", ["c1", "h"], ["c2"], axis=1)]
    fib += [N("Concat", [f"c{i-1}", f"c{i-2}"], [f"c{i}"], axis=1) for i in range(3, 40)]
    yield "concat-fibonacci", behind([*fib, N("ReduceMax", ["c39"], ["y"])], [])
    # Two chains that are added: layouts of two makes meet.
    two = [N("Concat", ["h"] * 2, ["a0"], axis=1), N("Concat", ["h"] * 2, ["b0"], axis=1)]
    for i in range(1, 18):
        two += [N("Concat", [f"a{i-1}"] * 2, [f"a{i}"], axis=1), N("Concat", [f"b{i-1}"] * 2, [f"b{i}"], axis=1), N("Add", [f"a{i}", f"b{i}"], [f"s{i}"])]
    yield "concat-added", behind([*two, N("ReduceMax", ["s17"], ["y"])], [])
    gathered = [N("Gather", ["h" if i == 0 else f"g{i-1}", "idx"], [f"g{i}"], axis=1) for i in range(24)]
    yield "gather-chain", behind([*gathered, N("ReduceMax", ["g23"], ["y"])], [ints("idx", [0, 1, 2, 3] * 2)])
    expanded = [N("Concat", ["s" if i == 0 else f"e{i-1}"] * 2, [f"e{i}"], axis=0) for i in range(40)]
    yield "ints-doubled", behind([*expanded, N("Reshape", ["h", "e39"], ["y"])], [ints("s", [1, 4])])
    rank = [N("Unsqueeze", ["h" if i == 0 else f"u{i-1}", "ax"], [f"u{i}"]) for i in range(2000)]
    yield "rank-2000", behind([*rank, N("Identity", ["u1999"], ["y"])], [ints("ax", [0])])
    yield "cycle", model([N("Add", ["x", "b"], ["a"]), N("Relu", ["a"], ["b"])], [value("x", [1])], [value("b", None)], [])
    function = helper.make_function("f", "F", ["a"], ["b"], [N("G", ["a"], ["t"], domain="f"), N("G", ["t"], ["b"], domain="f")], [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)])
    yield "functions", behind([N("F", ["h"], ["y"], domain="f")], [])
    yield "squares", behind([N("Mul", ["h" if i == 0 else f"c{i-1}"] * 2, [f"c{i}"]) for i in range(200)] + [N("Identity", ["c199"], ["y"])], [])


def wide():
    """Many of one thing, and things that are long."""
    random = np.random.default_rng(3)
    first, weights = layer()
    for count in (1000, 100_000):
        yield f"outputs-{count}", model([*first, *[N("Relu", ["h"], [f"y{i}"]) for i in range(count)]], [value("x", [1, 4])], [value(f"y{i}", None) for i in range(count)], weights)
        yield f"outputs-same-{count}", model([*first, N("Relu", ["h"], ["y"])], [value("x", [1, 4])], [value("y", None)] * count, weights)
        yield f"opaque-{count}", behind([N("Nothing", ["h" if i == 0 else f"c{i-1}"], [f"c{i}"], domain="d") for i in range(count)] + [N("Identity", [f"c{count-1}"], ["y"])], [])
        yield f"opaque-wide-{count}", model([N("Nothing", [f"x{i}" for i in range(count)], [f"y{i}" for i in range(count)], domain="d")], [value(f"x{i}", [1, 2]) for i in range(count)], [value(f"y{i}", None) for i in range(count)], [])
        yield f"opaque-each-{count}", model([*[N("Nothing", [f"x{i}"], [f"z{i}"], domain="d") for i in range(count)], N("Sum", [f"z{i}" for i in range(count)], ["y"])], [value(f"x{i}", [1, 2]) for i in range(count)], [value("y", None)], [])
        yield f"inputs-open-{count}", model([N("Sum", [f"x{i}" for i in range(count)], ["y"])], [value(f"x{i}", [f"n{i}", 2]) for i in range(count)], [value("y", None)], [])
        yield f"inputs-sums-{count}", model([N("Sum", [f"x{i}" for i in range(count)], ["y"])], [value(f"x{i}", [f"n{i}+n{i+1}*2", 2]) for i in range(count)], [value("y", None)], [])
        yield f"initializers-{count}", behind([N("Identity", ["h"], ["y"])], [floats(f"w{i}", random.normal(size=(2, 2))) for i in range(count)])
        yield f"shared-reads-{count}", model([n for i in range(count) for n in (N("MatMul", ["x", "w"], [f"a{i}"]),)] + [N("Sum", [f"a{i}" for i in range(count)], ["y"])], [value("x", [1, 4])], [value("y", None)], [floats("w", random.normal(size=(4, 4)))])
        yield f"biases-{count}", model([N("Add", ["x" if i == 0 else f"c{i-1}", f"b{i}"], [f"c{i}"]) for i in range(count)] + [N("Identity", [f"c{count-1}"], ["y"])], [value("x", [1, 4])], [value("y", None)], [floats(f"b{i}", random.normal(size=4)) for i in range(count)])
        yield f"towers-{count}", model([n for i in range(count) for n in (N("MatMul", ["x", f"w{i}"], [f"a{i}"]), N("Relu", [f"a{i}"], [f"r{i}"]), N("MatMul", [f"r{i}", f"v{i}"], [f"o{i}"]))] + [N("Sum", [f"o{i}" for i in range(count)], ["y"])],
                                       [value("x", [1, 2])], [value("y", None)], [floats(f"{n}{i}", random.normal(size=(2, 2))) for i in range(count) for n in "wv"])
        yield f"residual-{count}", model([n for i in range(count) for n in (N("MatMul", ["x" if i == 0 else f"c{i-1}", f"w{i}"], [f"a{i}"]), N("Relu", [f"a{i}"], [f"r{i}"]), N("Add", [f"r{i}", "x" if i == 0 else f"c{i-1}"], [f"c{i}"]))] + [N("Identity", [f"c{count-1}"], ["y"])],
                                         [value("x", [1, 2])], [value("y", None)], [floats(f"w{i}", random.normal(size=(2, 2)) / 100) for i in range(count)])
        yield f"names-same-{count}", model([N("Relu", ["x" if i == 0 else f"c{i-1}"], [f"c{i}"], name="same") for i in range(count)], [value("x", [1, 4])], [value(f"c{count-1}", None)], [])
        yield f"ladder-{count}", model([N("Add", ["x" if i == 0 else f"c{i-1}", "x" if i < 2 else f"c{i-2}"], [f"c{i}"]) for i in range(count)] + [N("Identity", [f"c{count-1}"], ["y"])], [value("x", [1, 4])], [value("y", None)], [])
        yield f"skips-{count}", behind([N("Relu", ["h" if i == 0 else f"c{i-1}"], [f"c{i}"]) for i in range(count)] + [N("Sum", [f"c{i}" for i in range(count)], ["y"])], [])
        yield f"gathers-{count}", model([N("Gather", ["t", f"i{i % 8}"], [f"g{i}"]) for i in range(count)] + [N("Concat", [f"g{i}" for i in range(count)], ["c"], axis=0), N("ReduceMax", ["c"], ["y"], keepdims=0)], [value("x", [1, 4])], [value("y", None)],
                                        [floats("t", random.normal(size=(8, 4))), *[ints(f"i{i}", i) for i in range(8)]])
        yield f"slices-{count}", behind([n for i in range(count) for n in (N("Slice", ["h", f"a{i % 4}", f"b{i % 4}", "one"], [f"s{i}"]),)] + [N("Concat", [f"s{i}" for i in range(count)], ["c"], axis=1), N("ReduceMax", ["c"], ["y"], keepdims=0)],
                                        [*[ints(f"a{i}", [i]) for i in range(4)], *[ints(f"b{i}", [i + 1]) for i in range(4)], ints("one", [1])])
        yield f"softmaxes-{count}", behind([N("Softmax", ["h" if i == 0 else f"c{i-1}"], [f"c{i}"]) for i in range(count)] + [N("Identity", [f"c{count-1}"], ["y"])], [])
        yield f"attentions-{count}", behind([n for i in range(count) for n in (N("MatMul", ["h" if i == 0 else f"c{i-1}", "h" if i == 0 else f"c{i-1}"], [f"m{i}"]), N("Softmax", [f"m{i}"], [f"s{i}"]), N("MatMul", [f"s{i}", "h" if i == 0 else f"c{i-1}"], [f"c{i}"]))] + [N("Identity", [f"c{count-1}"], ["y"])], [], x_shape=(4, 4))
        yield f"divisions-{count}", behind([n for i in range(count) for n in (N("Sqrt", ["h" if i == 0 else f"c{i-1}"], [f"q{i}"]), N("ReduceMean", [f"q{i}"], [f"m{i}"]), N("Div", ["h" if i == 0 else f"c{i-1}", f"m{i}"], [f"c{i}"]))] + [N("Identity", [f"c{count-1}"], ["y"])], [])
        yield f"mul-diamonds-{count}", behind([n for i in range(count) for n in (N("Sigmoid", ["h" if i == 0 else f"c{i-1}"], [f"g{i}"]), N("Mul", ["h" if i == 0 else f"c{i-1}", f"g{i}"], [f"c{i}"]))] + [N("Identity", [f"c{count-1}"], ["y"])], [])
        yield f"shape-chain-{count}", behind([n for i in range(count) for n in (N("Shape", ["h" if i == 0 else f"c{i-1}"], [f"s{i}"]), N("Reshape", ["h" if i == 0 else f"c{i-1}", f"s{i}"], [f"c{i}"]))] + [N("Identity", [f"c{count-1}"], ["y"])], [])
        yield f"transposes-{count}", behind([N("Transpose", ["h" if i == 0 else f"c{i-1}"], [f"c{i}"], perm=[1, 0]) for i in range(count)] + [N("ReduceMax", [f"c{count-1}"], ["y"])], [])
        yield f"repeated-blocks-{count}", behind([n for i in range(count // 2) for n in (N("Relu", ["h" if i == 0 else f"c{i-1}"], [f"r{i}"]), N("Tanh" if i % 7 else "Sigmoid", [f"r{i}"], [f"c{i}"]))] + [N("Identity", [f"c{count // 2-1}"], ["y"])], [])
        yield f"attribute-ints-{count}", behind([N("ReduceSum", ["h"], ["y"], axes=[0] * count)], [], opset=11)
        yield f"attribute-perm-{count}", behind([N("Transpose", ["h"], ["y"], perm=list(range(count)))], [])
        yield f"attribute-kernel-{count}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("MaxPool", ["u"], ["y"], kernel_shape=[1] * count)], [ints("ax", [0])])
        yield f"attribute-scales-{count}", behind([N("Upsample", ["h"], ["y"], scales=[1.0] * count, mode="nearest")], [], opset=7)
        yield f"attribute-strings-{count}", behind([N("Nothing", ["h"], ["y"], domain="d", words=["a"] * count)], [])
        yield f"axes-{count}", behind([N("Squeeze", ["h", "ax"], ["y"])], [ints("ax", [0] * count)])
        yield f"unsqueeze-{count}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("ReduceMax", ["u"], ["y"], keepdims=0)], [ints("ax", list(range(count)))])
        yield f"reshape-rank-{count}", behind([N("Reshape", ["h", "s"], ["r"]), N("ReduceMax", ["r"], ["y"], keepdims=0)], [ints("s", [1] * count + [4])])
        yield f"expand-rank-{count}", behind([N("Expand", ["h", "s"], ["r"]), N("ReduceMax", ["r"], ["y"], keepdims=0)], [ints("s", [1] * count + [4])])
        yield f"slice-axes-{count}", behind([N("Slice", ["h", "a", "b", "x1"], ["y"])], [ints("a", [0] * count), ints("b", [4] * count), ints("x1", [1] * count)])
        yield f"pad-axes-{count}", behind([N("Pad", ["h", "s", "", "x1"], ["y"])], [ints("s", [0] * 2 * count), ints("x1", [1] * count)])
        yield f"optional-{count}", behind([N("Clip", ["h"] + [""] * count, ["y"])], [])
        yield f"sum-broadcast-{count}", behind([N("Sum", [f"b{i}" for i in range(count)], ["s"]), N("ReduceMax", ["s"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [floats(f"b{i}", random.normal(size=(1, 2))) for i in range(count)])
    for count in (64, 1000):
        # A long shape at each of many nodes.
        yield f"rank-chain-{count}", behind([N("Reshape", ["h", "s"], ["c0"]), *[N("Relu", [f"c{i}"], [f"c{i+1}"]) for i in range(20_000)], N("ReduceMax", ["c20000"], ["y"], keepdims=0)], [ints("s", [1] * count + [4])])
        yield f"names-long-{count}", model([N("Nothing", [f"x{i}" for i in range(count)], [f"y{i}" for i in range(count)], domain="d", name="n" * 3_000_000)], [value(f"x{i}", [1, 2, 3]) for i in range(count)], [value(f"y{i}", [2, 3]) for i in range(count)], [])
        yield f"names-long-chain-{count}", behind([N("Relu", ["h" if i == 0 else f"c{i-1}"], [f"c{i}"], name=f"{i}" * 20_000) for i in range(count)] + [N("Identity", [f"c{count-1}"], ["y"])], [])
        yield f"symbols-shared-{count}", model([N("Relu", ["x" if i == 0 else f"c{i-1}"], [f"c{i}"]) for i in range(20_000)], [value("x", [f"d{'z' * 1000}{i}" for i in range(count)])], [value("c19999", None)], [])
    yield "symbol-products", model([N("Reshape", ["x", "s"], ["c0"]), *[n for i in range(60) for n in (N("Unsqueeze", [f"c{i}", "ax"], [f"u{i}"]), N("Expand", [f"u{i}", "e"], [f"v{i}"]), N("Reshape", [f"v{i}", "s"], [f"c{i+1}"]))], N("ReduceMax", ["c60"], ["y"], keepdims=0)],
                                   [value("x", ["a", "b", "c"])], [value("y", None)], [ints("s", [-1]), ints("ax", [0]), ints("e", [3, 1])])
    for at, side in enumerate((1000, 20_000, 1_000_000)):
        yield f"neurons-{at}", model([N("MatMul", ["x", "w"], ["a"]), N("Relu", ["a"], ["r"]), N("MatMul", ["r", "v"], ["y"])], [value("x", ["n", 1])], [value("y", None)],
                                     [floats("w", random.normal(size=(1, side))), floats("v", random.normal(size=(side, 1)))])
    # Functions that call functions, each twice.
    functions = [helper.make_function("f", "F0", ["a"], ["b"], [N("Relu", ["a"], ["b"])], [helper.make_opsetid("", 18)])]
    for i in range(1, 40):
        functions.append(helper.make_function("f", f"F{i}", ["a"], ["b"], [N(f"F{i-1}", ["a"], ["t"], domain="f"), N(f"F{i-1}", ["t"], ["b"], domain="f")], [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]))
    yield "functions-doubled", model([N("F39", ["x"], ["y"], domain="f")], [value("x", [1, 4])], [value("y", None)], [], functions=functions)
    loop = [helper.make_function("f", "A", ["a"], ["b"], [N("B", ["a"], ["b"], domain="f")], [helper.make_opsetid("f", 1)]), helper.make_function("f", "B", ["a"], ["b"], [N("A", ["a"], ["b"], domain="f")], [helper.make_opsetid("f", 1)])]
    yield "functions-endless", model([N("A", ["x"], ["y"], domain="f")], [value("x", [1, 4])], [value("y", None)], [], functions=loop)


def computed():
    """Operators whose work does not follow from the size of what they give."""
    for rank in (4, 12, 20, 40, 60):
        ones, unsqueezed = [1] * rank, ints("s", [1, 1, *[1] * rank])
        for mode in ("nearest", "linear", "cubic"):
            yield f"gridsample-{mode}-{rank}", behind([N("Reshape", ["one", "s"], ["u"]), N("GridSample", ["u", "g"], ["c"], mode=mode, padding_mode="border"), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                                      [unsqueezed, floats("one", [1]), floats("g", np.full([1, *[1] * rank, rank] if rank <= 60 else [1], 0.1))], opset=20)
            yield f"resize-{mode}-rank-{rank}", behind([N("Reshape", ["one", "s"], ["u"]), N("Resize", ["u", "", "k"], ["c"], mode=mode), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                                       [unsqueezed, floats("one", [1]), floats("k", [1, 1, *[1.5 if mode == "nearest" else 2.0] * min(rank, 24), *[1.0] * max(0, rank - 24)])])
        yield f"deform-rank-{rank}", behind([N("Reshape", ["one", "s"], ["u"]), N("DeformConv", ["u", "k", "o"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])],
                                            [unsqueezed, floats("one", [1]), floats("k", np.ones([1, 1, *ones][:62])), floats("o", np.full([1, rank, *ones][:62], 0.5))], opset=19)
        yield f"conv-rank-{rank}", behind([N("Reshape", ["one", "s"], ["u"]), N("Conv", ["u", "k"], ["c"], pads=[1] * 2 * min(rank, 60)), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [unsqueezed, floats("one", [1]), floats("k", np.ones([1, 1, *ones][:62]))])
        yield f"convtranspose-rank-{rank}", behind([N("Reshape", ["one", "s"], ["u"]), N("ConvTranspose", ["u", "k"], ["c"], strides=[2] * rank), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [unsqueezed, floats("one", [1]), floats("k", np.ones([1, 1, *ones][:62]))])
        yield f"pool-rank-{rank}", behind([N("Reshape", ["one", "s"], ["u"]), N("AveragePool", ["u"], ["c"], kernel_shape=[2] * rank, pads=[1] * 2 * rank), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [unsqueezed, floats("one", [1])])
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[:rank]
        yield f"einsum-letters-{rank}", behind([N("Einsum", ["two"] * len(letters), ["c"], equation=",".join(letters) + "->" + letters), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [floats("two", [1, 2])])
        yield f"einsum-sum-{rank}", behind([N("Einsum", ["two"] * len(letters), ["c"], equation=",".join(letters) + "->"), N("Add", ["h", "c"], ["y"])], [floats("two", [1, 2])])
        yield f"einsum-trace-{rank}", behind([N("Reshape", ["one", "e"], ["u"]), N("Einsum", ["u"], ["c"], equation="a" * min(rank, 52) + "->a"), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [ints("e", [1] * min(rank, 52)), floats("one", [1])])
        yield f"transpose-rank-{rank}", behind([N("ConstantOfShape", ["s"], ["a"]), N("Transpose", ["a"], ["b"], perm=list(range(rank))[::-1]), N("ReduceMax", ["b"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [ints("s", [2] * min(rank, 26) + [1] * max(0, rank - 26))])
        yield f"broadcast-rank-{rank}", behind([N("ConstantOfShape", ["s"], ["a"]), N("ConstantOfShape", ["t"], ["b"]), N("Add", ["a", "b"], ["c"]), N("ReduceMax", ["c"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], [ints("s", ([2, 1] * rank)[:rank]), ints("t", ([1, 2] * rank)[:rank])])
    for power in (10, 16, 20, 24, 26):
        side = 1 << power
        big = [N("ConstantOfShape", ["s"], ["a"])]
        whole = [N("ConstantOfShape", ["s"], ["a"], value=helper.make_tensor("v", INT64, [1], [1]))]
        end = [N("Cast", ["c"], ["f"], to=FLOAT), N("ReduceMax", ["f"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])]
        yield f"matmul-tiny-{power}", behind([*big, N("MatMul", ["a", "a"], ["c"]), *end], [ints("s", [side, 1, 1])])
        yield f"matmul-rows-{power}", behind([*big, N("MatMul", ["a", "w"], ["c"]), *end], [ints("s", [side, 1, 4]), floats("w", np.ones((4, 4)))])
        yield f"conv-samples-{power}", behind([*big, N("Conv", ["a", "k"], ["c"]), *end], [ints("s", [side, 1, 3]), floats("k", np.ones((1, 1, 3)))])
        yield f"conv-groups-{power}", behind([*big, N("ConstantOfShape", ["t"], ["k"]), N("Conv", ["a", "k"], ["c"], group=side), *end], [ints("s", [1, side, 3]), ints("t", [side, 1, 3])])
        yield f"convtranspose-groups-{power}", behind([*big, N("ConstantOfShape", ["t"], ["k"]), N("ConvTranspose", ["a", "k"], ["c"], group=side), *end], [ints("s", [1, side, 3]), ints("t", [side, 1, 3])])
        yield f"pool-planes-{power}", behind([*big, N("MaxPool", ["a"], ["c"], kernel_shape=[1, 1]), *end], [ints("s", [1, side, 1, 1])])
        yield f"pool-3d-{power}", behind([*big, N("AveragePool", ["a"], ["c"], kernel_shape=[3, 3, 3]), *end], [ints("s", [1, max(1, side >> 10), 8, 8, 16])])
        yield f"reduce-last-{power}", behind([*big, *[N("ReduceSum", ["a"], [f"c{i}"], keepdims=1) for i in range(8)], N("Sum", [f"c{i}" for i in range(8)], ["c"]), *end], [ints("s", [side, 1, 1, 1])])
        yield f"argmax-{power}", behind([*big, N("ArgMax", ["a"], ["c"], axis=0), *end], [ints("s", [side, 16])])
        yield f"softmax-narrow-{power}", behind([*big, N("Softmax", ["a"], ["c"], axis=-1), *end], [ints("s", [side, 1])])
        yield f"softmax-strided-{power}", behind([*big, N("Softmax", ["a"], ["c"], axis=0), *end], [ints("s", [8, side])])
        yield f"layernorm-narrow-{power}", behind([*big, N("LayerNormalization", ["a", "w"], ["c"]), *end], [ints("s", [side, 1]), floats("w", [1])])
        yield f"instancenorm-{power}", behind([*big, N("ConstantOfShape", ["t"], ["k"]), N("InstanceNormalization", ["a", "k", "k"], ["c"]), *end], [ints("s", [1, side, 2]), ints("t", [side])])
        yield f"groupnorm-{power}", behind([*big, N("ConstantOfShape", ["t"], ["k"]), N("GroupNormalization", ["a", "k", "k"], ["c"], num_groups=side), *end], [ints("s", [1, side, 2]), ints("t", [side])], opset=21)
        yield f"topk-wide-{power}", behind([*big, N("TopK", ["a", "k"], ["c", "i"], axis=0), *end], [ints("s", [side]), ints("k", [side])])
        yield f"topk-rows-{power}", behind([*big, N("TopK", ["a", "k"], ["c", "i"]), *end], [ints("s", [side, 2]), ints("k", [1])])
        yield f"gathernd-rows-{power}", behind([*whole, N("GatherND", ["t", "a"], ["c"]), *end], [ints("s", [side, 1]), floats("t", np.ones((2, 1)))])
        yield f"scatterelements-{power}", behind([*whole, N("Cast", ["a"], ["u"], to=FLOAT), N("ScatterElements", ["u", "a", "u"], ["c"], reduction="add"), *end], [ints("s", [side])], opset=18)
        yield f"split-many-{power}", behind([*big, N("Split", ["a"], [f"c{i}" for i in range(min(side, 50_000))], num_outputs=min(side, 50_000)), N("Identity", ["c0"], ["c"]), *end], [ints("s", [side])])
        yield f"concat-rows-{power}", behind([*big, N("Concat", ["a", "a"], ["c"], axis=1), *end], [ints("s", [side, 1])])
        yield f"tile-rows-{power}", behind([*big, N("Tile", ["a", "k"], ["c"]), *end], [ints("s", [side, 1]), ints("k", [1, 2])])
        yield f"where-rows-{power}", behind([*big, N("Cast", ["a"], ["m"], to=BOOL), N("Where", ["m", "a", "w"], ["c"]), *end], [ints("s", [side, 1]), floats("w", np.ones((1, 3)))])
        yield f"pow-{power}", behind([*big, N("Pow", ["a", "k"], ["c"]), *end], [ints("s", [side]), floats("k", [1.5])])
        yield f"erf-chain-{power}", behind([*big, *[N("Erf", ["a" if i == 0 else f"e{i}"], [f"e{i+1}"]) for i in range(100)], N("Identity", ["e100"], ["c"]), *end], [ints("s", [side])])
        yield f"ints-chain-{power}", behind([*whole, *[N("Add", ["a" if i == 0 else f"e{i}", "a" if i == 0 else f"e{i}"], [f"e{i+1}"]) for i in range(3000)], N("Identity", ["e3000"], ["c"]), *end], [ints("s", [side])])
        yield f"ints-mod-{power}", behind([*whole, *[N("Mod", ["a" if i == 0 else f"e{i}", "k"], [f"e{i+1}"]) for i in range(100)], N("Identity", ["e100"], ["c"]), *end], [ints("s", [side]), ints("k", [7])])
        yield f"ints-transposed-{power}", behind([*whole, *[N("Transpose", ["a" if i == 0 else f"e{i}"], [f"e{i+1}"], perm=[1, 0]) for i in range(101)], N("Identity", ["e101"], ["c"]), *end], [ints("s", [side, 4])])
        yield f"ints-where-{power}", behind([*whole, N("Cast", ["a"], ["m"], to=BOOL), *[N("Where", ["m", "a" if i == 0 else f"e{i}", "a"], [f"e{i+1}"]) for i in range(100)], N("Identity", ["e100"], ["c"]), *end], [ints("s", [side])])
        yield f"qlinearconv-{power}", behind([N("ConstantOfShape", ["s"], ["a"], value=helper.make_tensor("v", TensorProto.UINT8, [1], [1])), N("QLinearConv", ["a", "one", "z", "k", "one", "z", "one", "z"], ["c"]), *end],
                                             [ints("s", [1, 1, side]), floats("one", 1), numpy_helper.from_array(np.array(0, dtype=np.uint8), "z"), numpy_helper.from_array(np.ones((1, 1, 3), dtype=np.uint8), "k")])
        yield f"matmulinteger-{power}", behind([N("ConstantOfShape", ["s"], ["a"], value=helper.make_tensor("v", TensorProto.UINT8, [1], [1])), N("MatMulInteger", ["a", "k"], ["c"]), *end], [ints("s", [side, 4]), numpy_helper.from_array(np.ones((4, 64), dtype=np.uint8), "k")])
        yield f"quantize-{power}", behind([*big, N("QuantizeLinear", ["a", "one"], ["q"]), N("DequantizeLinear", ["q", "one"], ["c"]), *end], [ints("s", [side]), floats("one", 1)])
        yield f"dynamicquantize-{power}", behind([*big, N("DynamicQuantizeLinear", ["a"], ["q", "w", "e"]), N("Cast", ["q"], ["c"], to=FLOAT), *end], [ints("s", [side])])
        yield f"lrn-wide-{power}", behind([*big, N("LRN", ["a"], ["c"], size=side - 1 | 1), *end], [ints("s", [1, side, 1])])
        yield f"cumsum-rows-{power}", behind([*big, N("CumSum", ["a", "ax"], ["c"]), *end], [ints("s", [side]), ints("ax", 0)])
        yield f"trilu-big-{power}", behind([*big, N("Trilu", ["a"], ["c"]), *end], [ints("s", [side, 2, 2])])
        yield f"multinomial-{power}", behind([N("Multinomial", ["h"], ["c"], sample_size=side), *end], [])
        yield f"window-{power}", behind([N("HannWindow", ["s"], ["c"]), *end], [ints("s", side)])
        yield f"mel-{power}", behind([N("MelWeightMatrix", ["s", "s", "s", "lo", "hi"], ["c"]), *end], [ints("s", side), floats("lo", 0), floats("hi", 1)])
        yield f"maxunpool-{power}", behind([N("Unsqueeze", ["h", "ax"], ["u"]), N("MaxUnpool", ["u", "i", "o"], ["c"], kernel_shape=[2]), *end], [ints("ax", [0]), ints("i", [[[0, 1, 2, 3]]]), ints("o", [1, 1, side])])
        yield f"nms-{power}", behind([N("ConstantOfShape", ["s"], ["b"]), N("ConstantOfShape", ["t"], ["p"]), N("NonMaxSuppression", ["b", "p", "k"], ["c"]), *end], [ints("s", [1, side, 4]), ints("t", [1, 1, side]), ints("k", side)])
        yield f"sequence-{power}", behind([*big, N("SplitToSequence", ["a"], ["q"], axis=0), N("ConcatFromSequence", ["q"], ["c"], axis=0), *end], [ints("s", [side])])
        yield f"scan-rows-{power}", behind([*big, N("Scan", ["h", "a"], ["y", "z"], num_scan_inputs=1, body=body_graph("b", [N("Relu", ["st"], ["st_out"]), N("Identity", ["st"], ["o"])], [value("st", None), value("el", None)], [value("st_out", None), value("o", None)]))], [ints("s", [side, 0])])
        large = floats("big", np.ones(min(side, 1 << 20)))
        inner = body_graph("then", [N("ReduceMax", ["big"], ["m"], keepdims=0), N("Add", ["v", "m"], ["w"])], [], [value("w", None)], [large])
        other = body_graph("else", [N("Neg", ["v"], ["n2"])], [], [value("n2", None)])
        outer = body_graph("body", [N("Identity", ["cond"], ["cond_out"]), N("If", ["cond"], ["v_out"], then_branch=inner, else_branch=other)], [value("i", [], INT64), value("cond", [], BOOL), value("v", None)], [value("cond_out", [], BOOL), value("v_out", None)])
        yield f"loop-if-constant-{power}", behind([N("Loop", ["n", "true", "h"], ["y"], body=outer)], [ints("n", 1 << 40), numpy_helper.from_array(np.array(True), "true")])
        unused = body_graph("body", [N("Identity", ["cond"], ["cond_out"]), N("Identity", ["v"], ["v_out"])], [value("i", [], INT64), value("cond", [], BOOL), value("v", None)], [value("cond_out", [], BOOL), value("v_out", None)], [large])
        yield f"loop-unused-constant-{power}", behind([N("Loop", ["n", "true", "h"], ["y"], body=unused)], [ints("n", 1 << 40), numpy_helper.from_array(np.array(True), "true")])
        state = body_graph("body", [N("Identity", ["cond"], ["cond_out"]), N("Add", ["v", "one"], ["v_out"])], [value("i", [], INT64), value("cond", [], BOOL), value("v", None)], [value("cond_out", [], BOOL), value("v_out", None)], [floats("one", [1])])
        yield f"loop-large-state-{power}", behind([*big, N("Loop", ["n", "true", "a"], ["c"], body=state), *end], [ints("s", [side]), ints("n", 1 << 40), numpy_helper.from_array(np.array(True), "true")])
        taken = body_graph("body", [N("Identity", ["cond"], ["cond_out"]), N("Slice", ["a", "z", "e"], ["p"]), N("Add", ["v", "p"], ["v_out"])], [value("i", [], INT64), value("cond", [], BOOL), value("v", None)], [value("cond_out", [], BOOL), value("v_out", None)], [ints("z", [0]), ints("e", [1])])
        yield f"loop-captured-{power}", behind([*big, N("Loop", ["n", "true", "h"], ["c"], body=taken), *end], [ints("s", [side]), ints("n", 1 << 40), numpy_helper.from_array(np.array(True), "true")])


def sparse():
    first, weights = layer()
    values, indices = floats("big", [1.0]), ints("big_i", [0])
    tensor = helper.make_sparse_tensor(values, indices, [1 << 20, 1 << 20])
    made = helper.make_graph([*first, N("ReduceSum", ["big"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], "g", [value("x", [1, 4])], [value("y", None)], weights, sparse_initializer=[tensor])
    yield "sparse", helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    tensor = helper.make_sparse_tensor(values, indices, [1 << 28])
    made = helper.make_graph([*first, N("ReduceSum", ["big"], ["r"], keepdims=0), N("Add", ["h", "r"], ["y"])], "g", [value("x", [1, 4])], [value("y", None)], weights, sparse_initializer=[tensor])
    yield "sparse-2e28", helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    # Fields in fields without end: protobuf nesting.
    for depth in (99, 101, 1000, 100_000):
        data = b""
        for _ in range(depth):
            # TypeProto.sequence_type.elem_type
            data = b"\x0a" + varint(len(data)) + data
            data = b"\x22" + varint(len(data)) + data
            if len(data) > 3_000_000:
                break
        info = b"\x0a\x01x" + b"\x12" + varint(len(data)) + data
        graph = b"\x5a" + varint(len(info)) + info
        yield f"proto-types-{depth}", b"\x08\x08" + b"\x3a" + varint(len(graph)) + graph
        graph = b""
        for _ in range(depth):
            attribute = b"\x0a\x01b" + b"\x32" + varint(len(graph)) + graph + b"\xa0\x01\x05"
            node = b"\x22\x02If" + b"\x2a" + varint(len(attribute)) + attribute
            graph = b"\x0a" + varint(len(node)) + node
            if len(graph) > 3_000_000:
                break
        yield f"proto-graphs-{depth}", b"\x08\x08" + b"\x3a" + varint(len(graph)) + graph
    yield "proto-length", b"\x08\x08\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
    yield "proto-empty-nodes", b"\x08\x08" + b"\x3a" + varint(2 * 3_000_000) + b"\x0a\x00" * 3_000_000
    yield "proto-empty-initializers", b"\x08\x08" + b"\x3a" + varint(2 * 3_000_000) + b"\x2a\x00" * 3_000_000
    yield "proto-empty-inputs", b"\x08\x08" + b"\x3a" + varint(2 * 3_000_000) + b"\x5a\x00" * 3_000_000


def varint(number):
    out = b""
    while True:
        out += bytes([number & 0x7F | (0x80 if number > 0x7F else 0)])
        number >>= 7
        if not number:
            return out


def checkpoint(program, storages=()):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        for name, data in storages:
            archive.writestr(f"archive/data/{name}", data)
    return out.getvalue()


def pickles():
    head, end = b"\x80\x02", b"."
    yield "none-list.pt", checkpoint(head + b"]" + b"(" + b"N" * 10_000_000 + b"e" + end)
    yield "nones.pt", checkpoint(head + b"N" * 20_000_000 + end)
    yield "marks.pt", checkpoint(head + b"(" * 20_000_000 + end)
    yield "lists.pt", checkpoint(head + b"]" * 10_000_000 + end)
    yield "dicts.pt", checkpoint(head + b"}" * 10_000_000 + end)
    yield "nested-tuples.pt", checkpoint(head + b")" + b"\x85" * 5_000_000 + end)
    yield "nested-lists.pt", checkpoint(head + b"]" + b"]" * 100_000 + b"a" * 100_000 + end)
    laughs = head + b"]q\x00"
    for i in range(60):
        laughs += b"]q" + bytes([i + 1]) + b"(" + (b"h" + bytes([i])) * 10 + b"e"
    yield "laughs.pt", checkpoint(laughs + end)
    strings = head + b"X" + struct.pack("<I", 1000) + b"a" * 1000 + b"q\x00" + b"]" + b"(" + b"h\x00" * 2_000_000 + b"e"
    yield "strings.pt", checkpoint(strings + end)
    yield "put-large.pt", checkpoint(head + b"Nr\xff\xff\xff\xff" + end)
    yield "put-huge.pt", checkpoint(head + b"Np99999999999999999999\n" + end)
    yield "long.pt", checkpoint(head + b"\x8b" + struct.pack("<i", 0x7FFFFFFF) + end)
    yield "dup.pt", checkpoint(head + b"]" + b"2" * 10_000_000 + end)
    yield "proto-0-long.pt", checkpoint(b"L" + b"9" * 2_000_000 + b"L\n.")
    yield "frame.pt", checkpoint(b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + end)
    yield "binunicode8.pt", checkpoint(b"\x80\x04\x8d" + struct.pack("<Q", (1 << 63) - 1) + end)
    yield "bytearray8.pt", checkpoint(b"\x80\x05\x96" + struct.pack("<Q", (1 << 62)) + end)
    yield "reduce-chain.pt", checkpoint(head + b"cbuiltins\nlist\n" + b")R" * 1_000_000 + end)
    yield "memo-loop.pt", checkpoint(head + b"]q\x00h\x00a" + end)

    def tensor(size, stride, offset=0, count=4):
        return (head + b"ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
                + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + b"\x8a\x08" + struct.pack("<q", count) + b"tQ" + b"\x8a\x08" + struct.pack("<q", offset)
                + b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", s) for s in size) + b"t" + b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", s) for s in stride) + b"t"
                + b"\x89ccollections\nOrderedDict\n)Rt" + b"Ru" + end)

    data = [("0", b"\0" * 16)]
    for at, (size, stride) in enumerate([([1 << 40], [0]), ([1 << 20, 1 << 20], [0, 0]), ([1 << 29], [0]), ([-4], [1]), ([4], [-1]), ([1 << 62, 1 << 62], [0, 0]), ([4], [1 << 62]), ([1] * 100, [1] * 100), ([1 << 26], [0]), ([2, 2], [2, 1])]):
        yield f"tensor-{at}.pt", checkpoint(tensor(size, stride), data)
        yield f"tensor-offset-{at}.pt", checkpoint(tensor(size, stride, offset=1 << 61), data)
        yield f"tensor-count-{at}.pt", checkpoint(tensor(size, stride, count=1 << 61), data)


def zips():
    def lying(name, size, packed=None, compress=zipfile.ZIP_STORED, payload=b"\x80\x02}."):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", compress) as archive:
            archive.writestr("archive/data.pkl", payload)
        data = bytearray(out.getvalue())
        at = data.rindex(b"PK\x01\x02")
        data[at + 24 : at + 28] = struct.pack("<I", size)
        if packed is not None:
            data[at + 20 : at + 24] = struct.pack("<I", packed)
        return name, bytes(data)

    yield lying("size.pt", 0xFFFFFFF0)
    yield lying("size-small.pt", 1)
    yield lying("packed.pt", 4, 0xFFFFFFF0)
    yield lying("deflated.pt", 0xFFFFFFF0, None, zipfile.ZIP_DEFLATED)
    zeros = io.BytesIO()
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"N" * 1_000_000_000 + b".")
    yield "deflate-1g.pt", zeros.getvalue()
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w", zipfile.ZIP_DEFLATED) as archive:
        big = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (60000000,), }".ljust(117) + b"\n" + b"\0" * 240_000_000
        for i in range(20):
            archive.writestr(f"a{i}.npy", big)
    yield "deflate-many.npz", many.getvalue()
    for at, shape in enumerate(["(1000000000000,)", "(4611686018427387904, 4611686018427387904)", "(-1,)", "(" + "1," * 100_000 + ")", "(" * 50_000, "(0, 99999999999999999999999999)", "(2,)"]):
        header = f"{{'descr': '<f4', 'fortran_order': True, 'shape': {shape}, }}".encode()
        header = header.ljust(len(header) + 10) + b"\n"
        npy = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header + b"\0" * 8
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("w.npy", npy)
        yield f"npy-{at}.npz", out.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for i in range(60_000):
            archive.writestr(f"e{i}", b"")
    yield "entries.npz", out.getvalue()
    yield "entries.pt", out.getvalue()


def safetensors():
    def file(header, data=b"\0" * 64):
        header = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(header)) + header + data

    yield "length.safetensors", struct.pack("<Q", (1 << 64) - 1) + b"{}"
    yield "length-100m.safetensors", struct.pack("<Q", 99_999_999) + b"{}"
    yield "nested.safetensors", file(b"[" * 1_000_000)
    yield "nested-objects.safetensors", file(b'{"a":' * 500_000)
    for at, (shape, offsets) in enumerate([([1 << 62, 4], [0, 64]), ([1 << 40], [0, 1 << 42]), ([16], [64, 0]), ([16], [0, 1 << 63]), ([0, 1 << 62], [0, 0]), ([1] * 10_000 + [16], [0, 64]), ([4, 4], [0, 64])]):
        yield f"shape-{at}.safetensors", file({"w": {"dtype": "F32", "shape": shape, "data_offsets": offsets}})
    yield "many.safetensors", file({f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(300_000)})
    yield "overlap.safetensors", file({f"t{i}": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]} for i in range(1000)})
    yield "metadata.safetensors", file({"__metadata__": {f"k{i}": "v" for i in range(300_000)}, "w": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}})
    yield "names.safetensors", file({"\x1b[31mred\u202e\n": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}})
    for family in ("gpt2", "bert", "llama", "vit", "t5", "swin", "resnet"):
        pass


def configs():
    """Hugging Face folders are folders: made here as one file each, a YAML or JSON."""
    yield "laughs.yml", ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98+i)}: &{chr(98+i)} [{','.join(['*'+chr(97+i)]*9)}]\n" for i in range(12))).encode()
    yield "nested.yml", b"a: " + b"[" * 200_000
    yield "nested-maps.yml", b"a: " + b"{a: " * 100_000
    yield "indent.yml", "".join(" " * i + "a:\n" for i in range(3000)).encode()
    yield "models-20000.yml", ("models:\n" + "".join(f"- model: m{i}.onnx\n" for i in range(20_000))).encode()
    yield "models-same.yml", ("models:\n" + "- model: net.onnx\n" * 20_000).encode()
    yield "long-string.yml", b"merge_method: " + b"a" * 5_000_000
    yield "anchors.yml", ("models:\n- &m {model: a.onnx}\n" + "- *m\n" * 20_000).encode()
    yield "numbers.yml", b"models:\n- {model: a.onnx, parameters: {weight: 1e400}}\n- {model: b.onnx, parameters: {weight: -.nan}}\n"


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for make in (shapes, loops, declared, wiring, wide, computed, sparse):
        (folder / "onnx").mkdir(exist_ok=True)
        for name, data in make():
            (folder / "onnx" / f"{name}.onnx").write_bytes(data)
            count += 1
    for make in (pickles, zips, safetensors, configs):
        for name, data in make():
            kind = folder / make.__name__
            kind.mkdir(exist_ok=True)
            (kind / name).write_bytes(data)
            count += 1
    print(f"{count} files in {folder}")


if __name__ == "__main__":
    main()
