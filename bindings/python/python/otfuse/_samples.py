"""Samples of all kinds: arrays, dicts by argument name, iterables of batches, loaders, data sets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from . import _otfuse
from ._arrays import is_tensor, named, of_named
from ._errors import InputError
from ._work import Run

__all__ = ["ALIGNED_ON", "FUSED_ON", "Dataset", "arrays_of", "labelled", "samples_in_memory", "unlabelled"]

# Samples that fusions take unless told otherwise, and alignments.
FUSED_ON, ALIGNED_ON = 1000, 200

# What labels are called, which are not looked at where nothing is measured.
_LABELS = ("y", "labels", "label", "targets", "target")


class Dataset:
    """A data set by kind and path: ``digits`` (embedded) or ``KIND:PATH``.

    Parameters
    ----------
    spec : str
        Kinds: mnist, fashion-mnist, cifar10, cifar100, npz, npy, csv, safetensors, images, text, sst2.
    normalize : str, optional
        Normalisation in place of the data set's own: none, mnist, cifar10, imagenet, or MEAN/STD.
    image_size : int, optional
        Scale the middle square of each image of ``images:DIR`` to so many pixels on a side.
    partition, part, partition_seed
        One part of the data set: ``iid:K``, ``labels:K``, ``split:SHARE``, ``dirichlet:ALPHA,K``, .., which one, and the
        seed of the partition.
    pixel_order : str, optional
        Seed of an order that the pixels of all samples are put into, ``"0"`` for their own; with several (``"0,1"``)
        all samples in one order after the other.
    """

    def __init__(
        self,
        spec: str,
        *,
        normalize: str | None = None,
        image_size: int | None = None,
        partition: str | None = None,
        part: int | None = None,
        partition_seed: int = 0,
        pixel_order: str | None = None,
    ) -> None:
        options = {
            "normalize": normalize,
            "image-size": image_size,
            "partition": partition,
            "part": part,
            "partition-seed": partition_seed,
            "pixel-order": pixel_order,
        }
        self.spec = spec
        self._data = _otfuse.Data.open(spec, json.dumps(options))

    def arrays(self, split: Literal["train", "test"] = "train", limit: int | None = None) -> tuple[Any, Any]:
        """The samples of a split as networks are given them, and what is to be said of them.

        Returns
        -------
        x : array of shape (samples, ..), float32
            Normalised; tokens are their ids.
        y : array of int64 or float32, or None
            Classes (-100 where a place has none), or numbers to be met.
        """
        samples = self._data.samples(Run(), split, limit)
        x, y = samples.array(), samples.targets()
        return (None if x is None else of_named(x)), (None if y is None else of_named(y))

    def __repr__(self) -> str:
        return f"Dataset({self.spec!r})"


def arrays_of(inputs: Any, names: Sequence[str]) -> dict[str, Any]:
    """One batch by the names of a network's inputs."""
    if isinstance(inputs, Mapping):
        return {str(name): value for name, value in inputs.items()}
    given = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    if len(given) != len(names):
        raise InputError(f"expected {len(names)} inputs, {', '.join(names)}, found {len(given)}", "give a dict by name")
    return dict(zip(names, given, strict=True))


def unlabelled(given: Any, run: Run, most: int) -> tuple[_otfuse.Samples | None, _otfuse.Data | None]:
    """Samples to match neurons and fit layers on: samples in memory, or a data set. Of what is iterated over no more than
    ``most`` samples are taken.
    """
    if given is None:
        return None, None
    if isinstance(given, str):
        given = Dataset(given)
    if isinstance(given, Dataset):
        return None, given._data
    arrays = {name: value for name, value in _arrays(given, most).items() if name not in _LABELS}
    if not arrays:
        raise InputError("`samples`: expected samples, found labels alone", "call the samples as the network's inputs, or x")
    return _otfuse.Samples.of(run, "the arrays given", named(arrays)), None


def samples_in_memory(given: Any, most: int) -> Any:
    """Unlabelled samples that are used several times: what is iterated over is read once, a data set stays one."""
    if given is None or isinstance(given, Dataset):
        return given
    return {name: value for name, value in _arrays(given, most).items() if name not in _LABELS}


def labelled(given: Any, run: Run) -> _otfuse.Data:
    """Samples with labels or numbers to be met: ``(x, y)``, a dict with ``y``, a loader of pairs, a data set."""
    if isinstance(given, str):
        given = Dataset(given)
    if isinstance(given, Dataset):
        return given._data
    if given is None:
        raise InputError("`data` is missing", 'give (x, y), a DataLoader of such pairs, or "digits", "cifar10:DIR", ..')
    if isinstance(given, tuple) and len(given) == 2 and not isinstance(given[0], Mapping):
        arrays = {"x": given[0], "y": given[1]}
    else:
        arrays = _arrays(given, None, with_labels=True)
        arrays = {("y" if name in _LABELS else name): value for name, value in arrays.items()}
    samples = _otfuse.Samples.of(run, "the arrays given", named(arrays))
    return _otfuse.Data.of(samples, samples)


def _is_array(value: Any) -> bool:
    return is_tensor(value) or hasattr(value, "__array_interface__")


def _arrays(given: Any, most: int | None, with_labels: bool = False) -> dict[str, Any]:
    if _is_array(given):
        return {"x": given}
    if isinstance(given, Mapping):
        return {str(name): value for name, value in given.items()}
    if hasattr(given, "column_names") and hasattr(given, "__getitem__"):
        return _columns(given, most)
    if isinstance(given, (bytes, int, float)) or not (isinstance(given, Iterable) or hasattr(given, "__getitem__")):
        hint = "give an array, a dict by argument name, a DataLoader or another iterable of batches"
        raise InputError(f"`samples`: expected samples, found {type(given).__name__}", hint)
    return _joined(_batches(given), most, with_labels)


def _columns(given: Any, most: int | None) -> dict[str, Any]:
    """The columns of a data set of Hugging Face that hold numbers."""
    import numpy as np

    rows = given[: len(given) if most is None else most]
    found = {}
    for name, column in rows.items():
        try:
            array = column if _is_array(column) else np.asarray(column)
        except ValueError:
            hint = "pad the tokens to one length: tokenizer(.., padding='max_length', truncation=True)"
            raise InputError(f"`samples`: the samples of '{name}' have unequal lengths", hint) from None
        if is_tensor(array) or array.dtype.kind in "biuf":
            found[name] = array
    return found


def _batches(given: Any) -> Iterator[Any]:
    """Batches of an iterable; the single samples of a data set of torch's get an axis in front."""
    mapped = any(of.__module__.startswith("torch.utils.data") and of.__name__ == "Dataset" for of in type(given).__mro__)
    if not mapped:
        batches: Iterator[Any] = iter(given)
        return batches
    return (_batched(given[at]) for at in range(len(given)))


def _batched(sample: Any) -> Any:
    import numpy as np

    if isinstance(sample, Mapping):
        return {name: _batched(value) for name, value in sample.items()}
    if isinstance(sample, (tuple, list)):
        return [_batched(value) for value in sample]
    return sample[None] if is_tensor(sample) else np.asarray(sample)[None]


def _joined(batches: Iterable[Any], most: int | None, with_labels: bool) -> dict[str, Any]:
    import numpy as np

    parts: dict[str, list[Any]] = {}
    count = 0
    for batch in batches:
        if isinstance(batch, (tuple, list)):
            if not batch:
                raise InputError("`samples`: a batch is empty", "leave it out")
            batch = {"x": batch[0], "y": batch[1]} if with_labels and len(batch) > 1 else batch[0]
        entries = dict(batch) if isinstance(batch, Mapping) else {"x": batch}
        length = 0
        for name, value in entries.items():
            if not with_labels and name in _LABELS:
                continue
            array = value.detach().cpu().numpy() if is_tensor(value) else np.asarray(value)
            if array.ndim == 0:
                hint = "each batch is an array whose first axis counts samples"
                raise InputError("`samples`: a batch has no axis of samples", hint)
            parts.setdefault(str(name), []).append(array)
            length = max(length, len(array))
        count += length
        if most is not None and count >= most:
            break
    if not count:
        raise InputError("`samples`: there are no samples", "the iterable is empty, or was consumed before")
    try:
        joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    except ValueError as error:
        hint = "all batches have samples of one shape; pad tokens to one length"
        raise InputError(f"`samples`: batches of unequal shapes: {error}", hint) from None
    return {name: array if most is None else array[:most] for name, array in joined.items()}
