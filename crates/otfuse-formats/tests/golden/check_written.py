"""Checks with PyTorch, NumPy and safetensors the files that the tests wrote.

    OTFUSE_WRITTEN=FOLDER cargo test -p otfuse-formats
    python check_written.py FOLDER
"""

import collections
import pathlib
import sys
import types

import numpy
import safetensors
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

folder = pathlib.Path(sys.argv[1])
with numpy.load(HERE / "arrays.npz") as expected, numpy.load(folder / "arrays.npz") as found:
    assert sorted(expected) == list(found)
    for name in found:
        assert numpy.array_equal(found[name], expected[name]), name
        assert found[name].dtype == expected[name].dtype.newbyteorder("<"), name
    print("arrays.npz", len(found), "arrays equal")
files = [safetensors.safe_open(at / "dtypes.safetensors", "pt") for at in (HERE, folder)]
assert sorted(files[0].keys()) == sorted(files[1].keys())
assert files[0].metadata() == files[1].metadata()
for name in files[0].keys():
    expected, found = (file.get_tensor(name) for file in files)
    assert expected.dtype == found.dtype and torch.equal(expected, found), name
print("dtypes.safetensors", len(files[0].keys()), "tensors equal")
