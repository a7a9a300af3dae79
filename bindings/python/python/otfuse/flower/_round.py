"""One round on the server: which clients are alike already, and how all become one."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import otfuse

from .._errors import Error
from .._form import Arrays, Form
from . import _combine
from ._aligning import Aligner
from ._replies import LOG, LeftOut, Reply

if TYPE_CHECKING:
    from .._fused import Fused
    from .._networks import Network

__all__ = ["Round", "follows"]

# Weights that were trained from others have a cosine with these that is far above this; independent ones have about 0.
_ALIKE = 0.1
# A network that is only there for its shapes.
_NO_WEIGHT = 1e-6
# With combinations that bad clients can move little, no client counts more than so many times the one in the middle.
_MOST_EXAMPLES = 10.0


class Round:
    """Makes one network of the clients' arrays.

    Attributes
    ----------
    plans : dict or None
        What was matched with what, for rounds without an alignment.
    own_starts : int
        Clients whose arrays did not come from the global model.
    """

    def __init__(
        self,
        aligner: Aligner,
        forms: Mapping[str, Form],
        rules: Mapping[str, Any],
        importance_key: str,
        sent: Arrays | None,
        sent_to: Callable[[int], Arrays | None],
    ) -> None:
        self._aligner = aligner
        self._form = next(iter(forms.values()))
        self._rules = rules
        self._importance_key = importance_key
        self._sent = sent
        self._sent_to = sent_to
        self._left: list[LeftOut] = []
        self.plans: Any = None
        self.own_starts = 0

    def run(self, kept: list[Reply], left: list[LeftOut], is_aligned: bool, warm_start: bool, plans: Any) -> Arrays | None:
        """The global arrays, or None where nothing is left; who had to be left out is added to ``left``."""
        self._left = left
        if not kept:
            return None
        near = {reply.node for reply in kept if follows(reply.arrays(), self._sent_to(reply.node), reply.form)}
        self.own_starts = len(kept) - len(near)
        is_even = all(reply.form is self._form for reply in kept)
        rules = self._rules
        is_plain = (
            rules["combine"] == "mean"
            and rules["bound"] is None
            and not any(reply.content.array_records.get(self._importance_key) for reply in kept)
        )
        if self._aligner.averages and is_even:
            return self._combined(kept, {}, aligned=False)
        if not is_aligned and (is_even or plans is not None):
            self.plans = plans
            return self._combined(kept, {} if is_even else plans, aligned=False)
        starts = near if warm_start else set()
        if is_plain and (not is_even or not starts or self._aligner.repairs_always):
            return self._fused(kept, starts)
        return self._combined(kept, starts, aligned=True)

    def _fused(self, kept: list[Reply], starts: set[int]) -> Arrays | None:
        """All at once, by the library's fusion: repaired, with samples layer by layer."""
        others: dict[str, Any] = {}
        if len(starts) == len(kept) and all(reply.form is self._form for reply in kept):
            others = {"start": "identity", "mode": "weights"}
        for attempt in range(2):
            networks = [reply.form.network(reply.arrays(), f"client {reply.node}") for reply in kept]
            weights = [reply.examples for reply in kept]
            anchor = self._anchor(kept)
            if anchor is None:
                anchor = len(networks)
                networks.append(self._form.network(self._sent or self._form.initial, "the global model"))
                weights.append(_NO_WEIGHT * sum(weights))
            if len(networks) == 1:
                return kept[0].arrays()
            try:
                fused = self._aligner.fused(networks, weights, anchor, self._form, **others)
            except Error as error:
                LOG.warning("\t> fusing failed: %s", error)
                to = networks[anchor]
                kept = [
                    reply for at, reply in enumerate(kept) if at == anchor or self._aligned(reply, to, False) is not None
                ]
                if attempt or not kept:
                    return None
                continue
            self.plans = self._kept_plans(fused, kept, anchor)
            return self._counted(self._form.typed(fused.state_dict()), kept)
        return None

    def _counted(self, arrays: Arrays, kept: list[Reply]) -> Arrays:
        """Integers (the counters of batch normalisations) are no weights, which have an order: their mean, rounded."""
        names = [key for key, like in self._form.initial.items() if like.dtype.kind in "iu"]
        total = sum(reply.examples for reply in kept)
        held = [reply.arrays() for reply in kept] if names else []
        for key in names:
            if all(one.get(key) is not None and one[key].shape == arrays[key].shape for one in held):
                arrays[key] = sum(reply.examples / total * one[key] for reply, one in zip(kept, held, strict=True))
        return self._form.typed(arrays)

    def _kept_plans(self, fused: Fused, kept: list[Reply], anchor: int) -> Any:
        """The plans of unequal clients; equal ones are trained in the global order from here on."""
        if all(reply.form is self._form for reply in kept):
            return None
        with tempfile.TemporaryDirectory(prefix="otfuse-") as folder:
            plan = Path(folder) / "plan.json"
            fused.save(Path(folder) / "fused.npz", alignment=plan)
            document = json.loads(plan.read_text(encoding="utf-8"))
        nodes = {str(reply.node): at for at, reply in enumerate(kept) if at != anchor}
        return {"document": document, "nodes": nodes}

    def _anchor(self, kept: list[Reply]) -> int | None:
        """The client of the global form with the most examples; the first of several."""
        found = [at for at, reply in enumerate(kept) if reply.form is self._form]
        return max(found, key=lambda at: (kept[at].examples, -at)) if found else None

    def _combined(self, kept: list[Reply], by: Any, *, aligned: bool) -> Arrays | None:
        """Client by client into the order of the global model, then entry by entry.

        Parameters
        ----------
        by
            With ``aligned``, the clients that begin where they are; else the plans of the last alignment.
        """
        rules = self._rules
        reference, to, anchor = self._reference(kept, by if aligned else {reply.node for reply in kept})
        if rules["combine"] == "mean" and rules["bound"] is None:
            parts = (
                (arrays, reply.examples, factors)
                for reply, arrays, factors in self._each(kept, to, anchor, by, aligned, has_factors=True)
            )
            return _combine.mean(parts, self._form)
        each = list(self._each(kept, to, anchor, by, aligned, has_factors=False))
        if not each:
            return None
        replies, parts_held = [entry[0] for entry in each], [entry[1] for entry in each]
        if rules["bound"] is not None:
            steps = [_combine.step(arrays, reference) for arrays in parts_held]
            bound = rules["bound"] * statistics.median(steps)
            parts_held = [_combine.bounded(arrays, reference, bound) for arrays in parts_held]
        return self._by_rule(replies, parts_held, not (by if aligned else True))

    def _by_rule(self, replies: list[Reply], parts: list[Arrays], is_independent: bool) -> Arrays | None:
        rules, count = self._rules, len(parts)
        if rules["combine"] == "median":
            return _combine.median(parts, self._form)
        if rules["combine"] == "trimmed-mean":
            return _combine.trimmed_mean(parts, rules["trim"], self._form)
        chosen = list(range(count))
        most = float("inf")
        if rules["combine"] == "krum":
            bad = rules["bad"] if rules["bad"] is not None else (3 * count) // 10
            select = rules["select"] if rules["select"] is not None else count - bad
            chosen = _combine.krum(_combine.distances(parts), bad, min(select, count))
            for at in sorted(set(range(count)) - set(chosen)):
                self._left.append(LeftOut(replies[at].node, "far", "further from its nearest others than those selected"))
            most = _MOST_EXAMPLES * statistics.median(replies[at].examples for at in chosen)
            if is_independent and rules["bound"] is None:
                return self._fused([replies[at] for at in chosen], set())
        return _combine.mean(((parts[at], min(replies[at].examples, most), None) for at in chosen), self._form)

    def _reference(self, kept: list[Reply], starts: set[int]) -> tuple[Arrays, Network, int | None]:
        """What all are aligned to: the global model where clients came from it, else the client with the most examples."""
        anchor = None if starts and self._sent is not None else self._anchor(kept)
        arrays = kept[anchor].arrays() if anchor is not None else (self._sent or self._form.initial)
        name = "the global model" if anchor is None else f"client {kept[anchor].node}"
        return arrays, self._form.network(arrays, name), anchor

    def _each(
        self, kept: list[Reply], to: Network, anchor: int | None, by: Any, aligned: bool, *, has_factors: bool
    ) -> Iterator[tuple[Reply, Arrays, Arrays | None]]:
        """Each client in the order of the global model, one after the other."""
        for at, reply in enumerate(kept):
            factors = reply.importance(self._importance_key) if has_factors and reply.form is self._form else None
            if at == anchor or (not aligned and reply.form is self._form and not _is_planned(by, reply)):
                yield reply, reply.arrays(), factors
                continue
            if not aligned:
                arrays = self._applied(reply, to, by)
                if arrays is not None:
                    yield reply, arrays, None
                continue
            fused = self._aligned(reply, to, reply.node in by)
            if fused is None:
                continue
            if factors is not None:
                factors = self._aligner.moved(fused, factors, self._form)
            yield reply, self._counted(self._form.typed(fused.state_dict()), [reply]), factors

    def _aligned(self, reply: Reply, to: Network, is_near: bool) -> Fused | None:
        try:
            network = reply.form.network(reply.arrays(), f"client {reply.node}")
            is_near = is_near and reply.form is self._form
            return self._aligner.aligned(network, to, self._form, is_near=is_near)
        except Error as error:
            self._left.append(LeftOut(reply.node, "refused", str(error)))
            return None

    def _applied(self, reply: Reply, to: Network, plans: Any) -> Arrays | None:
        """A client's arrays by the plan that an earlier round found for it."""
        index = plans["nodes"].get(str(reply.node))
        if index is None:
            fused = self._aligned(reply, to, False)
            return None if fused is None else self._form.typed(fused.state_dict())
        try:
            with tempfile.TemporaryDirectory(prefix="otfuse-") as folder:
                plan = Path(folder) / "plan.json"
                plan.write_text(json.dumps(plans["document"]), encoding="utf-8")
                network = reply.form.network(reply.arrays(), f"client {reply.node}")
                return self._form.typed(otfuse.apply(plan, network, to=to, index=index).state_dict())
        except Error as error:
            self._left.append(LeftOut(reply.node, "refused", str(error)))
            return None


def _is_planned(plans: Any, reply: Reply) -> bool:
    return bool(plans) and str(reply.node) in plans["nodes"] and reply.form.name != "global"


def follows(arrays: Arrays, sent: Arrays | None, form: Form) -> bool:
    """Whether a network was trained from the one that was sent: its weights point in the same direction."""
    import numpy as np

    if sent is None or any(sent[key].shape != like.shape for key, like in form.initial.items() if key in sent):
        return False
    product = left = right = 0.0
    count = 0
    for key, like in form.initial.items():
        # Vectors (biases, scales of normalisations) are alike in any two networks.
        if like.ndim > 1 and like.dtype.kind == "f":
            a, b = arrays[key].astype(np.float64), sent[key].astype(np.float64)
            count += a.size
            product += float((a * b).sum())
            left += float((a * a).sum())
            right += float((b * b).sum())
    # Independent weights have a cosine of this deviation times a few, which is large where there are few of them.
    alike = max(_ALIKE, 4 / np.sqrt(max(count, 1)))
    return bool(left > 0 and right > 0 and product > alike * np.sqrt(left * right))
