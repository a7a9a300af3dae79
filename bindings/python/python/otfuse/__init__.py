"""Fuses independently trained neural networks into one of the same cost, by optimal transport.

Networks are ``torch.nn.Module`` objects (with ``inputs=``, one batch that shows their shapes), state dicts of one (with
``model=``), models of transformers, ``onnx.ModelProto`` objects, and paths: ONNX files, PyTorch and safetensors checkpoints
(with ``architecture=``), Hugging Face folders. What the command ``otfuse`` does with the same files and options, these
functions do, to the byte.

Examples
--------
>>> fused = otfuse.fuse([net_a, net_b], inputs=x)          # doctest: +SKIP
>>> fused.module, fused.report                             # doctest: +SKIP
"""

from __future__ import annotations

from . import _otfuse, transport
from ._aligning import align, apply, prune
from ._errors import BudgetError, CancelledError, Error, InputError, NetworkWarning, RunError
from ._fused import Applied, Fused, FuseReport, Plan
from ._fusing import fuse, merge, open, plan
from ._measuring import compare, evaluate, inspect, interpolate, run, sweep, verify
from ._networks import Network
from ._report import Comparison, Evaluation, Figure, Inspection, MergeReport, Report, Sweep, Verification, Walk
from ._samples import Dataset
from ._vectors import extract_lora, merge_lora, transport_task_vector
from ._work import Event

__version__: str = _otfuse.__version__

__all__ = [
    "Applied",
    "BudgetError",
    "CancelledError",
    "Comparison",
    "Dataset",
    "Error",
    "Evaluation",
    "Event",
    "Figure",
    "FuseReport",
    "Fused",
    "InputError",
    "Inspection",
    "MergeReport",
    "Network",
    "NetworkWarning",
    "Plan",
    "Report",
    "RunError",
    "Sweep",
    "Verification",
    "Walk",
    "align",
    "apply",
    "compare",
    "evaluate",
    "extract_lora",
    "fuse",
    "inspect",
    "interpolate",
    "merge",
    "merge_lora",
    "open",
    "plan",
    "prune",
    "run",
    "sweep",
    "transport",
    "transport_task_vector",
    "verify",
]
