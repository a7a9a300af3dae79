#!/usr/bin/env python3
"""Writes 1.onnx and 2.onnx: a convolution without a bias, for which the exporter without optimisation makes one of zeros.

usage: castlike.py FOLDER        needs torch, onnx, onnxscript
"""
import sys

import onnx
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = nn.Conv2d(2, 6, 3, bias=False), nn.Conv2d(6, 6, 1, bias=False)
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.second(torch.relu(self.norm(self.first(x)))))
        return self.head(x.mean((2, 3)))


for seed in (1, 2):
    torch.onnx.export(
        Net(seed).eval(), (torch.randn(2, 2, 6, 6),), f"{sys.argv[1]}/{seed}.onnx", optimize=False,
        external_data=False, verbose=False, dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    # Where in which file a line of the network stands differs from machine to machine.
    model = onnx.load(f"{sys.argv[1]}/{seed}.onnx")
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if not entry.key.endswith("stack_trace")]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, f"{sys.argv[1]}/{seed}.onnx")
