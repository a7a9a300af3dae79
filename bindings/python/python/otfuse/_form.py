"""The forms that clients' networks may have: a graph, and the tensors that belong to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import _otfuse
from . import torch as _torch
from ._arrays import named, of_named
from ._errors import InputError
from ._networks import Network, opened_one
from ._work import Run

__all__ = ["Arrays", "Form", "form"]

Arrays = dict[str, Any]


class Form:
    """One form of network: how arrays of names become a network that the library works on.

    Attributes
    ----------
    name : str
        What clients call it in their records.
    initial : dict of arrays
        The weights that it was given with, by name.
    """

    def __init__(self, name: str, initial: Arrays, graph: bytes | None, architecture: str | None) -> None:
        self.name = name
        self.initial = initial
        self.parameters = sum(array.size for array in initial.values())
        self._graph = graph
        self._architecture = architecture

    def network(self, arrays: Mapping[str, Any], name: str) -> Network:
        """Arrays of this form as a network; ``name`` is what errors call it."""
        ordered = named({key: arrays[key] for key in self.initial})
        if self._graph is not None:
            return Network(_otfuse.Network.of_tensors(Run(), name, ordered, self._graph))
        assert self._architecture is not None
        return Network(_otfuse.Network.of_tensors_as(Run(), name, ordered, self._architecture))

    def typed(self, arrays: Mapping[str, Any]) -> Arrays:
        """Arrays in this form's order and element types; integers are rounded."""
        import numpy as np

        found = {}
        for key, like in self.initial.items():
            array = np.asarray(arrays[key])
            if like.dtype.kind in "iu" and array.dtype.kind == "f":
                array = np.rint(array)
            found[key] = array.astype(like.dtype, copy=False).reshape(like.shape)
        return found


def form(name: str, model: Any, inputs: Any, architecture: str | None) -> Form:
    """The form of a module, a path, an ``onnx.ModelProto`` or its bytes."""
    if isinstance(model, Form):
        return model
    if _torch.is_module(model):
        module = _torch.unwrapped(model)
        graph = _torch.export(module, inputs)
        initial = {key: tensor.detach().cpu().numpy().copy() for key, tensor in module.state_dict().items()}
        return _checked(Form(name, initial, graph, None))
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        if architecture is None and path.is_dir():
            architecture = str(path / "config.json")
        if architecture is None and path.suffix == ".onnx":
            architecture = str(path)
        if architecture is None:
            raise InputError(
                f"{path}: a checkpoint has no graph", 'give architecture="net.onnx", or the module with inputs='
            )
        network = opened_one(model, Run(), architecture=None if architecture == str(path) else architecture)
        return _checked(Form(name, _tensors(network), None, architecture))
    if isinstance(model, bytes) or (type(model).__name__ == "ModelProto" and hasattr(model, "SerializeToString")):
        graph = model if isinstance(model, bytes) else model.SerializeToString()
        return _checked(Form(name, _tensors(opened_one(graph, Run())), graph, None))
    hint = "give a torch.nn.Module with inputs=, a path, or an onnx.ModelProto"
    raise InputError(f"`model`: expected a network, found {type(model).__name__}", hint)


def _tensors(network: Network) -> Arrays:
    return {entry[0]: of_named(entry) for entry in network.network.tensors(Run())}


def _checked(one: Form) -> Form:
    """Opens the initial weights by the way that the clients' will take, so that what is wrong is said at once."""
    one.network(one.initial, one.name)
    return one
