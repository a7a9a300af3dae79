#!/usr/bin/env python3
"""Writes 1.onnx and 2.onnx: networks whose batch normalisation has no running statistics, exported as in training.

usage: bn_training_mode.py FOLDER        needs torch, onnx
"""
import sys

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.norm = nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6, track_running_stats=False)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


for seed in (1, 2):
    torch.onnx.export(
        Net(seed).eval(), (torch.randn(3, 2, 6, 6),), f"{sys.argv[1]}/{seed}.onnx", dynamo=False, opset_version=17,
        training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
    )
