"""Arrays of all kinds as NumPy's, without copies where their layout allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._errors import InputError

# Name, element type, shape and bytes of an array.
Named = tuple[str, str, list[int], Any]

__all__ = ["Named", "is_tensor", "named", "of_named"]


def is_tensor(value: object) -> bool:
    """Whether it is a tensor of torch's, without importing torch."""
    return any(of.__module__.split(".")[0] == "torch" and of.__name__ == "Tensor" for of in type(value).__mro__)


def _flat(value: Any, name: str) -> Named:
    import numpy as np

    kind = None
    if is_tensor(value):
        value = _of_torch(value, name)
        if str(value.dtype) == "torch.bfloat16":
            import torch

            kind, value = "bfloat16", value.view(torch.int16)
        value = value.numpy()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"'{name}': expected an array, found {type(value).__name__}", str(error), tensor=name) from error
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    kind = kind or array.dtype.name
    if array.dtype == object or array.dtype.kind not in "biufV":
        raise InputError(
            f"'{name}': expected numbers, found an array of {array.dtype}",
            "give an array of floats or integers",
            tensor=name,
        )
    return name, kind, list(array.shape), np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _of_torch(tensor: Any, name: str) -> Any:
    if tensor.is_meta:
        hint = "load the weights first: module.to_empty(device='cpu') and load_state_dict(..)"
        raise InputError(f"'{name}': a tensor on the device meta has no values", hint, tensor=name)
    if tensor.is_quantized:
        hint = "fuse the float modules, then quantise the result"
        raise InputError(f"'{name}': quantised tensors are not averaged", hint, tensor=name)
    if tensor.is_sparse:
        tensor = tensor.to_dense()
    return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()


def named(arrays: Mapping[str, Any]) -> list[Named]:
    """Arrays as the native module takes them: name, element type, shape, bytes."""
    return [_flat(value, str(name)) for name, value in arrays.items()]


def of_named(entry: Named) -> Any:
    """An array as NumPy's; bfloat16 as float32, which NumPy has."""
    import numpy as np

    _, kind, shape, data = entry
    if kind == "bfloat16":
        return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return data.view(np.dtype(kind)).reshape(shape)
