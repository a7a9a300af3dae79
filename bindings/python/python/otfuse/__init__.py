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

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from . import _otfuse, transport
from ._arrays import named, of_named
from ._errors import BudgetError, CancelledError, Error, InputError, NetworkWarning, RunError
from ._fused import Applied, Fused, FuseReport, Plan
from ._merging import data_options, read_settings
from ._networks import Network, opened, opened_one
from ._options import as_json, encoded
from ._report import Comparison, Evaluation, Figure, Inspection, MergeReport, Report, Sweep, Verification, Walk
from ._samples import Dataset, arrays_of, labelled, unlabelled
from ._work import Event, Run

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import AlignOptions, FuseOptions, TransportOptions

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

Observer = Callable[[Event], object]

# Samples that fusions take unless told otherwise, and alignments.
_FUSED_ON, _ALIGNED_ON = 1000, 200


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
        trimmed_mean (docs/merging.md); the share of the second of two.
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
    networks, text, given = _given(models, inputs, samples, model, compare_on, architecture, weights_key, run, options)
    return Fused(_otfuse.fuse(run, [one.network for one in networks], text, *given), networks, _dtype(options))


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
    networks, text, given = _given(models, inputs, samples, model, compare_on, architecture, weights_key, run, options)
    return Plan(_otfuse.plan(run, [one.network for one in networks], text, *given), networks, run, _dtype(options))


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
    held, data = unlabelled(samples, run, options.get("samples") or _FUSED_ON)
    compared = None if compare_on is None else labelled(compare_on, run).samples(run, "test", None)
    handles = [network.network for network in networks]
    if output is None:
        return Report(json.loads(_otfuse.plan(run, handles, json.dumps(options), held, data, compared).report))
    fused = Fused(_otfuse.fuse(run, handles, json.dumps(options), held, data, compared), networks)
    fused.save(output)
    return fused.report


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
    held, data = unlabelled(samples, run, options.get("n_samples") or _ALIGNED_ON)
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


def verify(
    model: Any,
    *,
    inputs: Any = None,
    shape: Any = None,
    seed: int = 0,
    architecture: str | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    device: str | None = None,
) -> Verification:
    """Proves a network's neuron groups: permutes all of them at random and compares the outputs.

    Parameters
    ----------
    model, inputs, architecture, weights_key
        As in :func:`fuse`.
    shape : dict of lengths by input, optional
        Where the network leaves lengths open.
    seed : int
        Of permutations and inputs.

    Returns
    -------
    Verification
        True where the outputs stayed the same; ``failure`` says what is broken where not.
    """
    run = Run(observer, device=device)
    network = opened_one(model, run, inputs=inputs, architecture=architecture, weights_key=weights_key)
    lengths: str = json.loads(encoded("verify", {"shape": shape})).get("shape", "")
    text, failure = _otfuse.verify(run, network.network, lengths, seed)
    found = json.loads(text)
    if failure is not None:
        found["failure"] = {"message": failure[0], "hint": failure[1]}
    return Verification(found)


def inspect(
    model: Any,
    *,
    inputs: Any = None,
    architecture: str | None = None,
    weights_key: str | None = None,
) -> Inspection:
    """Looks at a network: inputs, outputs, operators, parameters, neuron groups, what is pinned and why.

    Returns
    -------
    Inspection
        Printed, it is a drawing of the network; in a notebook, a picture.
    """
    run = Run()
    network = opened_one(model, run, inputs=inputs, architecture=architecture, weights_key=weights_key)
    text, drawing, svg, dot = _otfuse.inspect(run, network.network)
    return Inspection(json.loads(text), drawing, svg, dot)


def evaluate(
    models: Any,
    data: Any,
    *,
    metric: Callable[[Any, Any], float] | None = None,
    ensemble: bool = False,
    split: Literal["test", "train"] = "test",
    limit: int | None = None,
    inputs: Any = None,
    model: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> Evaluation:
    """Measures networks on labelled samples, and with ``ensemble`` the mean of their probabilities.

    Parameters
    ----------
    models
        One network or several, in any form that :func:`fuse` takes.
    data : (x, y), dict with y, DataLoader of pairs, Dataset or str
        ``y`` are classes (integers from 0) or numbers to be met (floats).
    metric : callable, optional
        Called with the outputs of a network on all samples (an array whose first axis counts samples, or a dict of them by
        name where there are several) and with ``y``; what it returns stands beside accuracy and loss.
    ensemble : bool
        Also measure the mean of the networks' probabilities.
    split, limit
        Which samples of a data set, and how many of them.

    Returns
    -------
    Evaluation
        ``models`` with accuracy (from 0 to 1), loss and samples of each, and ``metric``; ``ensemble``.
    """
    run = Run(observer, progress=progress, device=device, threads=threads)
    several = list(models) if isinstance(models, (list, tuple)) else [models]
    networks = opened(several, run, inputs=inputs, model=model, architecture=architecture, weights_key=weights_key)
    samples = labelled(data, run).samples(run, split, limit)
    found = json.loads(_otfuse.evaluate(run, [one.network for one in networks], samples, ensemble))
    if metric is not None:
        entry = samples.targets()
        targets = None if entry is None else of_named(entry)
        for one, measured in zip(networks, found["models"], strict=True):
            outputs = {entry[0]: of_named(entry) for entry in _otfuse.outputs(run, one.network, samples)}
            given = next(iter(outputs.values())) if len(outputs) == 1 else outputs
            measured["metric"] = float(metric(given, targets))
    return Evaluation(found)


def run(
    model: Any,
    inputs: Any,
    *,
    architecture: str | None = None,
    weights_key: str | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Runs a network on one batch.

    Parameters
    ----------
    model
        A network in any form that :func:`fuse` takes.
    inputs : array, tensor, tuple of them, or dict by argument name
        The batch.

    Returns
    -------
    dict
        The outputs as arrays of NumPy, by name, in the order of the network.
    """
    run = Run(device=device, threads=threads)
    network = opened_one(model, run, inputs=inputs, architecture=architecture, weights_key=weights_key)
    arrays = named(arrays_of(inputs, network.inputs))
    return {entry[0]: of_named(entry) for entry in _otfuse.run(run, network.network, arrays)}


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


def transport_task_vector(
    base: Any,
    tuned: Any,
    target: Any,
    *,
    inputs: Any = None,
    samples: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Unpack[TransportOptions],
) -> Applied:
    """Adds what one network learned since to another, independently trained one: ``target + scale * (tuned - base)``, with
    the neurons of ``base`` and ``tuned`` in the order of ``target``'s.

    Parameters
    ----------
    base, target
        Networks of one architecture, in any form that :func:`fuse` takes.
    tuned
        What ``base`` became: a network, or the folder of a LoRA adapter of it.
    inputs, architecture, weights_key, observer, progress, device, threads
        As in :func:`fuse`.
    samples : as in :func:`fuse`, optional
        Unlabelled samples of what was learned. Layers are fitted on them, so that the network says what ``target`` says and
        what ``tuned`` says beyond ``base``; without, little of a gain survives between networks of unequal seeds.
    scale : float
        How often the difference is added; 1.
    follow : float
        How much the tuned network itself is followed in place of the target, from 0 (the default) to 1.
    repair : {"auto", "none", "least-squares"}, ridge : float, repair_rounds : int
        Whether layers are fitted, and how.
    method, mode, cost, normalize_features, solver, epsilon, marginals, activation_point, n_samples, check, dtype, \
no_verify, shape, seed
        As in :func:`fuse`.

    Returns
    -------
    Applied
        With ``state_dict()``, ``save(path)`` and ``report``.
    """
    run = Run(observer, progress=progress, device=device, threads=threads)
    text = encoded("transport_task_vector", options)
    is_adapter = isinstance(tuned, (str, os.PathLike)) and os.path.isfile(os.path.join(tuned, "adapter_config.json"))
    given = [base, target] if is_adapter else [base, tuned, target]
    networks = opened(given, run, inputs=inputs, architecture=architecture, weights_key=weights_key)
    first, last = networks[0].network, networks[-1].network
    middle = _otfuse.adapted(run, first, tuned) if is_adapter else networks[1].network
    held, data = unlabelled(samples, run, options.get("n_samples") or _FUSED_ON)
    if held is not None:
        data = _otfuse.Data.of(held, held)
    return Applied(_otfuse.transport_task_vector(run, first, middle, last, text, data), networks[-1])


def extract_lora(
    tuned: Any,
    base: Any,
    folder: str | os.PathLike[str],
    *,
    rank: int | None = None,
    energy: float | None = None,
    dtype: Any = None,
    linear_only: bool | None = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    threads: int | None = None,
) -> Report:
    """Writes the difference between two networks as a LoRA adapter, a folder as PEFT reads it.

    Parameters
    ----------
    tuned, base : path
        Hugging Face folders or checkpoints (with ``architecture=``): the tuned network first.
    folder : path
        Where the adapter goes; made whole or not at all.
    rank : int, energy : float
        The rank of each layer's product, or the share of the sum of squares of each layer's difference that is kept; one of
        the two.
    dtype : {"float32", "float16", "bfloat16"}, optional
        The element type of the adapter's tensors; float32.
    linear_only : bool
        Leave out biases, normalisations and embeddings, which else are kept whole where they differ.

    Returns
    -------
    Report
        Layers with ``rank`` and ``energy``, and what is kept whole or left out.
    """
    run = Run(observer, progress=progress, threads=threads)
    name = None if dtype is None else str(dtype).removeprefix("torch.")
    text = as_json(rank=rank, energy=energy, dtype=name, linear_only=linear_only)
    networks = opened([tuned, base], run, architecture=architecture, weights_key=weights_key)
    found = _otfuse.extract_lora(run, networks[0].network, networks[1].network, text, folder)
    return Report(json.loads(found))


def merge_lora(
    base: str | os.PathLike[str],
    adapters: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    path: str | os.PathLike[str],
    *,
    weights: Sequence[float] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    threads: int | None = None,
) -> Report:
    """Writes a network with LoRA adapters merged into it.

    Parameters
    ----------
    base : path
        A Hugging Face folder of any family, or a file of tensors.
    adapters : path or sequence of paths
        Folders with ``adapter_config.json``.
    path : path
        Where the network goes, in the base's form.
    weights : sequence of float, optional
        How much each adapter counts; 1.

    Returns
    -------
    Report
        What was merged.
    """
    run = Run(observer, progress=progress, threads=threads)
    several = [adapters] if isinstance(adapters, (str, os.PathLike)) else list(adapters)
    numbers = [] if weights is None else [float(weight) for weight in weights]
    return Report(json.loads(_otfuse.merge_lora(run, base, several, numbers, path, weights_key)))


def sweep(
    models: Sequence[Any],
    data: Any,
    *,
    weights: int | Sequence[float] = 11,
    limit: int | None = None,
    inputs: Any = None,
    model: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Unpack[AlignOptions],
) -> Sweep:
    """Measures averages of two networks with several weights on labelled samples, index by index and after alignment.

    Parameters
    ----------
    models, inputs, model, architecture, weights_key, observer, progress, device, threads
        As in :func:`fuse`; two networks.
    data : (x, y), DataLoader of pairs, Dataset or str
        What is measured on.
    weights : int or sequence of float
        So many weights of the second network from 0 to 1, or these.
    limit : int, optional
        So many samples.
    """
    run = Run(observer, progress=progress, device=device, threads=threads)
    text = encoded("fuse", options)
    points = str(weights) if isinstance(weights, int) else ",".join(repr(float(weight)) for weight in weights)
    networks = opened(models, run, inputs=inputs, model=model, architecture=architecture, weights_key=weights_key)
    handles = [one.network for one in networks]
    found, csv = _otfuse.sweep(run, handles, text, points, labelled(data, run), limit)
    return Sweep(json.loads(found), csv)


def compare(
    models: Sequence[Any],
    data: Any = None,
    *,
    limit: int | None = None,
    layer_samples: int | None = None,
    inputs: Any = None,
    model: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Unpack[AlignOptions],
) -> Comparison:
    """Compares networks: their neurons, and on samples also their layers and predictions.

    Parameters
    ----------
    models, inputs, model, architecture, weights_key, observer, progress, device, threads
        As in :func:`fuse`.
    data : (x, y), DataLoader of pairs, Dataset or str, optional
        What predictions and layers are compared on.
    limit, layer_samples : int, optional
        Samples for predictions (all) and for layers (256).
    """
    run = Run(observer, progress=progress, device=device, threads=threads)
    text = encoded("compare", options, limit=limit, layer_samples=layer_samples)
    networks = opened(models, run, inputs=inputs, model=model, architecture=architecture, weights_key=weights_key)
    held = None if data is None else labelled(data, run)
    found, page = _otfuse.compare(run, [one.network for one in networks], text, held)
    return Comparison(json.loads(found), lambda: page)


def interpolate(
    models: Sequence[Any],
    data: Any,
    *,
    steps: int | Sequence[float] | None = None,
    merge: Literal["mean", "slerp"] | None = None,
    limit: int | None = None,
    train: int | None = None,
    repair: str | None = None,
    as_fuse: bool = False,
    ridge: float | None = None,
    plane: int | None = None,
    inputs: Any = None,
    model: Any = None,
    architecture: str | Sequence[str] | None = None,
    weights_key: str | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Unpack[AlignOptions],
) -> Walk:
    """Measures the networks on the way between networks on labelled samples, before and after alignment.

    Parameters
    ----------
    models, inputs, model, architecture, weights_key, observer, progress, device, threads
        As in :func:`fuse`.
    data : (x, y), DataLoader of pairs, Dataset or str
        What is measured on.
    steps : int or sequence of float, optional
        Points from one network to another, ends included (11), or the weights of the second of two.
    train, plane, repair, as_fuse, ridge, merge, limit
        As the command's options of these names (``otfuse interpolate --help``).
    """
    run = Run(observer, progress=progress, device=device, threads=threads)
    points = steps if steps is None or isinstance(steps, (int, str)) else ",".join(repr(float(step)) for step in steps)
    text = encoded(
        "interpolate",
        options,
        steps=None if points is None else str(points),
        merge=merge,
        limit=limit,
        train=train,
        repair=repair,
        as_fuse=as_fuse,
        ridge=ridge,
        plane=plane,
    )
    networks = opened(models, run, inputs=inputs, model=model, architecture=architecture, weights_key=weights_key)
    found, page, csv = _otfuse.interpolate(run, [one.network for one in networks], text, labelled(data, run))
    return Walk(json.loads(found), lambda: page, csv)


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
    held, data = unlabelled(samples, run, options.get("n_samples") or _FUSED_ON)
    compared = None if compare_on is None else labelled(compare_on, run).samples(run, "test", None)
    return networks, text, (held, data, compared)


def _dtype(options: Any) -> str | None:
    dtype = options.get("dtype")
    return None if dtype is None else str(dtype).removeprefix("torch.")
