"""State dicts whose mean fits float16 only once the neurons are in order."""
import sys
from pathlib import Path

import torch

out = Path(sys.argv[1])


def network(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.ReLU(), torch.nn.Linear(6, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))


first, second = network(1), network(2)
with torch.no_grad():
    first[0].weight[0, 0] = 3e5
torch.save(first.state_dict(), out / "wide.pt")
torch.save({name: tensor.half() for name, tensor in second.state_dict().items()}, out / "half.pt")
with torch.no_grad():
    first[0].weight[0, 0] = 3e7
torch.save(first.state_dict(), out / "too_wide.pt")
# Nothing scales the last layer back: no balancing of neurons helps.
with torch.no_grad():
    first[0].weight[0, 0] = 0.1
    first[4].bias[0] = 3e5
torch.save(first.state_dict(), out / "wide_end.pt")
