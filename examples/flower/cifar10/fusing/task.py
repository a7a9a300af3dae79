"""Data, networks and training, by the settings of pyproject.toml."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import otfuse
import torch
from torch import nn

torch.set_num_threads(1)


def spec(config) -> str:
    """The data set: what ``data`` names, else the digits that the package brings."""
    return str(config["data"]) or "digits"


def arrays(data: otfuse.Dataset, split: str, limit: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = data.arrays(split, limit)
    x, y = torch.from_numpy(np.array(x)), torch.from_numpy(np.array(y)).long()
    return (x if x.ndim == 4 and x.shape[1] == 3 else x.flatten(1)), y


def network(config, width: float = 1.0) -> nn.Module:
    """A perceptron; of images in colour a small convolutional network."""
    kind = spec(config).split(":")[0]
    wide = int(128 * width)
    if kind.startswith("cifar"):
        return nn.Sequential(
            nn.Conv2d(3, wide // 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(wide // 4, wide // 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(wide // 2, wide // 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(wide // 2 * 16, wide), nn.ReLU(), nn.Linear(wide, 10),
        )  # fmt: skip
    size = 64 if kind == "digits" else 784
    return nn.Sequential(nn.Linear(size, wide), nn.ReLU(), nn.Linear(wide, wide // 2), nn.ReLU(), nn.Linear(wide // 2, 10))


def widths(config) -> list[float]:
    return [float(width) for width in str(config["widths"]).split(",")]


def client_data(config, part: int, parts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A client's own samples."""
    alpha = float(config["alpha"])
    partition = f"dirichlet:{alpha},{parts}" if alpha > 0 else f"iid:{parts}"
    seed = int(config["seed"])
    x, y = arrays(otfuse.Dataset(spec(config), partition=partition, part=part, partition_seed=seed), "train")
    most = int(config["train"])
    share = max(1, most // parts) if most else len(x)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[: max(share, 10)]
    return x[order], y[order]


def server_data(config) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Unlabelled samples to match and repair by, and the test set."""
    data = otfuse.Dataset(spec(config))
    x, _ = arrays(data, "train", int(config["samples"]) or 1)
    return x, arrays(data, "test", int(config["test"]) or None)


def train(
    net: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int, rate: float, seed: int, proximal: float = 0.0
) -> float:
    """Trains a network, with FedProx's term if there is one; returns the last batches' mean loss."""
    random = torch.Generator().manual_seed(seed)
    start = [parameter.detach().clone() for parameter in net.parameters()]
    optimiser = torch.optim.SGD(net.parameters(), rate, momentum=0.9)
    total, count = 0.0, 0
    for _ in range(epochs):
        total, count = 0.0, 0
        for batch in torch.randperm(len(x), generator=random).split(32):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
            total, count = total + loss.item(), count + 1
            if proximal:
                pairs = zip(net.parameters(), start, strict=True)
                loss = loss + proximal / 2 * sum((now - then).square().sum() for now, then in pairs)
            loss.backward()
            optimiser.step()
    return total / max(count, 1)


def accuracy(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    net.eval()
    with torch.no_grad():
        hits = sum(
            (net(part).argmax(1) == labels).sum().item() for part, labels in zip(x.split(500), y.split(500), strict=True)
        )
    return hits / len(x)
