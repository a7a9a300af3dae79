"""Checks with PyTorch the files that the test `pytorch_writer` wrote.

    OTFUSE_WRITTEN=FOLDER cargo test -p otfuse-formats --test pytorch_writer
    python check_written.py FOLDER
"""

import collections
import pathlib
import sys
import types

import torch

HERE = pathlib.Path(__file__).resolve().parent


def original(name):
    value = torch.load(HERE / name, weights_only=False, map_location="cpu")
    if isinstance(value, torch.nn.Module):
        return value.state_dict()
    value = value.get("net", value)
    return {key: tensor for key, tensor in value.items() if isinstance(tensor, torch.Tensor)}


source = sys.modules["example_network"] = types.ModuleType("example_network")
for name in ("Block", "Network"):
    setattr(source, name, type(name, (torch.nn.Module,), {"__module__": "example_network"}))
paths = sorted(pathlib.Path(sys.argv[1]).glob("*.pt"))
assert paths, "no files"
for path in paths:
    expected = original(path.name)
    for options in ({}, {"mmap": True}):
        found = torch.load(path, weights_only=True, **options)
        assert isinstance(found, collections.OrderedDict), type(found)
        assert list(found) == list(expected), path
        for key, tensor in found.items():
            assert tensor.dtype == expected[key].dtype and tensor.is_contiguous(), (path, key)
            assert torch.equal(tensor, expected[key].detach()), (path, key)
    print(path.name, len(expected), "tensors equal")
