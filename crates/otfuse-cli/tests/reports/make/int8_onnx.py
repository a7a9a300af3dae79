#!/usr/bin/env python3
"""Writes one network with integer weights in three forms: qdq (QuantizeLinear and DequantizeLinear around operators), qop
(quantised operators), dyn (activations quantised as they come); FORM1.onnx and FORM2.onnx for each.

usage: int8_onnx.py FOLDER        needs torch, onnx, onnxruntime
"""
import pathlib
import sys
import tempfile

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from torch import nn


class Net(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.head = nn.Conv2d(2, 6, 3), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


class Samples(CalibrationDataReader):
    def __init__(self):
        random = np.random.default_rng(0)
        self.left = iter([{"x": random.normal(size=(1, 2, 6, 6)).astype(np.float32)} for _ in range(3)])

    def get_next(self):
        return next(self.left, None)


out = pathlib.Path(sys.argv[1])
with tempfile.TemporaryDirectory() as folder:
    for seed in (1, 2):
        floats = f"{folder}/{seed}.onnx"
        torch.onnx.export(
            Net(seed).eval(), (torch.randn(1, 2, 6, 6),), floats, dynamo=False, input_names=["x"], output_names=["y"],
            opset_version=17,
        )
        quantize_dynamic(floats, out / f"dyn{seed}.onnx", weight_type=QuantType.QUInt8)
        for name, form in (("qdq", QuantFormat.QDQ), ("qop", QuantFormat.QOperator)):
            quantize_static(floats, out / f"{name}{seed}.onnx", Samples(), quant_format=form)
