"""Networks in which nothing, or not everything, can be aligned."""
import sys
import warnings
from pathlib import Path

import torch

warnings.filterwarnings("ignore")
out = Path(sys.argv[1])


def export(network, shape, name):
    torch.onnx.export(network.eval(), torch.zeros(shape), out / name, dynamo=False)


for seed in (1, 2):
    torch.manual_seed(seed)
    export(torch.nn.Linear(3, 2), (1, 3), f"linear{seed}.onnx")
    torch.manual_seed(seed)
    block = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    torch.save(block.state_dict(), out / f"norm{seed}.pt")
    torch.onnx.export(block.eval(), torch.zeros(1, 1, 4, 4), out / "norm.onnx", dynamo=False, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
