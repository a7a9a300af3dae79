"""Small files of formats that hold networks, by their own writers where they are at hand."""
import sys
import warnings
import zipfile
from pathlib import Path

import numpy
import torch

warnings.filterwarnings("ignore")
out = Path(sys.argv[1])
torch.manual_seed(1)
network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
torch.save(network.state_dict(), out / "net.pt")
torch.jit.save(torch.jit.script(network), out / "script1.pt")
numpy.savez(out / "net1.npz", **{name: tensor.numpy() for name, tensor in network.state_dict().items()})
torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), out / "program.pt2")
torch.manual_seed(2)
network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
torch.jit.save(torch.jit.script(network), out / "script2.pt")
numpy.savez(out / "net2.npz", **{name: tensor.numpy() for name, tensor in network.state_dict().items()})
with zipfile.ZipFile(out / "net.keras", "w") as archive:
    archive.writestr("metadata.json", "{}")
    archive.writestr("config.json", "{}")
    archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")
(out / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))
(out / "net.gguf").write_bytes(b"GGUF\x03\0\0\0" + bytes(24))
(out / "net.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1024\n")
