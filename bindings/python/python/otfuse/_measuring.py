"""What is known of networks, and what they do on samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from . import _otfuse
from ._arrays import named, of_named
from ._networks import opened, opened_one
from ._options import encoded
from ._report import Comparison, Evaluation, Inspection, Sweep, Verification, Walk
from ._samples import arrays_of, labelled
from ._work import Observer, Run

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import AlignOptions

__all__ = ["compare", "evaluate", "inspect", "interpolate", "run", "sweep", "verify"]


def verify(
    model: Any,
    *,
    inputs: Any = None,
    shape: Any = None,
    seed: int = 0,
    architecture: str | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    device: str | None = None,
) -> Verification:
    """Proves a network's neuron groups: permutes all of them at random and compares the outputs.

    Parameters
    ----------
    model, inputs, architecture, weights_key
        As in :func:`fuse`.
    shape : dict of lengths by input, optional
        Where the network leaves lengths open.
    seed : int
        Of permutations and inputs.

    Returns
    -------
    Verification
        True where the outputs stayed the same; ``failure`` says what is broken where not.
    """
    run = Run(observer, device=device)
    network = opened_one(model, run, inputs=inputs, architecture=architecture, weights_key=weights_key)
    lengths: str = json.loads(encoded("verify", {"shape": shape})).get("shape", "")
    text, failure = _otfuse.verify(run, network.network, lengths, seed)
    found = json.loads(text)
    if failure is not None:
        found["failure"] = {"message": failure[0], "hint": failure[1]}
    return Verification(found)


def inspect(
    model: Any,
    *,
    inputs: Any = None,
    architecture: str | None = None,
    weights_key: str | None = None,
) -> Inspection:
    """Looks at a network: inputs, outputs, operators, parameters, neuron groups, what is pinned and why.

    Returns
    -------
    Inspection
        Printed, it is a drawing of the network; in a notebook, a picture.
    """
    run = Run()
    network = opened_one(model, run, inputs=inputs, architecture=architecture, weights_key=weights_key)
    text, drawing, svg, dot = _otfuse.inspect(run, network.network)
    return Inspection(json.loads(text), drawing, svg, dot)


def evaluate(
    models: Any,
    data: Any,
    *,
    metric: Callable[[Any, Any], float] | None = None,
    ensemble: bool = False,
    split: Literal["test", "train"] = "test",
    limit: int | None = None,
    inputs: Any = None,
    model: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> Evaluation:
    """Measures networks on labelled samples, and with ``ensemble`` the mean of their probabilities.

    Parameters
    ----------
    models
        One network or several, in any form that :func:`fuse` takes.
    data : (x, y), dict with y, DataLoader of pairs, Dataset or str
        ``y`` are classes (integers from 0) or numbers to be met (floats).
    metric : callable, optional
        Called with the outputs of a network on all samples (an array whose first axis counts samples, or a dict of them by
        name where there are several) and with ``y``; what it returns stands beside accuracy and loss.
    ensemble : bool
        Also measure the mean of the networks' probabilities.
    split, limit
        Which samples of a data set, and how many of them.

    Returns
    -------
    Evaluation
        ``models`` with accuracy (from 0 to 1), loss and samples of each, and ``metric``; ``ensemble``.
    """
    run = Run(observer, progress=progress, device=device, threads=threads)
    several = list(models) if isinstance(models, (list, tuple)) else [models]
    networks = opened(several, run, inputs=inputs, model=model, architecture=architecture, weights_key=weights_key)
    samples = labelled(data, run).samples(run, split, limit)
    found = json.loads(_otfuse.evaluate(run, [one.network for one in networks], samples, ensemble))
    if metric is not None:
        entry = samples.targets()
        targets = None if entry is None else of_named(entry)
        for one, measured in zip(networks, found["models"], strict=True):
            outputs = {entry[0]: of_named(entry) for entry in _otfuse.outputs(run, one.network, samples)}
            given = next(iter(outputs.values())) if len(outputs) == 1 else outputs
            measured["metric"] = float(metric(given, targets))
    return Evaluation(found)


def run(
    model: Any,
    inputs: Any,
    *,
    architecture: str | None = None,
    weights_key: str | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Runs a network on one batch.

    Parameters
    ----------
    model
        A network in any form that :func:`fuse` takes.
    inputs : array, tensor, tuple of them, or dict by argument name
        The batch.

    Returns
    -------
    dict
        The outputs as arrays of NumPy, by name, in the order of the network.
    """
    run = Run(device=device, threads=threads)
    network = opened_one(model, run, inputs=inputs, architecture=architecture, weights_key=weights_key)
    arrays = named(arrays_of(inputs, network.inputs))
    return {entry[0]: of_named(entry) for entry in _otfuse.run(run, network.network, arrays)}


def sweep(
    models: Sequence[Any],
    data: Any,
    *,
    weights: int | Sequence[float] = 11,
    limit: int | None = None,
    inputs: Any = None,
    model: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Unpack[AlignOptions],
) -> Sweep:
    """Measures averages of two networks with several weights on labelled samples, index by index and after alignment.

    Parameters
    ----------
    models, inputs, model, architecture, weights_key, observer, progress, device, threads
        As in :func:`fuse`; two networks.
    data : (x, y), DataLoader of pairs, Dataset or str
        What is measured on.
    weights : int or sequence of float
        So many weights of the second network from 0 to 1, or these.
    limit : int, optional
        So many samples.
    """
    run = Run(observer, progress=progress, device=device, threads=threads)
    text = encoded("fuse", options)
    points = str(weights) if isinstance(weights, int) else ",".join(repr(float(weight)) for weight in weights)
    networks = opened(models, run, inputs=inputs, model=model, architecture=architecture, weights_key=weights_key)
    handles = [one.network for one in networks]
    found, csv = _otfuse.sweep(run, handles, text, points, labelled(data, run), limit)
    return Sweep(json.loads(found), csv)


def compare(
    models: Sequence[Any],
    data: Any = None,
    *,
    limit: int | None = None,
    layer_samples: int | None = None,
    inputs: Any = None,
    model: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Unpack[AlignOptions],
) -> Comparison:
    """Compares networks: their neurons, and on samples also their layers and predictions.

    Parameters
    ----------
    models, inputs, model, architecture, weights_key, observer, progress, device, threads
        As in :func:`fuse`.
    data : (x, y), DataLoader of pairs, Dataset or str, optional
        What predictions and layers are compared on.
    limit, layer_samples : int, optional
        Samples for predictions (all) and for layers (256).
    """
    run = Run(observer, progress=progress, device=device, threads=threads)
    text = encoded("compare", options, limit=limit, layer_samples=layer_samples)
    networks = opened(models, run, inputs=inputs, model=model, architecture=architecture, weights_key=weights_key)
    held = None if data is None else labelled(data, run)
    found, page = _otfuse.compare(run, [one.network for one in networks], text, held)
    return Comparison(json.loads(found), lambda: page)


def interpolate(
    models: Sequence[Any],
    data: Any,
    *,
    steps: int | Sequence[float] | None = None,
    merge: Literal["mean", "slerp"] | None = None,
    limit: int | None = None,
    train: int | None = None,
    repair: str | None = None,
    as_fuse: bool = False,
    ridge: float | None = None,
    plane: int | None = None,
    inputs: Any = None,
    model: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Unpack[AlignOptions],
) -> Walk:
    """Measures the networks on the way between networks on labelled samples, before and after alignment.

    Parameters
    ----------
    models, inputs, model, architecture, weights_key, observer, progress, device, threads
        As in :func:`fuse`.
    data : (x, y), DataLoader of pairs, Dataset or str
        What is measured on.
    steps : int or sequence of float, optional
        Points from one network to another, ends included (11), or the weights of the second of two.
    train, plane, repair, as_fuse, ridge, merge, limit
        As the command's options of these names (``otfuse interpolate --help``).
    """
    run = Run(observer, progress=progress, device=device, threads=threads)
    points = steps if steps is None or isinstance(steps, (int, str)) else ",".join(repr(float(step)) for step in steps)
    text = encoded(
        "interpolate",
        options,
        steps=None if points is None else str(points),
        merge=merge,
        limit=limit,
        train=train,
        repair=repair,
        as_fuse=as_fuse,
        ridge=ridge,
        plane=plane,
    )
    networks = opened(models, run, inputs=inputs, model=model, architecture=architecture, weights_key=weights_key)
    found, page, csv = _otfuse.interpolate(run, [one.network for one in networks], text, labelled(data, run))
    return Walk(json.loads(found), lambda: page, csv)
