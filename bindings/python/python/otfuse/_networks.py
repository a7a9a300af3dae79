"""What is given as a network, and what becomes of a result in its form."""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import _otfuse
from . import torch as _torch
from ._arrays import Named, is_tensor, named, of_named
from ._errors import InputError
from ._work import Run

__all__ = ["Network", "opened", "opened_one"]


class Network:
    """A network that was read or exported once, to be given to several functions; :func:`otfuse.open` makes it."""

    def __init__(self, network: _otfuse.Network) -> None:
        self.network = network

    @property
    def name(self) -> str:
        """What errors and reports call it: a path, or the class of the module."""
        return self.network.name

    @property
    def inputs(self) -> list[str]:
        """The names of the network's inputs."""
        return self.network.inputs()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the network, whole or not at all; the extension chooses the format."""
        self.network.save(Run(), path)

    def __repr__(self) -> str:
        return f"Network({self.name!r})"

    def module(self, tensors: list[Named], dtype: str | None) -> Any:
        """The result as a module."""
        raise InputError(
            f"{self.network.name}: the anchor is no module",
            "fused.save(..) writes the network; with state dicts, model=MODULE says whose they are",
        )

    def state_dict(self, tensors: list[Named]) -> Any:
        """The result's tensors by name."""
        return {entry[0]: of_named(entry) for entry in tensors}


class _OfModule(Network):
    def __init__(self, network: _otfuse.Network, module: Any, state: Any = None, folder: Any = None) -> None:
        super().__init__(network)
        self._module = module
        self._state = state
        # Weights stay in the files of this folder until they are used.
        self._folder = folder

    def module(self, tensors: list[Named], dtype: str | None) -> Any:
        return _torch.loaded(self._module, tensors, dtype)

    def state_dict(self, tensors: list[Named]) -> Any:
        like = self._state if self._state is not None else self._module.state_dict()
        return OrderedDict((entry[0], _torch.tensor_of(entry, like.get(entry[0]))) for entry in tensors)


class _OfTransformer(_OfModule):
    """A model of transformers, whose files may call tensors other than the module does."""

    def state_dict(self, tensors: list[Named]) -> Any:
        return self.module(tensors, None).state_dict()


class _OfTensors(Network):
    """A state dict of torch's without a module."""

    def __init__(self, network: _otfuse.Network, state: Mapping[str, Any]) -> None:
        super().__init__(network)
        self._state = state

    def state_dict(self, tensors: list[Named]) -> Any:
        return OrderedDict((entry[0], _torch.tensor_of(entry, self._state.get(entry[0]))) for entry in tensors)


def opened(
    models: Sequence[Any],
    run: Run,
    *,
    inputs: Any = None,
    model: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
) -> list[Network]:
    """The networks that are given, in their order."""
    if isinstance(models, (str, bytes, os.PathLike, Mapping)) or _torch.is_module(models) or not hasattr(models, "__iter__"):
        raise InputError(f"expected several networks, found one: {_kind(models)}", "give a list: [a, b]")
    models = list(models)
    families = [architecture] if architecture is None or isinstance(architecture, str) else list(architecture)
    if len(families) not in (1, len(models)):
        message = f"`architecture` is given {len(families)} times for {len(models)} networks"
        raise InputError(message, "give it once for all networks, or once for each in their order")
    paths = [os.fspath(one) for one in models if isinstance(one, (str, os.PathLike))]
    opener = _Opener(run, inputs, model, weights_key, paths)
    return [opener.open(one, at, families[min(at, len(families) - 1)]) for at, one in enumerate(models)]


def opened_one(model_or_path: Any, run: Run, **options: Any) -> Network:
    """The one network that is given."""
    return opened([model_or_path], run, **options)[0]


class _Opener:
    def __init__(self, run: Run, inputs: Any, model: Any, weights_key: str | None, paths: list[str]) -> None:
        self._run = run
        self._inputs = inputs
        self._model = _torch.unwrapped(model) if _torch.is_module(model) else model
        self._key = weights_key
        self._paths = paths
        self._graph: bytes | None = None

    def open(self, one: Any, at: int, architecture: str | None) -> Network:
        if isinstance(one, Network):
            return one
        if isinstance(one, (str, os.PathLike)):
            return self._file(os.fspath(one), architecture)
        if _torch.is_transformer(one):
            return self._transformer(one, at)
        if _torch.is_module(one):
            return self._module_of(_torch.unwrapped(one), at)
        if _is_proto(one):
            return Network(_otfuse.Network.of_onnx(self._run, f"ModelProto {at}", _encoded(one)))
        if isinstance(one, bytes):
            return Network(_otfuse.Network.of_onnx(self._run, f"bytes {at}", one))
        if isinstance(one, Mapping):
            return self._state_dict(one, at, architecture)
        raise InputError(
            f"network {at}: expected a network, found {_kind(one)}",
            "give a torch.nn.Module, a state dict with model=, an onnx.ModelProto, a model of transformers, or a path",
        )

    def _file(self, path: str, architecture: str | None) -> Network:
        module = self._model
        if architecture is None and module is not None and not os.path.isdir(path):
            if isinstance(module, (str, os.PathLike)):
                architecture = os.fspath(module)
            elif not _torch.is_module(module):
                raise InputError("`model`: of files, expected a path or a family", 'for example model="net.onnx"')
        network = _otfuse.Network.open(self._run, path, architecture, self._key, self._paths)
        return Network(network)

    def _module_of(self, module: Any, at: int) -> Network:
        graph = _torch.export(module, self._inputs)
        name = f"{type(module).__name__} {at}"
        state = module.state_dict()
        return _OfModule(_otfuse.Network.of_tensors(self._run, name, named(state), graph), module)

    def _transformer(self, module: Any, at: int) -> Network:
        folder = tempfile.TemporaryDirectory(prefix="otfuse-")
        path = Path(folder.name) / f"{type(module).__name__} {at}"
        with _torch.quiet():
            module.save_pretrained(path)
        try:
            network = _otfuse.Network.open(self._run, str(path), None, None, [])
        except InputError:
            # A family that is not drawn from its settings; its graph can be followed all the same.
            if self._inputs is None:
                raise
            return self._module_of(module, at)
        return _OfTransformer(network, module, folder=folder)

    def _state_dict(self, state: Mapping[str, Any], at: int, architecture: str | None) -> Network:
        if not state:
            raise InputError(f"network {at}: the state dict is empty", "module.state_dict() has the tensors of a module")
        inner = [key for key, value in state.items() if isinstance(value, Mapping)]
        if inner and not any(is_tensor(value) or hasattr(value, "dtype") for value in state.values()):
            raise InputError(
                f"network {at}: expected tensors, found dicts under {', '.join(map(repr, inner[:5]))}",
                f"give state[{inner[0]!r}]",
            )
        arrays = named(state)
        name = f"state dict {at}"
        is_torch = any(is_tensor(value) for value in state.values())
        model = self._model
        if architecture is None and isinstance(model, (str, os.PathLike)):
            architecture = os.fspath(model)
        if architecture is not None:
            network = _otfuse.Network.of_tensors_as(self._run, name, arrays, architecture)
            return _OfTensors(network, state) if is_torch else Network(network)
        if model is None:
            raise InputError(
                f"network {at}: a state dict has no graph",
                'model=MODULE says whose it is (with inputs=), model="net.onnx" or architecture="resnet" which network',
            )
        if self._graph is None:
            self._graph = _encoded(model) if _is_proto(model) else _torch.export(model, self._inputs)
        network = _otfuse.Network.of_tensors(self._run, name, arrays, self._graph)
        if _torch.is_module(model) and is_torch:
            return _OfModule(network, model, state)
        return _OfTensors(network, state) if is_torch else Network(network)


def _is_proto(value: object) -> bool:
    return type(value).__name__ == "ModelProto" and hasattr(value, "SerializeToString")


def _encoded(proto: Any) -> bytes:
    try:
        encoded: bytes = proto.SerializeToString()
    except Exception as error:
        hint = "save it with onnx.save(.., save_as_external_data=True) and give the path"
        raise InputError(f"ModelProto: cannot be encoded: {error}", hint) from error
    return encoded


def _kind(value: object) -> str:
    of = type(value)
    return of.__qualname__ if of.__module__ == "builtins" else f"{of.__module__}.{of.__qualname__}"
