"""Writes small files with PyTorch, NumPy and safetensors, and a JSON file of what they load them as.

    python make_golden.py [SHARED]

The small files lie beside this script. SHARED is the folder with third-party models, by default `../shared` beside
the workspace; for its files only names, shapes, types and checksums (CRC-32 of the little-endian bytes) are kept.
"""

import argparse
import collections
import io
import json
import pathlib
import sys
import types
import warnings
import zipfile
import zlib

import numpy
import safetensors.torch
import torch

HERE = pathlib.Path(__file__).resolve().parent
SHARED = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[3].parent / "shared"
warnings.filterwarnings("ignore")
# The old container keeps the source of classes and where it lies; neither belongs into a fixture.
torch.serialization.get_source_lines_and_file = lambda *_: (["source"], 1, "source.py")


def example_module():
    """A module of classes that no reader can import."""
    source = types.ModuleType("example_network")

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3, 3, bias=False)
            self.norm = torch.nn.BatchNorm1d(3)
            self.register_buffer("mask", torch.ones(3, dtype=torch.bool))
            self.register_buffer("cache", torch.zeros(2), persistent=False)
            self.register_parameter("absent", None)
            self.scale = torch.nn.Parameter(torch.tensor(2.0))

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(3, 2)
            shared = Block()
            self.blocks = torch.nn.Sequential(collections.OrderedDict(a=Block(), b=shared))
            self.again = shared
            self.nothing = None
            self.settings = argparse.Namespace(width=3, names=["x"])
            self.register_buffer("step", torch.tensor(7))

    for name, value in {"Block": Block, "Network": Network}.items():
        value.__module__ = "example_network"
        value.__qualname__ = name
        setattr(source, name, value)
    sys.modules["example_network"] = source
    torch.manual_seed(3)
    return Network()


def sample(dtype, *shape):
    count = int(numpy.prod(shape, dtype=int))
    values = torch.arange(count, dtype=torch.float64) * 0.75 - 2
    if dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64):
        values = values.abs()
    return values.to(dtype).reshape(shape)


DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool,
]  # fmt: skip


def write_files():
    files = {}

    def save(name, value, **options):
        torch.save(value, HERE / name, **options)
        files[name] = value

    every = collections.OrderedDict((str(dtype)[6:], sample(dtype, 2, 3)) for dtype in DTYPES)
    every["scalar"] = torch.tensor(2.5)
    every["empty"] = torch.zeros(0, 4)
    save("dtypes.pt", every)
    for protocol in (1, 3, 4, 5):
        save(f"protocol{protocol}.pt", every, pickle_protocol=protocol)
    save("dtypes_legacy.pt", {n: t for n, t in every.items() if not n.startswith("uint") or n == "uint8"},
         _use_new_zipfile_serialization=False)  # fmt: skip

    base = sample(torch.float32, 4, 6)
    views = {
        "transposed": base.t(),
        "columns": base[:, 1:3],
        "every_other": base[::2, ::3],
        "row": base[2],
        "element": base[3, 5],
        "expanded": torch.tensor([1.0, 2.0]).expand(3, 2),
        "channels_last": sample(torch.float32, 1, 3, 2, 2).contiguous(memory_format=torch.channels_last),
        "tied": base,
    }
    save("views.pt", views)
    save("views_legacy.pt", views, _use_new_zipfile_serialization=False)

    module = example_module()
    optimizer = torch.optim.Adam(module.parameters())
    sum(p.sum() for p in module.parameters()).backward()
    optimizer.step()
    save("module.pt", module)
    save("module_legacy.pt", module, _use_new_zipfile_serialization=False)
    with_attributes = torch.nn.Parameter(sample(torch.float32, 2))
    with_attributes.note = "kept by _rebuild_parameter_with_state"
    save(
        "checkpoint.pt",
        {
            "epoch": 3,
            "best": torch.tensor(0.5),
            "arguments": argparse.Namespace(lr=0.1, layers=[1, 2]),
            "score": numpy.float64(0.25),
            "history": numpy.arange(3),
            "optimizer": optimizer.state_dict(),
            "other": {"weights": sample(torch.float32, 3)},
            "net": {"weight": sample(torch.float32, 2, 2), "bias": with_attributes, 3: "text", "extra": None},
        },
    )
    save("two_models.pt", {"generator": {"w": sample(torch.float32, 2)}, "critic": {"w": sample(torch.float32, 3)}})
    save("tensor.pt", sample(torch.float32, 2))
    save("complex.pt", {"z": torch.zeros(2, dtype=torch.complex64)})
    save("sparse.pt", {"s": torch.eye(3).to_sparse()})
    files["big_endian.pt"] = write_big_endian()
    return files


def write_big_endian():
    """As a big-endian machine would save it."""
    value = {"float": sample(torch.float32, 2, 2), "long": sample(torch.int64, 3), "byte": sample(torch.uint8, 3)}
    buffer = io.BytesIO()
    torch.save(value, buffer)
    sizes = {f"archive/data/{i}": tensor.element_size() for i, tensor in enumerate(value.values())}
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(HERE / "big_endian.pt", "w") as target:
        for item in source.namelist():
            data = source.read(item)
            if item.endswith("byteorder"):
                data = b"big"
            if item in sizes:
                data = numpy.frombuffer(data, f"u{sizes[item]}").byteswap().tobytes()
            target.writestr(zipfile.ZipInfo(item), data)
    return value


def tensor_entry(name, tensor):
    tensor = tensor.detach().contiguous()
    data = tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    return [name, str(tensor.dtype)[6:], list(tensor.shape), zlib.crc32(data)]


def dense(value):
    return isinstance(value, torch.Tensor) and not value.is_sparse and not value.is_complex()


def state_dicts(value, path=()):
    """All mappings of names to tensors under a value, by the keys that lead to them."""
    if isinstance(value, torch.nn.Module):
        return {".".join(path): [tensor_entry(name, tensor) for name, tensor in value.state_dict().items()]}
    if not isinstance(value, dict) or "param_groups" in value or any("optim" in key for key in path):
        return {}
    own = [tensor_entry(name, tensor) for name, tensor in value.items() if dense(tensor)]
    found = {".".join(path): own} if own else {}
    for name, child in value.items():
        if isinstance(name, str):
            found |= state_dicts(child, (*path, name))
    return found


def describe(path):
    try:
        return {"state_dicts": state_dicts(torch.load(path, map_location="cpu", weights_only=False))}
    except Exception as error:  # noqa: BLE001: the kinds are PyTorch's own
        return {"error": type(error).__name__}


def stand_in_for_missing_modules():
    """The modules of `mnist-mlp-noniid` were pickled with a class of their training program."""
    package, mlp = types.ModuleType("models"), types.ModuleType("models.mlp")
    mlp.MLPNet = type("MLPNet", (torch.nn.Module,), {"__module__": "models.mlp"})
    sys.modules |= {"models": package, "models.mlp": mlp}


def write_arrays():
    matrix = numpy.arange(6, dtype="<f4").reshape(2, 3)
    arrays = {
        "c_order": matrix,
        "fortran": numpy.asfortranarray(matrix),
        "big_endian": matrix.astype(">f8"),
        "scalar": numpy.int64(-3),
        "empty": numpy.zeros((0, 3), "u1"),
        "cube": numpy.asfortranarray(numpy.arange(24, dtype="<i4").reshape(2, 3, 4)),
        "flags": numpy.array([True, False]),
        "half": numpy.array([0.5], "<f2"),
    }
    numpy.savez(HERE / "arrays.npz", **arrays)
    numpy.savez_compressed(HERE / "arrays_compressed.npz", **arrays)
    numpy.savez(HERE / "text.npz", names=numpy.array(["a", "b"]))
    entries = []
    for name, array in sorted(arrays.items()):
        array = numpy.asarray(array)
        little = array.astype(array.dtype.newbyteorder("<"))
        entries.append([name, array.dtype.name, list(array.shape), zlib.crc32(little.tobytes("C"))])
    return entries


def write_safetensors():
    tensors = {str(dtype)[6:]: sample(dtype, 2, 3) for dtype in DTYPES} | {"scalar": torch.tensor(1.5)}
    safetensors.torch.save_file(tensors, HERE / "dtypes.safetensors", {"format": "pt", "note": "kept"})
    shards = {"model-1-of-2.safetensors": ["b", "a"], "model-2-of-2.safetensors": ["c"]}
    weight_map = {}
    for i, (file, names) in enumerate(shards.items()):
        safetensors.torch.save_file({name: torch.full((2,), i + 1.0) for name in names}, HERE / file)
        weight_map |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 24}, "weight_map": weight_map}
    (HERE / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    return sorted(tensor_entry(name, tensor) for name, tensor in tensors.items())


def main():
    golden = {"own": {name: {"state_dicts": state_dicts(value)} for name, value in write_files().items()}}
    golden["arrays"] = write_arrays()
    golden["safetensors"] = write_safetensors()
    stand_in_for_missing_modules()
    models = SHARED / "models"
    suffixes = {".pt", ".pth", ".th", ".checkpoint", ".tar"}
    paths = sorted(path for path in models.rglob("*") if path.suffix in suffixes)
    golden["shared"] = {str(path.relative_to(models)): describe(path) for path in paths}
    golden["shared_safetensors"] = {
        str(path.relative_to(models)): sorted(tensor_entry(*item) for item in safetensors.torch.load_file(path).items())
        for path in sorted(models.rglob("*.safetensors"))
    }
    text = json.dumps(golden, indent=None, separators=(",", ":"))
    # One tensor a line, so that a change shows.
    (HERE / "golden.json").write_text(text.replace('],["', '],\n["').replace("},", "},\n") + "\n")


main()
