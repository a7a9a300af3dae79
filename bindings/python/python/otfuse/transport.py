"""Optimal transport between discrete measures, exact and entropic, in POT's argument order.

Arrays of NumPy in float64 and float32 are read where they are; tensors of torch are accepted, and values then have gradients
through the potentials. The mathematics, and what each algorithm costs: docs/transport.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _otfuse
from ._arrays import is_tensor
from ._errors import InputError

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

__all__ = ["assignment", "dist", "emd", "emd2", "sinkhorn", "unbalanced"]

_INFINITE = float("inf")


def emd(a: Any, b: Any, M: Any, *, log: bool = False) -> Any:
    """The exact plan between two histograms.

    Parameters
    ----------
    a : array of shape (n,), or empty or None
        Masses of the rows; uniform if none are given.
    b : array of shape (m,), or empty or None
        Masses of the columns, with the same sum.
    M : array of shape (n, m)
        Costs, in the unit of the result.
    log : bool
        Whether to return what is known of the plan too.

    Returns
    -------
    plan : array of shape (n, m), float64
        The mass that goes from each row to each column.
    log : dict
        With ``log=True``: ``cost``, ``u`` and ``v`` (potentials of rows and columns: u[i] + v[j] <= M[i, j]), ``gap`` (a
        bound on how far the cost is from the least one: the certificate), ``status``.

    Raises
    ------
    InputError
        Shapes that do not fit, costs that are no numbers, negative masses, unequal sums.

    Examples
    --------
    >>> import numpy as np
    >>> emd([0.5, 0.5], [0.5, 0.5], np.array([[0.0, 1.0], [1.0, 0.0]]))
    array([[0.5, 0. ],
           [0. , 0.5]])
    """
    found = _otfuse.exact(_masses(a, "a"), _masses(b, "b"), _costs(M))
    return _answer(found, M, log)


def emd2(a: Any, b: Any, M: Any, *, log: bool = False) -> Any:
    """The least cost between two histograms: of :func:`emd` the value.

    Returns
    -------
    cost : float
        A tensor with gradients where ``a``, ``b`` or ``M`` are tensors of torch: those for the masses are the potentials
        (up to a constant), that for the costs is the plan.
    log : dict
        With ``log=True``, as of :func:`emd`, and ``plan``.
    """
    found = _otfuse.exact(_masses(a, "a"), _masses(b, "b"), _costs(M))
    value: Any = found[1]
    if is_tensor(a) or is_tensor(b) or is_tensor(M):
        value = _differentiable(value, a, b, M, found)
    if not log:
        return value
    return value, {**_log(found), "plan": _like(found[0], M)}


def sinkhorn(
    a: Any,
    b: Any,
    M: Any,
    reg: float,
    *,
    numItermax: int = 10_000,
    stopThr: float = 1e-9,
    round: bool = False,
    log: bool = False,
) -> Any:
    """The entropic plan between two histograms.

    Parameters
    ----------
    a, b, M
        As in :func:`emd`.
    reg : float
        The strength of the entropy, in the unit of the costs; positive.
    numItermax : int
        Iterations at which to stop in any case.
    stopThr : float
        The L1 distance between the plan's marginals and ``a`` and ``b`` at which to stop.
    round : bool
        Whether to move the plan onto its marginals at the end.
    log : bool
        Whether to return what is known of the plan too.

    Returns
    -------
    plan : array of shape (n, m), float64
    log : dict
        With ``log=True``: as of :func:`emd` (potentials are those of the entropic problem), ``niter`` and ``err``.
    """
    found = _otfuse.sinkhorn(
        _masses(a, "a"),
        _masses(b, "b"),
        _costs(M),
        float(reg),
        float(stopThr),
        int(numItermax),
        round,
        (_INFINITE, _INFINITE),
    )
    return _answer(found, M, log)


def unbalanced(
    a: Any,
    b: Any,
    M: Any,
    reg: float,
    reg_m: float | tuple[float, float],
    *,
    numItermax: int = 10_000,
    stopThr: float = 1e-9,
    log: bool = False,
) -> Any:
    """The entropic plan whose marginals are held by a penalty: ``reg_m * KL(plan's marginal | a)``, and the same for ``b``.

    Parameters
    ----------
    reg_m : float or pair of floats
        The penalties of rows and columns; infinite for a marginal that is kept.

    Returns
    -------
    As :func:`sinkhorn`. Masses are scaled to sum 1 each, and the plan back by the sum of ``a``.
    """
    rows, columns = reg_m if isinstance(reg_m, tuple) else (reg_m, reg_m)
    found = _otfuse.sinkhorn(
        _masses(a, "a"),
        _masses(b, "b"),
        _costs(M),
        float(reg),
        float(stopThr),
        int(numItermax),
        False,
        (float(rows), float(columns)),
    )
    return _answer(found, M, log)


def assignment(cost: Any) -> tuple[Array, Array]:
    """The cheapest assignment of rows to columns, as ``scipy.optimize.linear_sum_assignment`` returns it.

    Parameters
    ----------
    cost : array of shape (n, n)

    Returns
    -------
    rows, columns : arrays of shape (n,), int64
        Row ``rows[i]`` has the column ``columns[i]``; ``cost[rows, columns].sum()`` is the least sum.
    """
    import numpy as np

    columns, _ = _otfuse.assignment(_costs(cost))
    return np.arange(len(columns)), columns


def dist(x1: Any, x2: Any = None, metric: str = "sqeuclidean", *, normalize: bool = False) -> Array:
    """Costs between rows of features: sqeuclidean, euclidean or cosine.

    Parameters
    ----------
    x1 : array of shape (n, d)
    x2 : array of shape (m, d), optional
        ``x1`` where it is not given.
    normalize : bool
        Scale rows to unit length first.

    Returns
    -------
    array of shape (n, m), float64
        Computed from features in single precision.
    """
    import numpy as np

    left = np.ascontiguousarray(_numpy(x1), dtype=np.float32)
    right = left if x2 is None else np.ascontiguousarray(_numpy(x2), dtype=np.float32)
    if left.ndim != 2 or right.ndim != 2:
        raise InputError(
            f"expected tables of features, found shapes {left.shape} and {right.shape}", "one row for each point"
        )
    return _otfuse.ground_cost(left, right, metric, normalize)


def _numpy(value: Any) -> Any:
    import numpy as np

    return value.detach().cpu().numpy() if is_tensor(value) else np.asarray(value)


def _masses(value: Any, name: str) -> Array | None:
    import numpy as np

    if value is None:
        return None
    array = np.ascontiguousarray(_numpy(value), dtype=np.float64)
    if array.ndim != 1:
        raise InputError(
            f"{name}: expected masses of shape (n,), found shape {array.shape}", "one mass for each row or column"
        )
    return array


def _costs(value: Any) -> Array:
    import numpy as np

    array = _numpy(value)
    if array.ndim != 2:
        raise InputError(f"M: expected costs of shape (n, m), found shape {array.shape}", "one row for each mass of a")
    kind = np.float32 if array.dtype == np.float32 else np.float64
    return np.ascontiguousarray(array, dtype=kind)


def _log(found: Any) -> dict[str, Any]:
    _, cost, u, v, gap, status, iterations, error = found
    return {"cost": cost, "u": u, "v": v, "gap": gap, "status": status, "niter": iterations, "err": error}


def _like(plan: Any, M: Any) -> Any:
    if not is_tensor(M):
        return plan
    import torch

    return torch.from_numpy(plan).to(device=M.device)


def _answer(found: Any, M: Any, log: bool) -> Any:
    plan = _like(found[0], M)
    return (plan, _log(found)) if log else plan


def _differentiable(value: float, a: Any, b: Any, M: Any, found: Any) -> Any:
    """The value as a tensor whose gradients are the potentials and the plan."""
    import torch

    like = next(tensor for tensor in (M, a, b) if is_tensor(tensor))
    total = torch.as_tensor(value, dtype=torch.float64, device=like.device)
    for given, gradient in ((a, found[2]), (b, found[3]), (M, found[0])):
        if is_tensor(given) and given.requires_grad:
            slope = torch.from_numpy(gradient).to(device=given.device)
            part = (given.to(torch.float64) * slope).sum()
            total = total + (part - part.detach())
    return total.to(like.dtype)
