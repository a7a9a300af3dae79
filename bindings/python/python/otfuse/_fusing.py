"""Fusions, and merges as a configuration says."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import _otfuse
from ._errors import InputError
from ._fused import Fused, Plan
from ._merging import data_options, read_settings
from ._networks import Network, opened, opened_one
from ._options import encoded
from ._report import MergeReport, Report
from ._samples import FUSED_ON, Dataset, labelled, unlabelled
from ._work import Observer, Run

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import FuseOptions

__all__ = ["fuse", "merge", "open", "plan"]


def open(
    model: Any,
    *,
    inputs: Any = None,
    architecture: str | None = None,
    weights_key: str | None = None,
    like: Any = None,
) -> Network:
    """Reads a network once, to give it to several functions.

    Parameters
    ----------
    model
        A network in any form that :func:`fuse` takes.
    inputs, architecture, weights_key
        As in :func:`fuse`.
    like
        Of a state dict, the network that it is one of: ``model`` in :func:`fuse`.
    """
    return opened_one(model, Run(), inputs=inputs, model=like, architecture=architecture, weights_key=weights_key)


def fuse(
    models: Sequence[Any],
    *,
    inputs: Any = None,
    samples: Any = None,
    model: Any = None,
    compare_on: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    memory: int | None = None,
    **options: Unpack[FuseOptions],
) -> Fused:
    """Fuses two or more networks into one of the shape of the last.

    Parameters
    ----------
    models : sequence
        Modules, state dicts, models of transformers, ``onnx.ModelProto`` objects, paths. The last is the anchor: the result
        has its form and shapes. Widths may differ.
    inputs : tensor, tuple of them, or dict by argument name
        Of modules: one batch that ``forward`` takes, to find the graph. Values do not matter.
    samples : array, tensor, dict by argument name, iterable of batches, DataLoader, Dataset or str, optional
        Unlabelled samples (labels are not looked at): neurons are matched by what they do on them, and layers are fitted.
        The first axis counts samples. Of an iterable no more than ``n_samples`` are taken. A str names a data set as the
        command's ``--data`` does: ``"cifar10:DIR"``, ``"npz:FILE"``, ``"digits"``.
    model : module, ModelProto, path or str, optional
        Of state dicts, the network that they are of.
    compare_on : (x, y), loader, Dataset or str, optional
        Labelled samples on which parents, ensemble, plain average and result are compared.
    architecture : str or sequence of str, optional
        Of checkpoints without a graph: mlp, vgg, resnet, lenet, sequential, an ONNX file, a config.json; one for all or one
        each.
    weights_key : str, optional
        Of several state dicts in a PyTorch file, the one under this key.
    observer : callable, optional
        Called with each :class:`Event`, in this thread; an exception of it ends the work.
    progress : bool, optional
        Whether bars are shown (of tqdm, where there is one, for what takes more than a second); by default in terminals and
        notebooks.
    device : str, optional
        Where networks are run: ``cpu``, or ``cuda``, ``cuda:N``, ``wgpu`` where the package is built with them.
    threads : int, optional
        By default all. Results do not depend on it.
    memory : int, optional
        Bytes that sweeps and repairs may hold beside the networks; by default 1 GiB.
    method : {"ot", "average"}
        How neurons are brought into one order.
    merge : str, t : float
        How aligned tensors become one: mean, slerp, nuslerp, multislerp, karcher, task_arithmetic, ties, dare_linear,
        dare_ties, della_linear, della, breadcrumbs, breadcrumbs_ties, model_stock, nearswap, arcee_fusion, sce, median,
        trimmed_mean, and with ``samples`` fisher and regmean (docs/merging.md); the share of the second of two.
    parameters : dict, or sequence of dicts
        What the merge is told, by name: ``{"density": 0.5}`` of all models, a list of such dicts of each, or
        ``{"all": .., "models": [..]}``. A value is a number, a list of numbers from the first layer to the last one, or
        ``{"filter": "mlp", "value": 0.5}`` and lists of those.
    base : int
        The model, counted from 0, whose differences from the others are merged; the anchor where the merge needs one.
    mode : {"auto", "weights", "activations", "both"}
        What describes a neuron.
    preset : {"forward", "paper", "git-rebasin", "converged"}
        Settings that others do not override.
    cost : {"euclidean", "sqeuclidean", "cosine"}, normalize_features : bool
        The distance between neurons.
    solver : {"exact", "sinkhorn"}, epsilon : float
        Solver of the transport problems; the entropy's strength as a multiple of the mean cost.
    anchor : int, weights : sequence of float
        The model whose shapes the result has, counted from 0; the averaging weight of each.
    n_samples, check : int
        Samples that are used (1000), and those that are compared on (1000).
    repair : {"auto", "none", "data-free", "bn", "repair", "rescale", "least-squares", "distill"}, ridge, importance : float
        What is repaired after merging.
    effort : {"quick", "default", "thorough"}
        How much work goes into the result.
    symmetry : {"auto", "permutations"}
        Which symmetries of the networks align them.
    width_budget, target_width : float
        Results of other widths.
    dtype : {"float32", "float16", "bfloat16"}
        The element type of the result's weights.
    depth : {"anchor", "shallow", "deep"}
        Which of networks of unequal depth gives the result its form; ``pairs`` is a file that says which layers go together.
    free_inputs : str or sequence of str
        Inputs that are nothing but noise: each network's is turned to correspond to the anchor's. Without ``data`` they
        are taken for normal noise; ``data="noise:uniform"`` for other.
    vocabulary : {"anchor", "intersect"}
        Of Hugging Face models: rows are matched by token, and the anchor's tokens stay, or those that all have.
    sweeps, start, members, order, starts, balance, activation_share, consensus, marginals, align_outputs, \
activation_point, activation_features, importance_cost, class_shares, residual, aligned_only, allow_nonfinite, \
no_verify, shape, seed
        As the command's options of these names (``otfuse fuse --help``); ``shape`` is a dict of lengths by input.

    Returns
    -------
    Fused
        With ``module``, ``state_dict()``, ``save(path)`` and ``report``.

    Raises
    ------
    InputError
        Networks that do not fit together, options that contradict each other, samples that do not fit.
    RunError
        A proof that fails.

    References
    ----------
    Singh and Jaggi, Model Fusion via Optimal Transport, NeurIPS 2020.
    """
    run = Run(observer, progress=progress, device=device, threads=threads, memory=memory)
    networks, text, held = _given(models, inputs, samples, model, compare_on, architecture, weights_key, run, options)
    return Fused(_otfuse.fuse(run, [one.network for one in networks], text, *held), networks, _dtype(options))


def plan(
    models: Sequence[Any],
    *,
    inputs: Any = None,
    samples: Any = None,
    model: Any = None,
    compare_on: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    memory: int | None = None,
    **options: Unpack[FuseOptions],
) -> Plan:
    """Checks a fusion and resolves all of its options without running it; takes what :func:`fuse` takes.

    Returns
    -------
    Plan
        With ``report`` and ``run()``.
    """
    run = Run(observer, progress=progress, device=device, threads=threads, memory=memory)
    networks, text, held = _given(models, inputs, samples, model, compare_on, architecture, weights_key, run, options)
    return Plan(_otfuse.plan(run, [one.network for one in networks], text, *held), networks, run, _dtype(options))


def merge(
    config: str | os.PathLike[str] | Mapping[str, Any] | Sequence[Mapping[str, Any]],
    output: str | os.PathLike[str] | None = None,
    *,
    seed: int | None = None,
    shard_size: int | None = None,
    samples: Any = None,
    compare_on: Any = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    memory: int | None = None,
) -> Report:
    """Merges networks as a configuration of mergekit says: tensors by name, or with ``alignment`` in it after their neurons
    were brought into one order, which is what :func:`fuse` does.

    Parameters
    ----------
    config : path, str, dict, or sequence of dicts
        A file of YAML, its text, or what it says; several dicts are several documents. Paths of networks are relative to
        the file, or else to the current folder.
    output : path, optional
        The folder or file of the result. Without, everything is checked that names, shapes and settings tell, and nothing
        is written.
    seed : int, optional
        Of random draws; 0, or with an alignment what it says.
    shard_size : int, optional
        The most bytes of a file of weights of a merge without alignment; 5 GB if not given.
    samples, compare_on
        With an alignment, as in :func:`fuse`.
    observer, progress, device, threads, memory
        As in :func:`fuse`.

    Returns
    -------
    MergeReport or FuseReport
        Without alignment: method, models, base, donor, tensors, parameters, dtypes and more. With one: the report of the
        fusion; without ``output`` that of its plan.

    Raises
    ------
    InputError
        What the configuration says and is not known, with its place; networks that do not fit together.

    Examples
    --------
    >>> otfuse.merge("config.yml", "merged")                                    # doctest: +SKIP
    >>> models = [{"model": "a"}, {"model": "b"}]                               # doctest: +SKIP
    >>> otfuse.merge({"merge_method": "slerp", "base_model": "a", "models": models, "parameters": {"t": 0.3}}, "merged")
    ... # doctest: +SKIP
    """
    settings = read_settings(config)
    run = Run(observer, progress=progress, device=device, threads=threads, memory=memory)
    text = settings.fusion
    if text is None:
        for name, given in (("samples", samples), ("compare_on", compare_on)):
            if given is not None:
                raise InputError(f"`{name}`: a configuration without alignment takes none", "add alignment: {} to it")
        path = "merged" if output is None else output
        return MergeReport(json.loads(settings.merge(run, path, seed or 0, shard_size, output is None)))
    if shard_size is not None:
        raise InputError("`shard_size` goes with a configuration without alignment", "leave it out")
    fusion = json.loads(text)
    options = fusion["options"] if seed is None else {**fusion["options"], "seed": seed}
    if isinstance(samples, str):
        samples = Dataset(samples, **data_options(fusion["data"]))
    networks = opened(fusion["models"], run, architecture=fusion["architecture"])
    held, data = unlabelled(samples, run, options.get("samples") or FUSED_ON)
    compared = None if compare_on is None else labelled(compare_on, run).samples(run, "test", None)
    handles = [network.network for network in networks]
    if output is None:
        return Report(json.loads(_otfuse.plan(run, handles, json.dumps(options), held, data, compared).report))
    fused = Fused(_otfuse.fuse(run, handles, json.dumps(options), held, data, compared), networks)
    fused.save(output)
    return fused.report


def _given(
    models: Sequence[Any],
    inputs: Any,
    samples: Any,
    model: Any,
    compare_on: Any,
    architecture: str | Sequence[str] | None,
    weights_key: str | None,
    run: Run,
    options: Any,
) -> tuple[list[Network], str, tuple[Any, Any, Any]]:
    """Networks, options and samples of a fusion."""
    text = encoded("fuse", options)
    networks = opened(models, run, inputs=inputs, model=model, architecture=architecture, weights_key=weights_key)
    held, data = unlabelled(samples, run, options.get("n_samples") or FUSED_ON)
    compared = None if compare_on is None else labelled(compare_on, run).samples(run, "test", None)
    return networks, text, (held, data, compared)


def _dtype(options: Any) -> str | None:
    dtype = options.get("dtype")
    return None if dtype is None else str(dtype).removeprefix("torch.")
