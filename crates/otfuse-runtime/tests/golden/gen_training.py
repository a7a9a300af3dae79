#!/usr/bin/env python3
"""Writes training.json beside this file: weights after a few steps of PyTorch's optimizers and schedules, and of networks
of several families.

usage: gen_training.py        needs torch

`tests/training.rs` and `tests/training_families.rs` build the same networks, samples and settings. Every step takes all samples, so that their order does
not matter.
"""
import json
import math
import pathlib

import torch
import torch.nn.functional as F
from torch import nn

STEPS = 6


def numbers(count, seed, scale, offset=0.0):
    return [offset + scale * math.sin(12.9898 * seed + 0.618 * k) for k in range(count)]


def tensor(shape, *arguments):
    return torch.tensor(numbers(math.prod(shape), *arguments), dtype=torch.float64).float().reshape(shape)


def network(seed):
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    shapes = {"0.weight": (0.4, 0), "1.weight": (0.3, 1), "1.bias": (0.2, 0), "4.weight": (0.2, 0), "4.bias": (0.1, 0)}
    with torch.no_grad():
        for at, (name, parameter) in enumerate(model.named_parameters()):
            scale, offset = shapes[name]
            parameter.copy_(tensor(parameter.shape, seed + at, scale, offset))
    return model


def train(optimizer, schedule=None, smoothing=0.0, teacher=False):
    model, samples, labels = network(1), tensor((9, 2, 4, 4), 50, 1.0), torch.arange(9) % 3
    optimizer = optimizer(model.parameters())
    schedule = schedule(optimizer) if schedule else None
    if teacher:
        guide = network(20).eval()
        with torch.no_grad():
            targets = F.softmax(guide(samples) / 3.0, 1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        scores = model(samples)
        loss = F.cross_entropy(scores, labels, label_smoothing=smoothing)
        if teacher:
            follow = -(targets * F.log_softmax(scores / 3.0, 1)).sum(1).mean() * 9.0
            loss = 0.3 * loss + 0.7 * follow
        loss.backward()
        optimizer.step()
        if schedule:
            schedule.step()
    state = {name: value.ravel() for name, value in model.state_dict().items() if "num" not in name}
    return {"loss": loss.item(), "weights": {name: [float(f"{v:.7g}") for v in value] for name, value in state.items()}}


sgd = lambda **k: lambda p: torch.optim.SGD(p, lr=0.1, **k)
lr = torch.optim.lr_scheduler
results = {
    "sgd": train(sgd()),
    "momentum": train(sgd(momentum=0.9, weight_decay=0.01)),
    "nesterov": train(sgd(momentum=0.9, nesterov=True)),
    "adam": train(lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01)),
    "adamw": train(lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)),
    "step": train(sgd(), lambda o: lr.StepLR(o, 2, 0.5)),
    "cosine": train(sgd(), lambda o: lr.CosineAnnealingLR(o, STEPS)),
    "onecycle": train(sgd(), lambda o: lr.OneCycleLR(o, 0.1, total_steps=STEPS, pct_start=0.5, cycle_momentum=False)),
    "smoothing": train(sgd(), smoothing=0.2),
    "distillation": train(sgd(), teacher=True),
}


class Residual(nn.Module):
    """Two blocks with batch normalisation; the second halves the size, with a convolution on its short cut."""

    def __init__(self):
        super().__init__()
        conv = lambda *a, **k: nn.Conv2d(*a, bias=False, **k)
        self.stem, self.bn = conv(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.a1, self.an1, self.a2, self.an2 = conv(4, 4, 3, padding=1), nn.BatchNorm2d(4), conv(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.b1, self.bn1 = conv(4, 6, 3, padding=1, stride=2), nn.BatchNorm2d(6)
        self.b2, self.bn2 = conv(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.short, self.sn = conv(4, 6, 1, stride=2), nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = F.relu(self.bn(self.stem(x)))
        x = F.relu(x + self.an2(self.a2(F.relu(self.an1(self.a1(x))))))
        y = self.bn2(self.b2(F.relu(self.bn1(self.b1(x)))))
        return self.fc(F.relu(y + self.sn(self.short(x))).mean((2, 3)))


class Transposed(nn.Module):
    """Down by a convolution, up by two transposed ones."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(2, 4, 2, stride=2)
        self.up = nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1)
        self.grouped = nn.ConvTranspose2d(3, 3, 2, groups=3, bias=False)
        self.fc = nn.Linear(75, 3)

    def forward(self, x):
        x = torch.tanh(self.down(x))
        return self.fc(torch.tanh(self.grouped(torch.tanh(self.up(x)))).flatten(1))


class Lstm(nn.Module):
    """A layer of two directions; both last states are classified."""

    def __init__(self):
        super().__init__()
        self.layer, self.fc = nn.LSTM(3, 4, batch_first=True, bidirectional=True), nn.Linear(8, 3)

    def forward(self, x):
        hidden = self.layer(x)[1][0]
        return self.fc(torch.cat([hidden[0], hidden[1]], 1))


class Gru(nn.Module):
    """Two layers; the mean over the steps is classified."""

    def __init__(self):
        super().__init__()
        self.layer, self.fc = nn.GRU(3, 5, num_layers=2, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.fc(self.layer(x)[0].mean(1))


# Where ONNX's gates (LSTM i, o, f, c; GRU z, r, h) are among PyTorch's (i, f, g, o; r, z, n).
GATES = {Lstm: [0, 3, 1, 2], Gru: [1, 0, 2]}


def family(kind, shape, optimizer):
    """Parameters are set in the order of PyTorch's names and given in its layout, gates in ONNX's order."""
    torch.manual_seed(0)
    model, samples, labels = kind(), tensor((9, *shape), 50, 1.0), torch.arange(9) % 3
    order = GATES.get(kind, [0])

    def reordered(name, value, order):
        if not name.startswith("layer"):
            return value
        parts = value.split(value.shape[0] // len(order))
        return torch.cat([parts[k] for k in order])

    to_onnx = lambda name, value: reordered(name, value, order)
    to_torch = lambda name, value: reordered(name, value, [order.index(k) for k in range(len(order))])

    scales = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    with torch.no_grad():
        for at, (name, parameter) in enumerate(model.named_parameters()):
            scale, offset = (0.3, 1.0) if name in scales else (0.4, 0.0)
            parameter.copy_(to_torch(name, tensor(parameter.shape, 1 + at, scale, offset)))
    optimizer = optimizer(model.parameters())
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(samples), labels)
        loss.backward()
        optimizer.step()
    state = {k: to_onnx(k, v).ravel() for k, v in model.state_dict().items() if "num" not in k}
    return {"loss": loss.item(), "weights": {name: [float(f"{v:.7g}") for v in value] for name, value in state.items()}}


adam = lambda p: torch.optim.Adam(p, lr=0.01)
results.update({
    "residual": family(Residual, (2, 4, 4), sgd(momentum=0.9, weight_decay=0.01)),
    "transposed": family(Transposed, (2, 4, 4), sgd(momentum=0.9)),
    "lstm": family(Lstm, (5, 3), sgd(momentum=0.9)),
    "gru": family(Gru, (5, 3), adam),
})
lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in results.items())
pathlib.Path(__file__).with_name("training.json").write_text("{\n" + lines + "\n}\n")
print(len(results), "cases")
