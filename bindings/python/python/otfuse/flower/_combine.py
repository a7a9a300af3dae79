"""How aligned arrays of clients become one: means, and combinations that bad clients can move little."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .._form import Arrays, Form

__all__ = ["bounded", "distances", "krum", "mean", "median", "trimmed_mean"]


def mean(parts: Iterable[tuple[Arrays, float, Arrays | None]], form: Form) -> Arrays | None:
    """The weighted mean; one client's arrays are held at a time.

    Parameters
    ----------
    parts
        Arrays, the client's weight, and a factor for every entry or None.

    Returns
    -------
    dict of arrays
        None where there are no parts.
    """
    import numpy as np

    totals: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    for arrays, weight, factors in parts:
        for key, array in arrays.items():
            share = weight if factors is None else weight * factors[key].astype(np.float64)
            term = array.astype(np.float64) * share
            if key in totals:
                totals[key] += term
                weights[key] = weights[key] + share
            else:
                totals[key], weights[key] = term, share
    if not totals:
        return None
    # Where nobody's factor is above 0 there is nothing to go by but the sum of zeros.
    found = {key: total / np.where(np.asarray(weights[key]) > 0, weights[key], 1.0) for key, total in totals.items()}
    return form.typed(found)


def median(parts: Sequence[Arrays], form: Form) -> Arrays:
    """The median of each entry (Yin et al., "Byzantine-Robust Distributed Learning", ICML 2018)."""
    import numpy as np

    return form.typed({key: np.median(_stacked(parts, key), axis=0) for key in parts[0]})


def trimmed_mean(parts: Sequence[Arrays], share: float, form: Form) -> Arrays:
    """The mean of each entry without the share of the smallest and of the largest values (Yin et al., ICML 2018)."""
    import numpy as np

    count = len(parts)
    cut = min(int(np.ceil(share * count)), (count - 1) // 2)
    return form.typed({key: np.sort(_stacked(parts, key), axis=0)[cut : count - cut].mean(axis=0) for key in parts[0]})


def _stacked(parts: Sequence[Arrays], key: str) -> Any:
    import numpy as np

    return np.stack([part[key].astype(np.float64) for part in parts])


def distances(parts: Sequence[Arrays]) -> Any:
    """The squared distances between all clients."""
    import numpy as np

    found = np.zeros((len(parts), len(parts)))
    for key, like in parts[0].items():
        if like.dtype.kind != "f":
            continue
        for row in range(len(parts)):
            for column in range(row):
                gap = np.square(parts[row][key].astype(np.float64) - parts[column][key]).sum()
                found[row, column] += gap
                found[column, row] += gap
    return found


def krum(gaps: Any, bad: int, select: int) -> list[int]:
    """The clients whose nearest neighbours are nearest, in ascending order (Blanchard et al., NeurIPS 2017).

    Parameters
    ----------
    gaps : array of shape (clients, clients)
        Squared distances.
    bad : int
        How many clients may be bad; each is scored by its ``clients - bad - 2`` nearest others.
    select : int
        How many are selected.
    """
    import numpy as np

    count = len(gaps)
    near = max(1, count - bad - 2)
    others = np.sort(gaps + np.diag(np.full(count, np.inf)), axis=1)[:, :near]
    scores = others.sum(axis=1)
    return sorted(int(at) for at in np.argsort(scores, kind="stable")[: max(1, select)])


def bounded(arrays: Arrays, reference: Arrays, bound: float) -> Arrays:
    """Arrays no further from the reference than the bound: a longer step is shortened."""
    import numpy as np

    length = step(arrays, reference)
    if length <= bound:
        return arrays
    share = bound / length
    return {
        key: (reference[key] + share * (array.astype(np.float64) - reference[key])).astype(array.dtype)
        if array.dtype.kind == "f"
        else array
        for key, array in arrays.items()
    }


def step(arrays: Arrays, reference: Arrays) -> float:
    """How far arrays are from others."""
    import numpy as np

    squares = (
        np.square(array.astype(np.float64) - reference[key]).sum()
        for key, array in arrays.items()
        if array.dtype.kind == "f"
    )
    return float(np.sqrt(sum(squares)))
