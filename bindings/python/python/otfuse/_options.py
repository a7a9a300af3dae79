"""Options, by the names that the command line has, with underscores."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from . import _otfuse
from ._errors import InputError

__all__ = ["AlignOptions", "FuseOptions", "TransportOptions", "as_json", "encoded"]

Cost = Literal["euclidean", "sqeuclidean", "cosine"]
Mode = Literal["auto", "weights", "activations", "both"]
Preset = Literal["forward", "paper", "git-rebasin", "converged"]
Repair = Literal["auto", "none", "data-free", "bn", "repair", "rescale", "least-squares", "distill"]
Shape = Mapping[str, Sequence[int]] | str
Merge = Literal[
    "mean",
    "linear",
    "slerp",
    "nuslerp",
    "multislerp",
    "karcher",
    "task_arithmetic",
    "ties",
    "dare_linear",
    "dare_ties",
    "della_linear",
    "della",
    "breadcrumbs",
    "breadcrumbs_ties",
    "model_stock",
    "nearswap",
    "arcee_fusion",
    "sce",
    "median",
    "trimmed_mean",
    "fisher",
    "regmean",
]
# A number, numbers from the first layer to the last one, or values by parts of names: {"filter": .., "value": ..}.
Setting = float | Sequence[float] | Mapping[str, Any] | Sequence[Mapping[str, Any]]
Parameters = Mapping[str, Setting] | Sequence[Mapping[str, Setting]] | Mapping[str, Any]


class AlignOptions(TypedDict, total=False):
    """Options of an alignment: ``preset``, ``mode``, .., as :func:`otfuse.align` describes them."""

    anchor: int
    mode: Mode
    preset: Preset
    cost: Cost
    normalize_features: bool
    free_inputs: str | Sequence[str]
    n_samples: int
    no_verify: bool
    shape: Shape
    seed: int


class FuseOptions(AlignOptions, total=False):
    """Options of a fusion: as :func:`otfuse.fuse` describes them."""

    method: Literal["ot", "average"]
    merge: Merge
    parameters: Parameters
    base: int
    t: float
    solver: Literal["exact", "sinkhorn"]
    epsilon: float
    sweeps: int
    start: Literal["forward", "identity"]
    members: Literal["producers", "all"]
    order: Literal["topological", "random"]
    starts: int
    balance: bool
    activation_share: float
    consensus: Literal["anchor", "mean"]
    marginals: Literal["uniform", "l1", "l2"]
    depth: Literal["anchor", "shallow", "deep"]
    pairs: str
    weights: Sequence[float]
    align_outputs: bool
    check: int
    repair: Repair
    ridge: float
    repair_steps: int
    repair_rounds: int
    importance: float
    importance_cost: bool
    class_shares: bool
    width_budget: float
    target_width: float
    activation_point: Literal["pre", "post"]
    activation_features: Literal["raw", "moments"]
    residual: Literal["sums", "uniform", "scaled", "neurons"]
    aligned_only: bool
    allow_nonfinite: bool
    dtype: Literal["float32", "float16", "bfloat16"]
    vocabulary: Literal["anchor", "intersect"]
    effort: Literal["quick", "default", "thorough"]
    symmetry: Literal["auto", "permutations"]
    samples_from: str


class TransportOptions(TypedDict, total=False):
    """Options of a task vector's transport: as :func:`otfuse.transport_task_vector` describes them."""

    scale: float
    follow: float
    method: Literal["ot", "average"]
    mode: Mode
    cost: Cost
    normalize_features: bool
    solver: Literal["exact", "sinkhorn"]
    epsilon: float
    marginals: Literal["uniform", "l1", "l2"]
    activation_point: Literal["pre", "post"]
    n_samples: int
    check: int
    repair: Literal["auto", "none", "least-squares"]
    ridge: float
    repair_rounds: int
    dtype: Literal["float32", "float16", "bfloat16"]
    no_verify: bool
    shape: Shape
    seed: int


_FUSE, _ALIGN, _TRANSPORT = _otfuse.option_names()
_NAMES = {"fuse": _FUSE, "align": _ALIGN, "transport_task_vector": _TRANSPORT}


def _name(key: str) -> str:
    return "n_samples" if key == "samples" else key.replace("-", "_")


def as_file(function: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by the names of files; what is None is not said."""
    known = {_name(key): key for key in _NAMES.get(function, _ALIGN)}
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
            raise InputError(f"otfuse.{function} has no option `{name}`", hint)
        if value is None:
            continue
        if name == "shape" and isinstance(value, Mapping):
            value = ",".join(f"{key}={'x'.join(map(str, lengths))}" for key, lengths in value.items())
        elif name == "free_inputs" and not isinstance(value, str):
            value = ",".join(value)
        elif name == "parameters":
            value = _parameters(value)
        elif name == "dtype":
            value = str(value).removeprefix("torch.")
        elif hasattr(value, "tolist"):
            value = value.tolist()
        elif isinstance(value, tuple):
            value = list(value)
        found[known[name]] = value
    return found


def _parameters(value: Any) -> Any:
    """What holds for all models, what holds for each, or both."""
    if isinstance(value, Mapping):
        return value if value and set(value) <= {"all", "models"} else {"all": value}
    return {"models": list(value)}


def as_json(**options: Any) -> str:
    """Options that a function has by these names, as files have them; what is None is not said."""
    return json.dumps({name.replace("_", "-"): value for name, value in options.items() if value is not None})


def encoded(function: str, options: Mapping[str, Any], **others: Any) -> str:
    """Options as JSON."""
    found = as_file(function, options)
    if others:
        said = {key.replace("_", "-"): value for key, value in others.items() if value is not None}
        found = {"aligning": found, **said}
    try:
        return json.dumps(found)
    except TypeError as error:
        raise InputError(f"an option has no value of JSON: {error}", "give numbers, strings, lists") from None
