"""Optimal transport on arrays."""

from __future__ import annotations

import itertools
import os
import sys

import numpy as np
import otfuse
import pytest
from conftest import interrupted
from otfuse import transport


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_exact_plans_have_their_marginals_and_a_certificate(kind: type, random: np.random.Generator) -> None:
    a, b = random.random(7), random.random(9)
    a, b = a / a.sum(), b / b.sum()
    M = random.random((7, 9)).astype(kind)
    plan, log = transport.emd(a, b, M, log=True)
    np.testing.assert_allclose(plan.sum(1), a, atol=1e-12)
    np.testing.assert_allclose(plan.sum(0), b, atol=1e-12)
    assert (log["u"][:, None] + log["v"] <= M + 1e-12).all()
    assert log["gap"] < 1e-9 and log["status"] == "optimal"
    assert transport.emd2(a, b, M) == pytest.approx((plan * M).sum(), abs=1e-12)
    np.testing.assert_allclose(transport.emd(3 * a, 3 * b, M), 3 * plan, atol=1e-12)


def test_assignments_are_the_cheapest(random: np.random.Generator) -> None:
    cost = random.random((6, 6))
    rows, columns = transport.assignment(cost)
    best = min(cost[range(6), order].sum() for order in itertools.permutations(range(6)))
    assert cost[rows, columns].sum() == pytest.approx(best)
    np.testing.assert_allclose(transport.emd([], [], cost)[rows, columns], 1 / 6)


def test_entropic_plans(random: np.random.Generator) -> None:
    M = random.random((5, 5))
    plan, log = transport.sinkhorn(None, None, M, 0.1, log=True)
    np.testing.assert_allclose(plan.sum(1), np.full(5, 0.2), atol=1e-8)
    assert log["niter"] > 0 and log["status"] == "converged"
    loose = transport.unbalanced(None, None, M, 0.1, 0.5)
    assert loose.shape == (5, 5) and (loose >= 0).all()


def test_any_layout_is_taken(random: np.random.Generator) -> None:
    M = random.random((4, 6))
    expected = transport.emd(None, None, M)
    np.testing.assert_allclose(transport.emd(None, None, np.asfortranarray(M)), expected)
    np.testing.assert_allclose(transport.emd(None, None, M.tolist()), expected)
    assert transport.dist(M).shape == (4, 4)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")
@pytest.mark.parametrize("call", ["emd(a / a.sum(), b / b.sum(), M)", "sinkhorn(None, None, M, 1e-4, numItermax=10**9)"])
def test_interrupts_end_long_problems(call: str) -> None:
    script = (
        "import numpy as np, sys\nfrom otfuse.transport import emd, sinkhorn\n"
        "r = np.random.default_rng(0)\na, b, M = r.random(3000), r.random(3000), r.random((3000, 3000))\n"
        "print(flush=True)\n"
        f"try:\n    while True: {call}\n"
        "except KeyboardInterrupt:\n    sys.exit(7)\n"
    )
    interrupted(script, after=0.3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forked_workers_solve_too(random: np.random.Generator) -> None:
    M = random.random((300, 300))
    expected = transport.emd2(None, None, M)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(transport.emd2(None, None, M) != expected)
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("a", "b", "M"),
    [
        ([0.5, 0.5], [1.0], np.zeros((2, 2))),
        ([0.5, 0.5], [0.5, 0.6], np.zeros((2, 2))),
        ([-0.5, 1.5], [0.5, 0.5], np.zeros((2, 2))),
        (None, None, np.full((2, 2), np.nan)),
        (None, None, np.zeros(3)),
        (None, None, np.zeros((0, 2))),
    ],
)
def test_bad_problems(a: object, b: object, M: np.ndarray) -> None:
    with pytest.raises(otfuse.InputError) as found:
        transport.emd(a, b, M)
    assert found.value.hint


def test_values_have_gradients() -> None:
    torch = pytest.importorskip("torch", reason="gradients take torch")
    M = torch.rand(4, 4, dtype=torch.float64, requires_grad=True)
    value = transport.emd2(None, None, M)
    value.backward()
    np.testing.assert_allclose(M.grad.numpy(), transport.emd(None, None, M.detach().numpy()))
