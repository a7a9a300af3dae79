"""Networks of PyTorch: modules, their graphs and their tensors. Torch is imported when such a network is met, not before."""

from __future__ import annotations

import copy
import inspect
import io
import os
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

from ._arrays import Named
from ._errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["export", "is_module", "is_transformer", "loaded", "quiet", "tensor_of", "unwrapped"]

# Models of more bytes do not fit into a message of protobuf.
_MOST_BYTES = 1_900_000_000


def _is_of(value: object, module: str, name: str) -> bool:
    return any(of.__module__.split(".")[0] == module and of.__name__ == name for of in type(value).__mro__)


def is_module(value: object) -> bool:
    """Whether it is a ``torch.nn.Module``, without importing torch."""
    return _is_of(value, "torch", "Module")


def is_transformer(value: object) -> bool:
    """Whether it is a ``transformers.PreTrainedModel``, without importing transformers."""
    return _is_of(value, "transformers", "PreTrainedModel")


def unwrapped(module: Any) -> Any:
    """The module that others are wrapped around: compiled ones, parallel ones."""
    while True:
        if hasattr(module, "_orig_mod"):
            module = module._orig_mod
        elif type(module).__name__ in ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel"):
            module = module.module
        else:
            return module


def export(module: torch.nn.Module, inputs: Any) -> bytes:
    """The graph of a module as an ONNX model, neither folded nor optimised.

    Parameters
    ----------
    module : torch.nn.Module
        Stays as it is: its mode and those of its parts are put back.
    inputs : tensor, array, tuple or list of them, or dict by argument name
        What ``forward`` is called with to follow it; the values do not matter, shapes and types do.

    Returns
    -------
    bytes
        With the inputs and weights named as the exporter names them.

    Raises
    ------
    InputError
        A module that cannot be followed (scripted, quantised, without values, or whose way depends on its input), with
        the line of its code.
    """
    import torch

    _check(module)
    args, kwargs = _arguments(module, inputs)
    failures: list[Exception] = []
    with _evaluating(module), torch.no_grad(), quiet():
        for exporter in (_newer, _older):
            try:
                return exporter(module, args, kwargs)
            except (KeyboardInterrupt, InputError):
                raise
            except Exception as error:
                failures.append(error)
                if _depends_on_values(error):
                    # Tracing would take the way of these inputs for that of all.
                    break
    raise _not_exported(module, args, kwargs, failures)


def _newer(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    import torch

    program = torch.onnx.export(module, args, kwargs=kwargs, dynamo=True, optimize=False, verbose=False, external_data=False)
    if program is None:
        raise RuntimeError("the exporter returned nothing")
    encoded: bytes = program.model_proto.SerializeToString()
    return encoded


def _older(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.onnx.export(
        module,
        args,
        buffer,  # type: ignore[arg-type,unused-ignore]
        kwargs=kwargs or None,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        input_names=_names(module, args, kwargs),
    )
    return buffer.getvalue()


def _names(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    try:
        known = list(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        known = []
    return [*known[: len(args)], *kwargs] if len(known) >= len(args) else []


def _check(module: Any) -> None:
    import torch

    name = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        hint = "give the module that was scripted or traced; its state_dict() loads what the scripted one has learned"
        raise InputError(f"{name}: a scripted module has no code to follow", hint)
    for path, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_meta:
            hint = "module.to_empty(device='cpu') makes room for values, load_state_dict(..) brings them"
            raise InputError(f"{name}: '{path}' is on the device meta and has no values", hint, tensor=path)
        if torch.nn.parameter.is_lazy(tensor):
            hint = "run the module once on its inputs, so that lazy layers find their shapes"
            raise InputError(f"{name}: '{path}' has no shape yet", hint, tensor=path)
    for path, part in module.named_modules():
        if "quantized" in type(part).__module__:
            hint = "fuse the float modules, then quantise the result"
            raise InputError(
                f"{name}: '{path}' ({type(part).__name__}) is quantised; its weights are not averaged", hint, node=path
            )
    size = sum(tensor.numel() * tensor.element_size() for tensor in [*module.parameters(), *module.buffers()])
    if size > _MOST_BYTES:
        hint = (
            "save the graph with torch.onnx.export(.., 'net.onnx', external_data=True), and give state dicts with "
            "model='net.onnx'"
        )
        raise InputError(f"{name}: {size} bytes are too many for an ONNX model in memory", hint)


def _arguments(module: Any, inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    import torch

    if inputs is None:
        try:
            takes = str(inspect.signature(module.forward))
        except (TypeError, ValueError):
            takes = "(..)"
        message = f"{type(module).__name__}: `inputs` is missing: the graph of a module is found by calling forward{takes}"
        raise InputError(
            message, "give one batch: inputs=torch.randn(1, 3, 224, 224), a tuple of several, or a dict by argument"
        )
    like = next((tensor for tensor in module.parameters()), None)
    device = torch.device("cpu") if like is None else like.device

    def tensor(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.detach().to(device)
        if hasattr(value, "__array_interface__"):
            found = torch.as_tensor(value, device=device)
            return found.float() if found.dtype == torch.float64 else found
        if isinstance(value, (tuple, list)):
            return type(value)(tensor(part) for part in value) if not hasattr(value, "_fields") else value
        return value

    if isinstance(inputs, Mapping):
        return (), {str(name): tensor(value) for name, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return tuple(tensor(value) for value in inputs), {}
    return (tensor(inputs),), {}


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Every part as in use, and as it was afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def quiet() -> Iterator[None]:
    """What others say of their own progress is not said."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _not_exported(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], failures: list[Exception]) -> InputError:
    import torch

    name = type(module).__name__
    for failure in failures:
        if isinstance(failure, ModuleNotFoundError):
            raise InputError(f"{name}: exporting takes {failure.name}", "pip install 'otfuse[torch]'") from failure
    with _evaluating(module), torch.no_grad():
        try:
            module(*args, **kwargs)
        except Exception as error:
            message = f"{name}: forward fails on `inputs`: {_first(error)}{_line(module, [error])}"
            found = InputError(message, "give inputs that the module can be called with")
            found.__cause__ = error
            return found
    message = f"{name}: the graph cannot be found: {_first(failures[0])}{_line(module, failures)}"
    hint = (
        "write what depends on the values of tensors with torch.where or torch.cond; or export the module as you do for "
        "deployment, and give state dicts with model='net.onnx'"
    )
    found = InputError(message, hint)
    found.__cause__ = failures[0]
    return found


def _depends_on_values(error: BaseException) -> bool:
    """Whether an exporter found a way that depends on the values of tensors."""
    found: BaseException | None = error
    while found is not None:
        name, text = type(found).__name__, str(found)
        if "DataDependent" in name or "data-dependent" in text or "DynamicOutputShape" in name:
            return True
        found = found.__cause__ or found.__context__
    return False


def _first(error: BaseException) -> str:
    """What an exporter has to say, in a line: the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _line(module: Any, failures: list[Exception]) -> str:
    """Where in the module's own code it happened, as ``(FILE:LINE)``."""
    files = set()
    for part in module.modules():
        if type(part).__module__.split(".")[0] != "torch":
            try:
                files.add(os.path.abspath(inspect.getfile(type(part))))
            except (OSError, TypeError):
                continue
    last = None
    for failure in failures:
        error: BaseException | None = failure
        while error is not None:
            frame = error.__traceback__
            while frame is not None:
                file = frame.tb_frame.f_code.co_filename
                if os.path.abspath(file) in files:
                    last = f"{file}:{frame.tb_lineno}"
                frame = frame.tb_next
            for file, line in re.findall(r'File "([^"]+)", line (\d+)', str(error)):
                if os.path.abspath(file) in files:
                    last = f"{file}:{line}"
            error = error.__cause__ or error.__context__
        if last is not None:
            return f" ({last})"
    return ""


def tensor_of(entry: Named, like: Any = None) -> torch.Tensor:
    """An array as a tensor, on the device and of the type of another."""
    import numpy as np
    import torch

    _, kind, shape, data = entry
    if kind == "bfloat16":
        found = torch.from_numpy(data.view(np.int16)).view(torch.bfloat16).reshape(shape)
    else:
        found = torch.from_numpy(data.view(np.dtype(kind))).reshape(shape)
    return found if like is None else found.to(device=like.device)


def loaded(anchor: torch.nn.Module, tensors: list[Named], dtype: str | None = None) -> torch.nn.Module:
    """A new module of the anchor's class with other weights: devices, types, flags, buffers and tied parameters are the
    anchor's.

    Raises
    ------
    InputError
        A module that cannot be copied; weights of other shapes than the anchor's.
    """
    import torch

    name = type(anchor).__name__
    try:
        module = copy.deepcopy(anchor)
    except Exception as error:
        hint = "fused.state_dict() gives the weights: make a module as you made this one and load them"
        raise InputError(f"{name}: cannot be copied: {_first(error)}", hint) from error
    for parameter in module.parameters():
        parameter.grad = None
    state: OrderedDict[str, torch.Tensor] = OrderedDict((entry[0], tensor_of(entry)) for entry in tensors)
    metadata = getattr(anchor.state_dict(), "_metadata", None)
    if metadata is not None:
        state._metadata = metadata  # type: ignore[attr-defined]
    if dtype is not None:
        module = module.to(getattr(torch, dtype))
    strict = not is_transformer(anchor)
    if not strict and set(state) - set(anchor.state_dict()):
        state = _renamed(anchor, state)
    try:
        left = module.load_state_dict(state, strict=strict)
    except RuntimeError as error:
        hint = "a result of another width is no module of this shape: fused.state_dict() and fused.save(..) have it"
        raise InputError(f"{name}: the weights do not fit: {' '.join(str(error).split())[:400]}", hint) from error
    if not strict:
        _check_tied(module, list(left.missing_keys), list(left.unexpected_keys))
    return module


def _renamed(anchor: Any, state: Any) -> Any:
    """The weights of files by the names of the module: only transformers knows how it calls its tensors in files."""
    with quiet():
        made = type(anchor).from_pretrained(None, config=copy.deepcopy(anchor.config), state_dict=dict(state))
    renamed: Any = made.state_dict()
    return renamed


def _check_tied(module: Any, missing: list[str], unexpected: list[str]) -> None:
    """What a file of weights leaves out is tied to what it holds."""
    state = module.state_dict(keep_vars=True)
    held = {tensor.data_ptr() for name, tensor in state.items() if name not in missing}
    untied = [name for name in missing if state[name].data_ptr() not in held]
    if untied or unexpected:
        raise InputError(
            f"{type(module).__name__}: the weights do not fit: missing {untied[:5]}, unexpected {unexpected[:5]}",
            "fused.save(FOLDER) writes the folder that from_pretrained reads",
        )
