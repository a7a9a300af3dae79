"""Alignment and fusion of clients' networks by the package's own functions, with the options of a strategy."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import otfuse

from .._errors import InputError
from .._form import Arrays, Form
from .._options import as_file
from .._samples import Dataset, samples_in_memory

if TYPE_CHECKING:
    from .._fused import Fused
    from .._networks import Network

__all__ = ["Aligner"]

# What the strategy says itself, by other words or for each client.
_DECIDED = ("anchor", "weights", "t", "aligned_only", "width_budget", "target_width", "pairs", "n_samples", "dtype")

# Samples that are used unless told otherwise.
_SAMPLES = 1000


class Aligner:
    """Aligns and fuses networks with the same samples and options each time.

    Parameters
    ----------
    samples
        Unlabelled samples, as :func:`otfuse.fuse` takes them.
    options : dict
        Options of :func:`otfuse.fuse`.
    threads : int, optional
        Threads of the library.
    """

    def __init__(self, samples: Any, options: Mapping[str, Any], threads: int | None) -> None:
        for name in options:
            if name in _DECIDED and name != "n_samples":
                raise InputError(
                    f"`{name}` is decided by the strategy", "clients count by their number of examples; leave it out"
                )
        as_file("fuse", options)
        self._options = dict(options)
        self._threads = threads
        most = options.get("n_samples") or _SAMPLES
        self.samples = Dataset(samples) if isinstance(samples, str) else samples_in_memory(samples, most)
        self._proved: set[str] = set()

    @property
    def averages(self) -> bool:
        """Whether arrays are averaged as they stand."""
        return self._options.get("method") == "average"

    @property
    def repairs_always(self) -> bool:
        """Whether a repair was asked for by name, so that clients with a common start are repaired too."""
        return self._options.get("repair", "auto") not in ("auto", "none")

    def check(self, form: Form) -> None:
        """Resolves the options once, so that what is wrong with them is said before the first round."""
        network = form.network(form.initial, form.name)
        otfuse.plan([network, network], samples=self.samples, threads=self._threads, progress=False, **self._options)

    def fused(self, networks: Sequence[Network], weights: Sequence[float], anchor: int, form: Form, **others: Any) -> Fused:
        """Networks fused into the shapes of the anchor, with these weights."""
        total = sum(weights)
        given: dict[str, Any] = {**self._options, **others}
        given.update(weights=[weight / total for weight in weights], anchor=anchor)
        return self._run(networks, form, given, self.samples)

    def aligned(self, network: Network, to: Network, form: Form, *, is_near: bool) -> Fused:
        """A network in the order (and of the widths) of another.

        Parameters
        ----------
        is_near : bool
            The network was trained from the other: the search begins with every neuron where it is, by weights.
        """
        given = {name: value for name, value in self._options.items() if name not in ("repair", "merge", "effort", "ridge")}
        if is_near and given.get("solver") != "sinkhorn" and "preset" not in given:
            given.setdefault("start", "identity")
            given.setdefault("mode", "weights")
        given.update(aligned_only=True, anchor=1, repair="none")
        samples = None if given.get("mode") == "weights" else self.samples
        return self._run([network, to], form, given, samples)

    def _run(self, networks: Sequence[Network], form: Form, given: dict[str, Any], samples: Any) -> Fused:
        if form.name in self._proved:
            # The groups follow from the graph, and are proved once.
            given.setdefault("no_verify", True)
        found = otfuse.fuse(networks, samples=samples, check=0, progress=False, threads=self._threads, **given)
        self._proved.add(form.name)
        return found

    def moved(self, fused: Fused, factors: Arrays, form: Form) -> Arrays:
        """What belongs to each weight of the first network, in the order that it was aligned to."""
        if stays(fused):
            return factors
        with tempfile.TemporaryDirectory(prefix="otfuse-") as folder:
            plan = Path(folder) / "plan.json"
            fused.save(Path(folder) / "aligned.npz", alignment=plan)
            network = form.network(
                {key: value.astype(form.initial[key].dtype) for key, value in factors.items()}, "importance"
            )
            return dict(otfuse.apply(plan, network, to=network).state_dict())


def stays(fused: Fused) -> bool:
    """Whether no neuron has another place after an alignment."""
    for model in fused.alignment:
        for group in model["groups"]:
            order = group.get("plan", {}).get("permutation")
            if order is None or order != list(range(len(order))):
                return False
    return True
