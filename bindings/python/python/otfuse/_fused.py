"""Fusions: before (:class:`Plan`) and after (:class:`Fused`)."""

from __future__ import annotations

import json
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import _otfuse
from ._networks import Network
from ._report import Evaluation, Paged, Report
from ._samples import labelled
from ._work import Run

if TYPE_CHECKING:
    import torch

__all__ = ["Applied", "FuseReport", "Fused", "Plan"]

Path = str | os.PathLike[str]


class FuseReport(Paged):
    """What was fused, how, and what came out: settings, models, coverage, groups, sweeps, comparison, seconds."""


class _Result:
    def __init__(self, native: Any, like: Network) -> None:
        self._native = native
        self._like = like

    def _dtype(self) -> str | None:
        return None

    @cached_property
    def module(self) -> torch.nn.Module:
        """The network as a new module of the anchor's class, on its device, in its types, with its flags and tied
        parameters; made once. The anchor stays as it is.

        Raises
        ------
        InputError
            If the anchor is no module, or the result is of another width.
        """
        module: torch.nn.Module = self._like.module(self._native.tensors(Run()), self._dtype())
        return module

    def state_dict(self) -> dict[str, Any]:
        """The network's tensors by name, in the anchor's order and types: of torch on the anchor's devices where the anchor
        is of torch, else arrays of NumPy (bfloat16 as float32).
        """
        found: dict[str, Any] = self._like.state_dict(self._native.tensors(Run()))
        return found


class Fused(_Result):
    """A fused network, and what is to be said of it; :func:`otfuse.fuse` and :func:`otfuse.align` make it."""

    def __init__(self, native: _otfuse.Fused, networks: list[Network], dtype: str | None = None) -> None:
        super().__init__(native, networks[native.anchor])
        # What is read late lies in files that are there as long as the networks are.
        self._networks = networks
        self._given_dtype = dtype

    def _dtype(self) -> str | None:
        return self._given_dtype

    @property
    def report(self) -> FuseReport:
        """What was fused, how, and what came out."""
        return FuseReport(json.loads(self._native.report), self._native.page)

    @property
    def alignment(self) -> list[Any]:
        """What was matched with what: one entry for each model but the anchor."""
        found: list[Any] = json.loads(self._native.alignments())
        return found

    def onnx(self) -> bytes:
        """The network as the bytes of an ONNX file (``onnx.load_from_string`` reads them)."""
        return bytes(memoryview(self._native.onnx(Run())))

    def save(self, path: Path, *, alignment: Path | None = None, page: Path | None = None, card: bool = False) -> None:
        """Writes the network, and what goes with it, all of it or nothing.

        Parameters
        ----------
        path : path
            The extension chooses the format: .onnx, .safetensors, .pt, .npz, ..; a folder for a Hugging Face folder.
        alignment : path, optional
            What was matched with what, as :func:`otfuse.apply` reads it.
        page : path, optional
            The report as one HTML file.
        card : bool
            Also a model card, PATH.README.md; a folder has one always.

        Raises
        ------
        InputError
            A path that cannot be written or is one of the parents.
        """
        self._native.save(Run(), path, alignment, page, card)

    def evaluate(self, data: Any) -> Evaluation:
        """Accuracy and loss on labelled samples, given as to :func:`otfuse.evaluate`."""
        run = Run()
        samples = labelled(data, run).samples(run, "test", None)
        return Evaluation(json.loads(self._native.evaluate(run, samples)))

    def __repr__(self) -> str:
        report = json.loads(self._native.report)
        names = ", ".join(model["path"] for model in report["models"])
        return f"<Fused of {names}: {len(report['groups'])} neuron groups matched>"

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


class Plan:
    """A fusion that is ready to be run, once; :func:`otfuse.plan` makes it."""

    def __init__(self, native: _otfuse.Plan, networks: list[Network], run: Run, dtype: str | None) -> None:
        self._native = native
        self._networks = networks
        self._run = run
        self._dtype = dtype

    @property
    def report(self) -> Report:
        """What would be done: models, anchor, parameters, groups, settings as they would be used."""
        return Report(json.loads(self._native.report))

    def run(self) -> Fused:
        """Fuses."""
        return Fused(self._native.run(self._run), self._networks, self._dtype)

    def __repr__(self) -> str:
        return f"<Plan of {', '.join(self.report.models)}>"

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


class Applied(_Result):
    """A network made of others: in the order that an earlier alignment found, pruned, or with what another one learned."""

    @property
    def report(self) -> Report:
        """What was moved."""
        return Report(json.loads(self._native.report))

    def save(self, path: Path) -> None:
        """Writes the network; the extension chooses the format."""
        self._native.save(Run(), path)
