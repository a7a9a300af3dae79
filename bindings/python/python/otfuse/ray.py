"""Fusing and measuring many networks, or large ones, as tasks of Ray.

``pip install 'otfuse[ray]'``; the cluster is the user's (``ray.init``). Networks are read where they lie: paths have to be
there on all machines, object references are fetched by the tasks that need them.

Examples
--------
>>> ray.init()                                                                          # doctest: +SKIP
>>> fused = otfuse.ray.fuse(["a.onnx", "b.onnx", "c.onnx"])                             # doctest: +SKIP
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import otfuse

from . import torch as _torch
from ._errors import InputError, RunError
from ._form import Form, form
from ._fused import Fused
from ._networks import Network
from ._options import as_file
from ._report import Evaluation
from ._samples import Dataset, samples_in_memory
from ._work import Event, Observer

try:
    import ray as _ray
except ImportError as error:
    raise InputError(f"otfuse.ray takes Ray: {error}", "pip install 'otfuse[ray]'") from error

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import FuseOptions

__all__ = ["Spread", "evaluate", "fuse", "search"]

# Options whose work looks at all networks at once.
_OF_ALL = ("free_inputs", "width_budget", "target_width")
# Repairs that need no samples: all that they read is in the aligned weights.
_BY_WEIGHTS = ("none", "data-free")
# What says how aligned tensors become one, and not how they are aligned.
_MERGING = ("weights", "merge", "t", "repair", "dtype", "ridge", "anchor", "consensus", "effort")


class Spread(Fused):
    """A fused network whose models were aligned by several workers."""

    def __init__(self, fused: Fused, matched: list[Any] | None, folder: Any) -> None:
        super().__init__(fused._native, fused._networks, fused._given_dtype)
        self._matched = matched
        # The result is made tensor by tensor when it is asked for, from the files in it.
        self._folder = folder

    @property
    def alignment(self) -> list[Any]:
        """What was matched with what: one entry for each model but the anchor; nothing where one task did all."""
        return self._matched or []

    def save(self, path: Any, *, alignment: Any = None, page: Any = None, card: bool = False) -> None:
        """As :meth:`otfuse.Fused.save`; plans lie with the workers that found them, and cannot be written."""
        if alignment is not None:
            raise InputError(
                "`alignment`: the plans of a spread fusion are not kept as a file", "otfuse.fuse(..) keeps them"
            )
        super().save(path, page=page, card=card)


def fuse(
    models: Sequence[Any],
    *,
    inputs: Any = None,
    samples: Any = None,
    model: Any = None,
    architecture: str | Sequence[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    retries: int = 3,
    cpus: float = 1,
    observer: Observer | None = None,
    **options: Unpack[FuseOptions],
) -> Fused:
    """Fuses networks by tasks of Ray: each is aligned to the anchor by one, then all are averaged tensor by tensor.

    The result is that of :func:`otfuse.fuse` with the same options, to the byte. Unless they say otherwise these are
    ``anchor`` the last network, equal ``weights``, ``consensus="anchor"``, ``symmetry="permutations"``,
    ``samples_from="none"``, and without samples ``repair="data-free"``. What looks at all networks at once
    (``consensus="mean"``, repairs that run them on samples, rotations) is one task on one worker.

    Parameters
    ----------
    models : sequence
        Networks as :func:`otfuse.fuse` takes them, and object references to state dicts or to the bytes of ONNX files. Paths
        are read by the workers.
    inputs, samples, model, architecture
        As in :func:`otfuse.fuse`.
    folder : path, optional
        Where aligned networks lie until they are averaged, on storage that all machines share. By default a temporary
        folder, which is enough on one machine.
    retries : int
        How often a task is begun anew whose worker was lost.
    cpus : float
        Processors of a task, and threads of the library in it.
    observer : callable, optional
        Called with an :class:`otfuse.Event` whenever a network is aligned.
    **options
        As in :func:`otfuse.fuse`.

    Returns
    -------
    Fused
        As of :func:`otfuse.fuse`.

    Raises
    ------
    InputError
        What :func:`otfuse.fuse` raises, from whichever task.
    RunError
        Ray is not initialised, or a task was lost more often than ``retries``.

    Notes
    -----
    A worker holds two networks. The sum is taken from files in the order of the models: sums of parts as a tree would be
    rounded otherwise than the local ones.
    """
    _ready()
    given = _resolved(len(models), dict(options), samples)
    sources = _sources(models, inputs, model, architecture)
    remote = _ray.remote(num_cpus=cpus, max_retries=retries)
    threads = max(1, int(cpus))
    data = None if samples is None else _ray.put(_held(samples, given))
    workspace = _workspace(folder)
    at_work = Path(workspace.name)
    anchor_at = given["anchor"]
    anchor = _anchor(models[anchor_at], sources[anchor_at], inputs, model)
    if not _is_spread(given):
        target = at_work / "fused.onnx"
        _gathered([remote(_fuse_all).remote(sources, given, data, threads, str(target))], "fusing", observer)
        # The weights of the one, the form of the other.
        weights = [1.0, 0.0]
        taken = otfuse.fuse(
            [target, anchor], method="average", weights=weights, anchor=1, repair="none", no_verify=True, check=0
        )
        return Spread(taken, None, workspace)
    aligning = {name: value for name, value in given.items() if name not in _MERGING}
    task = remote(_align)
    paths = {at: at_work / f"aligned-{at}.onnx" for at in range(len(sources)) if at != anchor_at}
    pending = [
        task.remote(sources[at], sources[anchor_at], aligning, data, threads, str(path), at) for at, path in paths.items()
    ]
    matched = _gathered(pending, "aligning", observer)
    for entry in matched:
        entry["anchor"] = anchor_at
    networks = [anchor if at == anchor_at else paths[at] for at in range(len(sources))]
    merging = {name: given[name] for name in ("weights", "merge", "t", "repair", "dtype", "anchor") if name in given}
    averaged = otfuse.fuse(networks, method="average", no_verify=True, progress=False, check=0, **merging)
    return Spread(averaged, matched, workspace)


def evaluate(
    models: Sequence[Any],
    data: Any,
    *,
    inputs: Any = None,
    model: Any = None,
    architecture: str | Sequence[str] | None = None,
    split: Literal["test", "train"] = "test",
    limit: int | None = None,
    retries: int = 3,
    cpus: float = 1,
    observer: Observer | None = None,
) -> Evaluation:
    """Measures networks on labelled samples, each as a task; as :func:`otfuse.evaluate` does.

    Parameters
    ----------
    models, inputs, model, architecture, retries, cpus, observer
        As in :func:`fuse`.
    data : (x, y), dict with y or str
        As in :func:`otfuse.evaluate`; a str names files that are there on all machines.
    split, limit
        As in :func:`otfuse.evaluate`.
    """
    _ready()
    sources = _sources(models, inputs, model, architecture)
    held = _ray.put(data.spec if isinstance(data, Dataset) else data)
    task = _ray.remote(num_cpus=cpus, max_retries=retries)(_evaluate)
    pending = [task.remote(source, held, split, limit, max(1, int(cpus))) for source in sources]
    return Evaluation({"models": _gathered(pending, "measuring", observer)})


def search(
    models: Sequence[Any],
    data: Any,
    candidates: Sequence[Sequence[float]],
    *,
    inputs: Any = None,
    samples: Any = None,
    model: Any = None,
    architecture: str | Sequence[str] | None = None,
    split: Literal["test", "train"] = "train",
    limit: int | None = None,
    retries: int = 3,
    cpus: float = 1,
    observer: Observer | None = None,
    **options: Unpack[FuseOptions],
) -> list[dict[str, Any]]:
    """Fuses networks with several averaging weights, each as a task, and measures what comes out on labelled samples.

    Parameters
    ----------
    candidates : sequence of sequences
        Weights of the networks, one sequence for each fusion.
    models, data, inputs, samples, model, architecture, split, limit, retries, cpus, observer, **options
        As in :func:`fuse` and :func:`evaluate`.

    Returns
    -------
    list of dict
        ``weights``, ``accuracy`` and ``loss`` in the order given.
    """
    _ready()
    for one in candidates:
        if len(one) != len(models):
            raise InputError(f"`candidates`: {len(one)} weights for {len(models)} networks", "give one for each network")
    given = _resolved(len(models), dict(options), samples)
    sources = _sources(models, inputs, model, architecture)
    held, labelled = _ray.put(_held(samples, given)), _ray.put(data.spec if isinstance(data, Dataset) else data)
    task = _ray.remote(num_cpus=cpus, max_retries=retries)(_try_weights)
    pending = [
        task.remote(sources, {**given, "weights": list(one)}, held, labelled, split, limit, max(1, int(cpus)))
        for one in candidates
    ]
    return _gathered(pending, "searching", observer)


class _Source:
    """A network as it goes to a worker: a path, or a form and a reference to arrays."""

    def __init__(self, path: str | None, architecture: str | None, form: Any, arrays: Any) -> None:
        self.path = path
        self.architecture = architecture
        # References, so that what is large is stored once.
        self.form = form
        self.arrays = arrays


def _sources(models: Sequence[Any], inputs: Any, model: Any, architecture: str | Sequence[str] | None) -> list[_Source]:
    if isinstance(models, (str, bytes, os.PathLike)) or len(models) < 2:
        raise InputError("expected several networks", "give a list: [a, b]")
    families = [architecture] if architecture is None or isinstance(architecture, str) else list(architecture)
    if len(families) not in (1, len(models)):
        message = f"`architecture` is given {len(families)} times for {len(models)} networks"
        raise InputError(message, "give it once for all networks, or once for each in their order")
    shared = None if model is None else _ray.put(form("model", model, inputs, families[0]))
    found: list[_Source] = []
    graphs: dict[Any, Any] = {}
    for at, one in enumerate(models):
        family = families[min(at, len(families) - 1)]
        if isinstance(one, (str, os.PathLike)):
            if family is None and isinstance(model, (str, os.PathLike)) and not os.path.isdir(one):
                family = os.fspath(model)
            found.append(_Source(os.path.abspath(one), family, None, None))
        elif isinstance(one, _ray.ObjectRef):
            found.append(_Source(None, family, shared, one))
        elif _torch.is_module(one):
            module = _torch.unwrapped(one)
            state = {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
            kind = type(module), tuple((name, array.shape) for name, array in state.items())
            if kind not in graphs:
                graphs[kind] = _ray.put(form(type(module).__name__, module, inputs, None))
            found.append(_Source(None, None, graphs[kind], _ray.put(state)))
        else:
            value = one if isinstance(one, (bytes, dict)) else _plain(one)
            found.append(_Source(None, family, shared, _ray.put(value)))
    return found


def _plain(one: Any) -> Any:
    """A state dict as a dict, an ONNX model as its bytes."""
    if hasattr(one, "SerializeToString"):
        return one.SerializeToString()
    return dict(one) if hasattr(one, "items") else one


def _network(source: _Source) -> Network:
    """Opens a network, on a worker or here."""
    if source.path is not None:
        return otfuse.open(source.path, architecture=source.architecture)
    value = _ray.get(source.arrays)
    if isinstance(value, bytes):
        return otfuse.open(value)
    if source.form is not None:
        held: Form = _ray.get(source.form)
        return held.network(value, held.name)
    return otfuse.open(value, architecture=source.architecture)


def _anchor(one: Any, source: _Source, inputs: Any, model: Any) -> Network:
    """The network whose form the result has, as it was given: of a module a module is made."""
    if source.path is not None:
        return _network(source)
    value = _ray.get(one) if isinstance(one, _ray.ObjectRef) else one
    return otfuse.open(value, inputs=inputs, architecture=source.architecture, like=model)


def _align(
    source: _Source, anchor: _Source, options: dict[str, Any], samples: Any, threads: int, path: str, at: int
) -> dict[str, Any]:
    """A task: one network in the order of the anchor, as a file."""
    fused = otfuse.fuse(
        [_network(source), _network(anchor)],
        samples=_dataset(samples),
        threads=threads,
        progress=False,
        check=0,
        **{**options, "aligned_only": True, "anchor": 1, "repair": "none"},
    )
    fused.save(path)
    return {**fused.alignment[0], "model": at}


def _fuse_all(sources: list[_Source], options: dict[str, Any], samples: Any, threads: int, path: str) -> None:
    """A task: all networks at once."""
    networks = [_network(source) for source in sources]
    fused = otfuse.fuse(networks, samples=_dataset(samples), threads=threads, progress=False, check=0, **options)
    fused.save(path)


def _try_weights(
    sources: list[_Source], options: dict[str, Any], samples: Any, data: Any, split: Any, limit: Any, threads: int
) -> dict[str, Any]:
    """A task: one fusion, measured."""
    networks = [_network(source) for source in sources]
    fused = otfuse.fuse(networks, samples=_dataset(samples), threads=threads, progress=False, check=0, **options)
    made = otfuse.open(fused.onnx())
    found = otfuse.evaluate([made], data, split=split, limit=limit, threads=threads, progress=False).to_dict()["models"][0]
    return {"weights": options["weights"], "accuracy": found.get("accuracy"), "loss": found["loss"]}


def _evaluate(source: _Source, data: Any, split: Any, limit: int | None, threads: int) -> dict[str, Any]:
    """A task: one network, measured."""
    found = otfuse.evaluate([_network(source)], data, split=split, limit=limit, threads=threads, progress=False)
    measured: dict[str, Any] = found.to_dict()["models"][0]
    return measured


def _held(samples: Any, options: dict[str, Any]) -> Any:
    if samples is None or isinstance(samples, str):
        return samples
    if isinstance(samples, Dataset):
        return samples.spec
    return samples_in_memory(samples, options.get("n_samples") or 1000)


def _dataset(samples: Any) -> Any:
    return Dataset(samples) if isinstance(samples, str) else samples


def _resolved(count: int, options: dict[str, Any], samples: Any) -> dict[str, Any]:
    """What decides how the work is spread, said in words that the local fusion has too."""
    as_file("fuse", options)
    options.setdefault("anchor", count - 1)
    options.setdefault("weights", [1.0 / count] * count)
    if not 0 <= options["anchor"] < count:
        raise InputError(f"`anchor` is {options['anchor']} for {count} networks", "they are counted from 0")
    if "preset" not in options and options.get("method") != "average":
        options.setdefault("consensus", "anchor")
    if samples is None and options.get("repair", "auto") == "auto" and not options.get("free_inputs"):
        options["repair"] = "none" if "preset" in options else "data-free"
    # Samples that networks make, and coordinates that they are rotated into, depend on who is together.
    if _is_spread(options):
        options.setdefault("symmetry", "permutations")
        # What a fusion of so many networks does by itself, and one of two would not.
        if count > 2:
            options.setdefault("importance_cost", False)
        if samples is None:
            options.setdefault("samples_from", "none")
    return options


def _is_spread(options: dict[str, Any]) -> bool:
    if options.get("method") == "average" or any(options.get(name) for name in _OF_ALL):
        return False
    if options.get("samples_from", "none") != "none" or options.get("symmetry", "permutations") != "permutations":
        return False
    is_by_anchor = options.get("consensus", "anchor") == "anchor"
    return is_by_anchor and options.get("repair", "auto") in _BY_WEIGHTS


def _ready() -> None:
    if not _ray.is_initialized():
        raise RunError(
            "Ray is not initialised", "ray.init() starts it on this machine; ray.init(address=..) joins a cluster"
        )


def _workspace(folder: str | os.PathLike[str] | None) -> Any:
    """A folder for what lies between two stages."""
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="otfuse-ray-", dir=folder, ignore_cleanup_errors=True)


def _gathered(pending: list[Any], name: str, observer: Observer | None) -> list[Any]:
    """The results in the order of the tasks; the first error ends all."""
    left, done = list(pending), 0
    try:
        for _ in _ready_one(left):
            done += 1
            if observer is not None:
                observer(Event("advanced", 0, name, done, len(pending), f"{done} of {len(pending)}"))
        results: list[Any] = _ray.get(pending)
    except _ray.exceptions.RayTaskError as error:
        _cancel(left)
        cause = error.cause
        if isinstance(cause, otfuse.Error):
            raise cause from None
        raise RunError(f"a task failed: {cause!r}", "the worker's log has more: ray logs") from error
    except _ray.exceptions.RayError as error:
        _cancel(left)
        raise RunError(f"a task was lost: {error}", "give more `retries`, or fewer processes per machine") from error
    except BaseException:
        _cancel(left)
        raise
    return results


def _ready_one(left: list[Any]) -> Iterator[Any]:
    while left:
        ready, rest = _ray.wait(left, num_returns=1)
        _ray.get(ready[0])
        left[:] = rest
        yield ready[0]


def _cancel(left: list[Any]) -> None:
    for one in left:
        _ray.cancel(one, force=False)
