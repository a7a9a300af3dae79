#!/usr/bin/env python3
"""Writes networks that leave lengths open and do not take all of them: NAME1.onnx and NAME2.onnx for each.

halves: what is made smaller four times and joined again; window: a kernel of 200; flat: a flatten in front of a linear
layer, which one height and width fit; pair: two inputs, one as long as the other in other units; same: the sum of two
inputs of one length.

usage: dynamic_hw.py FOLDER        needs torch, onnx
"""
import sys

import torch
from torch import nn
from torch.nn import functional


class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(1 if i == 0 else 4, 4, 3, padding=1) for i in range(5)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(4, 4, 2, stride=2) for _ in range(4)])
        self.head = nn.Conv2d(4, 1, 1)

    def forward(self, x):
        kept = []
        for layer in self.down[:4]:
            x = torch.relu(layer(x))
            kept.append(x)
            x = functional.max_pool2d(x, 2)
        x = torch.relu(self.down[4](x))
        for layer in self.up:
            x = torch.relu(layer(x) + kept.pop())
        return self.head(x)


class Windowed(nn.Module):
    def __init__(self):
        super().__init__()
        self.window, self.point, self.head = nn.Conv1d(1, 8, 200, stride=50), nn.Conv1d(8, 6, 1), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(torch.relu(self.point(torch.abs(self.window(x.unsqueeze(1))))).mean(2))


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.hidden, self.head = nn.Conv2d(1, 4, 3, 2, 1), nn.Linear(4 * 14 * 14, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(torch.relu(self.hidden(torch.relu(self.conv(x)).flatten(1))))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.fine, self.coarse, self.head = nn.Conv1d(2, 6, 4, stride=4), nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x, y):
        return self.head(torch.relu(self.fine(x).transpose(1, 2) + self.coarse(y)))


def export(name, network, inputs, names, axes):
    for seed in (1, 2):
        torch.manual_seed(seed)
        torch.onnx.export(
            network().eval(), inputs, f"{sys.argv[1]}/{name}{seed}.onnx", dynamo=False, opset_version=17,
            input_names=names, output_names=["y0"], dynamic_axes=axes,
        )


image = {"x": {0: "batch", 2: "height", 3: "width"}}
export("halves", Halves, (torch.randn(1, 1, 64, 64),), ["x"], image)
export("window", Windowed, (torch.randn(1, 512),), ["x"], {"x": {0: "batch", 1: "time"}})
export("flat", Flat, (torch.randn(1, 1, 28, 28),), ["x"], image)
export("pair", Pair, (torch.randn(1, 2, 32), torch.randn(1, 8, 3)), ["x", "y"], {"x": {2: "fine"}, "y": {1: "coarse"}})
