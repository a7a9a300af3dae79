#!/usr/bin/env python3
"""Writes networks in the forms that three exports of PyTorch give them: NAME.FORM.onnx with FORM default, plain (without
optimisation) and old.

gru: two layers of two directions that begin with the same zeros; attention: queries, keys and values cut from a sequence;
norms: normalisations that are still equal, so that the exporter writes them once; pool: a mean that is written as a
lookup of all indices.

usage: exported.py FOLDER        needs torch, onnx, onnxscript
"""
import sys

import onnx
import torch
from torch import nn
from torch.nn import functional


class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(3, 4, 2, batch_first=True, bidirectional=True), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.gru(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.all, self.out, self.head = (nn.Linear(*sizes) for sizes in ((3, 8), (8, 24), (8, 8), (8, 2)))

    def forward(self, x):
        x = torch.relu(self.first(x))
        heads = [part.unflatten(2, (2, 4)).transpose(1, 2) for part in self.all(x).split(8, 2)]
        y = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        return self.head((x + self.out(y)).mean(1))


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.ModuleList([nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 2)])
        self.norm = nn.ModuleList([nn.LayerNorm(6), nn.LayerNorm(6)])

    def forward(self, x):
        for linear, norm in zip(self.linear, self.norm):
            x = torch.relu(norm(linear(x)))
        return self.linear[2](x)


class Pool(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(2, 6, 3), nn.LayerNorm(6), nn.Linear(6, 2)

    def forward(self, x):
        x = functional.adaptive_avg_pool2d(torch.relu(self.conv(x)), 1)
        return self.head(self.norm(x.permute(0, 2, 3, 1)).flatten(1))


forms = {
    "default": {"external_data": False, "verbose": False},
    "plain": {"optimize": False, "external_data": False, "verbose": False},
    "old": {"dynamo": False},
}
networks = {
    "gru": (Gru, (2, 5, 3)), "attention": (Attention, (2, 5, 3)), "norms": (Norms, (2, 5)), "pool": (Pool, (2, 2, 6, 6))
}
for name, (network, shape) in networks.items():
    torch.manual_seed(0)
    network = network().eval()
    for form, options in forms.items():
        path = f"{sys.argv[1]}/{name}.{form}.onnx"
        torch.onnx.export(network, (torch.randn(shape),), path, **options)
        model = onnx.load(path)
        # Where in the sources each node comes from: most of the file, and of no matter here.
        for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
            del part.metadata_props[:]
        onnx.save(model, path)
