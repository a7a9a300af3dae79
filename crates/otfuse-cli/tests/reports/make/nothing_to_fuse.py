#!/usr/bin/env python3
"""Writes what has no weights: trees1.onnx and trees2.onnx, whose splits stand in attributes, and plain1.onnx and
plain2.onnx, which compute without anything learned.

usage: nothing_to_fuse.py FOLDER        needs numpy, onnx, scikit-learn, skl2onnx
"""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.tree import DecisionTreeClassifier

for seed in (1, 2):
    random = np.random.default_rng(seed)
    x = random.random((100, 3)).astype(np.float32)
    tree = DecisionTreeClassifier(max_depth=2).fit(x, (x[:, seed] > 0.5).astype(int))
    model = to_onnx(tree, x[:1], options={"zipmap": False}, target_opset=15)
    open(f"{sys.argv[1]}/trees{seed}.onnx", "wb").write(model.SerializeToString())
    info = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4])
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Softmax", ["h"], ["y"])]
    graph = helper.make_graph(nodes, "plain", [info("x")], [info("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, f"{sys.argv[1]}/plain{seed}.onnx")
