"""Networks two of whose layers share one weight, which the exporter writes twice."""
import sys
import warnings
from pathlib import Path

import torch

warnings.filterwarnings("ignore")
out = Path(sys.argv[1])


class Shared(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        middle = torch.nn.Linear(6, 6)
        relu = torch.nn.ReLU()
        self.net = torch.nn.Sequential(torch.nn.Linear(5, 6), relu, middle, relu, middle, relu, torch.nn.Linear(6, 3))


class Tied(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = torch.nn.Embedding(9, 6)
        self.middle = torch.nn.Linear(6, 6)
        self.head = torch.nn.Linear(6, 9, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(torch.relu(self.middle(self.embedding(tokens))))


for seed in (1, 2):
    torch.save(Shared(seed).state_dict(), out / f"shared{seed}.pt")
    torch.save(Tied(seed).state_dict(), out / f"tied{seed}.pt")
torch.onnx.export(Tied(1).eval(), torch.zeros(1, 4, dtype=torch.long), out / "tied.onnx", dynamo=False)
