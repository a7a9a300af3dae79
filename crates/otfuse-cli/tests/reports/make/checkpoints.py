#!/usr/bin/env python3
"""Writes checkpoints of small networks and what PyTorch's exporters make of the networks.

For each network NAME.1.pt and NAME.2.pt (two state dicts), NAME.x.npz (inputs), NAME.y.npz (the outputs that the first has),
and NAME.FORM.onnx, the export of a network that was never trained, with FORM default, plain (without optimisation) and old;
NAME.own.onnx is the old export of the first one itself.

folded: convolutions with batch normalisations of unusual epsilon; linear: products of three axes; reused: a layer that
is used twice; lstm, gru: gates and directions in one tensor; norms: scales that begin equal, and a parametric rectifier;
weightnorm, spectralnorm: weights in another form; encoder: layers that begin as copies, packed projections and a table
that no checkpoint has; extra: a head and class weights that the graph lacks, in a checkpoint of PyTorch Lightning's form;
prefixed: the same in a wrapper.

usage: checkpoints.py FOLDER        needs torch, onnx, onnxscript, numpy
"""
import sys

import numpy
import onnx
import torch
from torch import nn
from torch.nn.utils import parametrizations


class Folded(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.a_norm = nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6, eps=1e-3)
        self.b, self.b_norm = nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6, eps=1e-3)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.a_norm(self.a(x)))
        return self.head(torch.relu(self.b_norm(self.b(x))).mean((2, 3)))


class Linears(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.relu(self.a(x))))).mean(1)


class Reused(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.a(x))
        return self.c(torch.relu(self.b(torch.relu(self.b(x))))).mean(1)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells, self.head = kind(3, 5, 2, batch_first=True, bidirectional=True), nn.Linear(10, 2)

    def forward(self, x):
        return self.head(self.cells(x)[0].mean(1))


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.a_norm, self.slope = nn.Conv1d(3, 8, 3), nn.GroupNorm(2, 8), nn.PReLU(8)
        self.b, self.b_norm = nn.Linear(8, 8), nn.LayerNorm(8)
        self.c, self.c_norm, self.head = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, x):
        x = self.slope(self.a_norm(self.a(x))).mean(2)
        x = self.b_norm(torch.relu(self.b(x)))
        return self.head(self.c_norm(torch.relu(self.c(x))))


class Normed(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.a, self.b, self.c = norm(nn.Conv1d(3, 8, 3)), norm(nn.ConvTranspose1d(8, 8, 2)), norm(nn.Linear(8, 8))
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = torch.tanh(self.b(torch.tanh(self.a(x)))).mean(2)
        return self.head(torch.relu(self.c(x)))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 10, dropout=0.0, batch_first=True)
        self.embed, self.layers = nn.Linear(3, 8), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 2)
        self.register_buffer("table", torch.sin(torch.arange(48.0)).view(6, 8), persistent=False)

    def forward(self, x):
        return self.head(self.layers(self.embed(x) + self.table).mean(1))


class Extra(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.head, self.auxiliary = nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(8, 2)
        self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, x):
        return self.head(torch.relu(self.a(x)))


NETWORKS = {
    "folded": (Folded, (2, 2, 8, 8)),
    "linear": (Linears, (2, 4, 5)),
    "reused": (Reused, (2, 4, 5)),
    "lstm": (lambda: Recurrent(nn.LSTM), (2, 4, 3)),
    "gru": (lambda: Recurrent(nn.GRU), (2, 4, 3)),
    "norms": (Norms, (2, 3, 9)),
    "weightnorm": (lambda: Normed(parametrizations.weight_norm), (2, 3, 9)),
    "spectralnorm": (lambda: Normed(parametrizations.spectral_norm), (2, 3, 9)),
    "encoder": (Encoder, (2, 6, 3)),
    "extra": (Extra, (2, 5)),
    "prefixed": (Linears, (2, 4, 5)),
}
FORMS = {"default": {"dynamo": True}, "plain": {"dynamo": True, "optimize": False}, "old": {"dynamo": False}}


def trained(make, seed):
    """A network with no two equal numbers, as training leaves it."""
    torch.manual_seed(seed)
    module = make().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer += 0.3 * torch.randn_like(buffer)
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand_like(buffer))
    return module


def export(module, x, path, **options):
    if options["dynamo"]:
        options["external_data"] = False
    torch.onnx.export(module, (x,), path, input_names=["x"], output_names=["y"], verbose=False, **options)
    model = onnx.load(path)
    for node in model.graph.node:
        # Where in which file a line stands is not looked at, and differs from machine to machine.
        kept = [entry for entry in node.metadata_props if not entry.key.endswith("stack_trace")]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, path)


def main(folder):
    for name, (make, shape) in NETWORKS.items():
        for seed in (1, 2):
            module = trained(make, seed)
            tensors = module.state_dict()
            if name == "extra":
                tensors = {"epoch": 3, "hyper_parameters": {"lr": 0.1}, "state_dict": tensors}
            if name == "prefixed":
                tensors = {f"module.net.{key}": tensor for key, tensor in tensors.items()}
            torch.save(tensors, f"{folder}/{name}.{seed}.pt")
        x = torch.randn(*shape)
        first = trained(make, 1)
        with torch.no_grad():
            numpy.savez(f"{folder}/{name}.x.npz", x=x.numpy())
            numpy.savez(f"{folder}/{name}.y.npz", y=first(x).numpy())
        torch.manual_seed(77)
        for form, options in FORMS.items():
            if (name, form) == ("spectralnorm", "old"):
                continue  # which this exporter refuses
            export(make().eval(), x, f"{folder}/{name}.{form}.onnx", **options)
        if name == "folded":
            export(first, x, f"{folder}/{name}.own.onnx", **FORMS["old"])


if __name__ == "__main__":
    main(sys.argv[1])
