"""Checkpoints of training programs: a wrapper around the state dict, and averaged weights beside it."""
import sys
from pathlib import Path

import torch

out = Path(sys.argv[1])
for seed in (1, 2):
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": seed,
        "global_step": 10 * seed,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": network.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.5)}},
        "hyper_parameters": {"lr": 0.1, "sizes": (3, 4, 2)},
    }
    torch.save(checkpoint, out / f"run{seed}.ckpt")
    averaged = {name: 2 * tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": network.state_dict(), "ema_state_dict": averaged, "epoch": 3}, out / f"ema{seed}.pt")
