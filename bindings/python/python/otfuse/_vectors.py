"""What networks learned since their bases: moved to others, and as adapters."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import _otfuse
from ._fused import Applied
from ._networks import opened
from ._options import as_json, encoded
from ._report import Report
from ._samples import FUSED_ON, unlabelled
from ._work import Observer, Run

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import TransportOptions

__all__ = ["extract_lora", "merge_lora", "transport_task_vector"]


def transport_task_vector(
    base: Any,
    tuned: Any,
    target: Any,
    *,
    inputs: Any = None,
    samples: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Unpack[TransportOptions],
) -> Applied:
    """Adds what one network learned since to another, independently trained one: ``target + scale * (tuned - base)``, with
    the neurons of ``base`` and ``tuned`` in the order of ``target``'s.

    Parameters
    ----------
    base, target
        Networks of one architecture, in any form that :func:`fuse` takes.
    tuned
        What ``base`` became: a network, or the folder of a LoRA adapter of it.
    inputs, architecture, weights_key, observer, progress, device, threads
        As in :func:`fuse`.
    samples : as in :func:`fuse`, optional
        Unlabelled samples of what was learned. Layers are fitted on them, so that the network says what ``target`` says and
        what ``tuned`` says beyond ``base``; without, little of a gain survives between networks of unequal seeds.
    scale : float
        How often the difference is added; 1.
    follow : float
        How much the tuned network itself is followed in place of the target, from 0 (the default) to 1.
    repair : {"auto", "none", "least-squares"}, ridge : float, repair_rounds : int
        Whether layers are fitted, and how.
    method, mode, cost, normalize_features, solver, epsilon, marginals, activation_point, n_samples, check, dtype, \
no_verify, shape, seed
        As in :func:`fuse`.

    Returns
    -------
    Applied
        With ``state_dict()``, ``save(path)`` and ``report``.
    """
    run = Run(observer, progress=progress, device=device, threads=threads)
    text = encoded("transport_task_vector", options)
    is_adapter = isinstance(tuned, (str, os.PathLike)) and os.path.isfile(os.path.join(tuned, "adapter_config.json"))
    given = [base, target] if is_adapter else [base, tuned, target]
    networks = opened(given, run, inputs=inputs, architecture=architecture, weights_key=weights_key)
    first, last = networks[0].network, networks[-1].network
    middle = _otfuse.adapted(run, first, tuned) if is_adapter else networks[1].network
    held, data = unlabelled(samples, run, options.get("n_samples") or FUSED_ON)
    if held is not None:
        data = _otfuse.Data.of(held, held)
    return Applied(_otfuse.transport_task_vector(run, first, middle, last, text, data), networks[-1])


def extract_lora(
    tuned: Any,
    base: Any,
    folder: str | os.PathLike[str],
    *,
    rank: int | None = None,
    energy: float | None = None,
    dtype: Any = None,
    linear_only: bool | None = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    threads: int | None = None,
) -> Report:
    """Writes the difference between two networks as a LoRA adapter, a folder as PEFT reads it.

    Parameters
    ----------
    tuned, base : path
        Hugging Face folders or checkpoints (with ``architecture=``): the tuned network first.
    folder : path
        Where the adapter goes; made whole or not at all.
    rank : int, energy : float
        The rank of each layer's product, or the share of the sum of squares of each layer's difference that is kept; one of
        the two.
    dtype : {"float32", "float16", "bfloat16"}, optional
        The element type of the adapter's tensors; float32.
    linear_only : bool
        Leave out biases, normalisations and embeddings, which else are kept whole where they differ.

    Returns
    -------
    Report
        Layers with ``rank`` and ``energy``, and what is kept whole or left out.
    """
    run = Run(observer, progress=progress, threads=threads)
    name = None if dtype is None else str(dtype).removeprefix("torch.")
    text = as_json(rank=rank, energy=energy, dtype=name, linear_only=linear_only)
    networks = opened([tuned, base], run, architecture=architecture, weights_key=weights_key)
    found = _otfuse.extract_lora(run, networks[0].network, networks[1].network, text, folder)
    return Report(json.loads(found))


def merge_lora(
    base: str | os.PathLike[str],
    adapters: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    path: str | os.PathLike[str],
    *,
    weights: Sequence[float] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    threads: int | None = None,
) -> Report:
    """Writes a network with LoRA adapters merged into it.

    Parameters
    ----------
    base : path
        A Hugging Face folder of any family, or a file of tensors.
    adapters : path or sequence of paths
        Folders with ``adapter_config.json``.
    path : path
        Where the network goes, in the base's form.
    weights : sequence of float, optional
        How much each adapter counts; 1.

    Returns
    -------
    Report
        What was merged.
    """
    run = Run(observer, progress=progress, threads=threads)
    several = [adapters] if isinstance(adapters, (str, os.PathLike)) else list(adapters)
    numbers = [] if weights is None else [float(weight) for weight in weights]
    return Report(json.loads(_otfuse.merge_lora(run, base, several, numbers, path, weights_key)))
