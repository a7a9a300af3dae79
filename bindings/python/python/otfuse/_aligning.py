"""Networks made of one other: in another order, or smaller."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from . import _otfuse
from ._fused import Applied, Fused
from ._networks import opened, opened_one
from ._options import as_json, encoded
from ._samples import ALIGNED_ON, unlabelled
from ._work import Observer, Run

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import AlignOptions

__all__ = ["align", "apply", "prune"]


def align(
    model: Any,
    to: Any,
    *,
    inputs: Any = None,
    samples: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Unpack[AlignOptions],
) -> Fused:
    """Brings the neurons of a network into the order of another's, without changing what it computes.

    Parameters
    ----------
    model, to
        Networks in any form that :func:`fuse` takes.
    inputs, samples, architecture, weights_key, observer, progress, device, threads
        As in :func:`fuse`.
    mode, preset, cost, normalize_features, n_samples, no_verify, shape, seed
        As in :func:`fuse`; 200 samples unless said otherwise.

    Returns
    -------
    Fused
        The first network in its new order.
    """
    run = Run(observer, progress=progress, device=device, threads=threads)
    text = encoded("align", options)
    networks = opened([model, to], run, inputs=inputs, architecture=architecture, weights_key=weights_key)
    held, data = unlabelled(samples, run, options.get("n_samples") or ALIGNED_ON)
    if held is not None:
        data = _otfuse.Data.of(held, held)
    return Fused(_otfuse.align(run, networks[0].network, networks[1].network, text, data), networks)


def apply(
    alignment: str | os.PathLike[str],
    model: Any,
    *,
    to: Any = None,
    index: int | None = None,
    published_scaling: bool = False,
    inputs: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
) -> Applied:
    """Brings a network's neurons into the order that an earlier alignment found for another network of the same
    architecture, an earlier checkpoint, say.

    Parameters
    ----------
    alignment : path
        What ``fused.save(.., alignment=PATH)`` wrote.
    model, to
        The network, and where widths differ the one that it is aligned to.
    index : int, optional
        Which alignment of the file, by the number of the model in the fusion.
    published_scaling : bool
        The alignment was made with the preset paper.
    """
    run = Run()
    given = [model] if to is None else [model, to]
    networks = opened(given, run, inputs=inputs, architecture=architecture, weights_key=weights_key)
    like = networks[1].network if to is not None else None
    native = _otfuse.apply(run, alignment, networks[0].network, like, index, published_scaling)
    return Applied(native, networks[-1])


def prune(
    model: Any,
    *,
    amount: float = 0.5,
    norm: Literal["l1", "l2"] = "l1",
    across: bool = False,
    groups: Sequence[int | str] | None = None,
    inputs: Any = None,
    architecture: str | None = None,
    weights_key: str | None = None,
) -> Applied:
    """Takes the least important neurons out of a network: whole neurons, with all that they read and write.

    Parameters
    ----------
    model, inputs, architecture, weights_key
        As in :func:`fuse`.
    amount : float
        The share of neurons that goes, from 0 to 1.
    norm : {"l1", "l2"}
        A neuron is as important as the norm of its incoming weights.
    across : bool
        Take the share out of all groups together, not of each.
    groups : sequence of int or str, optional
        Only these groups, by number or by the name of a weight (:func:`inspect` lists them).

    Returns
    -------
    Applied
        With ``state_dict()``, ``save(path)`` and ``report``; its shapes are no longer those of the module.
    """
    run = Run()
    text = as_json(amount=amount, norm=norm, **{"global": across}, groups=None if groups is None else list(groups))
    network = opened_one(model, run, inputs=inputs, architecture=architecture, weights_key=weights_key)
    return Applied(_otfuse.prune(run, network.network, text), network)
