#!/usr/bin/env python3
"""Writes training.json beside this file: weights after a few steps of PyTorch's optimizers and schedules.

usage: gen_training.py        needs torch

`tests/training.rs` builds the same network, samples and settings. Every step takes all samples, so that their order does
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
lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in results.items())
pathlib.Path(__file__).with_name("training.json").write_text("{\n" + lines + "\n}\n")
print(len(results), "cases")
