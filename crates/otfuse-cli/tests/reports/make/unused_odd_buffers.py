"""State dicts with entries that no network of real numbers reads, and weights of 8 bits."""
import sys
from pathlib import Path

import torch

out = Path(sys.argv[1])
for seed in (1, 2):
    torch.manual_seed(seed)
    state = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).state_dict()
    torch.save({**state, "freqs": torch.ones(4, dtype=torch.complex64)}, out / f"complex{seed}.pt")
    torch.save({**state, "_extra_state": {"amax": 1.0}}, out / f"extra{seed}.pt")
    torch.save({name: tensor.to(torch.float8_e4m3fn) for name, tensor in state.items()}, out / f"float8_{seed}.pt")
    torch.save({name: tensor.numpy() for name, tensor in state.items()}, out / f"numpy{seed}.pt")
