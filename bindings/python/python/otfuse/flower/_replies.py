"""What clients send, checked before any of it is used."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._form import Arrays, Form

if TYPE_CHECKING:
    from flwr.app import Message

__all__ = ["LOG", "LeftOut", "Reply", "screened"]

LOG = logging.getLogger("flwr")

# An array of zeros has the norm of one whose entries are this small, where norms are compared.
_TINY = 1e-12


@dataclass(frozen=True)
class LeftOut:
    """A client that had no part in a round, and why.

    Attributes
    ----------
    node : int
        Flower's number of the client.
    reason : str
        ``error``, ``arrays``, ``examples``, ``keys``, ``shapes``, ``types``, ``unreadable``, ``not-finite``, ``huge``,
        ``refused`` or ``far`` (not selected by Krum).
    detail : str
        The reason in words: which tensor, what was expected and found.
    """

    node: int
    reason: str
    detail: str


class Reply:
    """A client's reply that can be used; arrays are decoded when they are asked for, and not kept."""

    def __init__(self, node: int, record: Any, form: Form, examples: float, content: Any) -> None:
        self.node = node
        self.form = form
        self.examples = examples
        self.content = content
        self.norm = 0.0
        self._record = record

    def arrays(self) -> Arrays:
        """The client's arrays by name, in the form's order and types."""
        return self.form.typed({key: self._record[key].numpy() for key in self.form.initial})

    def importance(self, key: str) -> Arrays | None:
        """What the client says of the importance of its weights or neurons, with a factor for every weight.

        An entry has the shape of the tensor of its name (the diagonal of the Fisher matrix), or is as long as the tensor's
        first axis (a count for each neuron); what is not said counts 1.
        """
        import numpy as np

        record = self.content.array_records.get(key)
        if not record:
            return None
        found = {}
        for name, like in self.form.initial.items():
            factor = record[name].numpy() if name in record else None
            if factor is None or not np.isfinite(factor).all() or (factor < 0).any():
                factor = np.ones(like.shape, np.float32)
            elif factor.shape != like.shape:
                if factor.ndim != 1 or not like.ndim or factor.shape[0] != like.shape[0]:
                    factor = np.ones(like.shape[:1] or (1,), np.float32)
                factor = np.broadcast_to(factor.reshape(-1, *[1] * (like.ndim - 1)), like.shape or (1,)).reshape(like.shape)
            found[name] = np.ascontiguousarray(factor, np.float32)
        return found


def screened(
    messages: Iterable[Message],
    forms: Mapping[str, Form],
    *,
    arrays_key: str,
    examples_key: str,
    form_key: str,
    outlier: float,
) -> tuple[list[Reply], list[LeftOut]]:
    """The replies that can be used, in the order of their nodes, and those that cannot.

    Parameters
    ----------
    outlier : float
        A client whose arrays' norm is more than so many times the median's of its form is left out, with three clients
        and more.
    """
    kept: list[Reply] = []
    left: list[LeftOut] = []
    for message in sorted(messages, key=lambda message: int(message.metadata.src_node_id)):
        node = int(message.metadata.src_node_id)
        if message.has_error():
            left.append(LeftOut(node, "error", str(message.error.reason)))
            continue
        found = _reply(node, message.content, forms, arrays_key, examples_key, form_key)
        if isinstance(found, LeftOut):
            left.append(found)
        else:
            kept.append(found)
    sizes = {reply.form.name: _median([one.norm for one in kept if one.form is reply.form]) for reply in kept}
    counts = {name: sum(reply.form.name == name for reply in kept) for name in sizes}
    usable = []
    for reply in kept:
        usual = max(sizes[reply.form.name], _TINY)
        if counts[reply.form.name] > 2 and reply.norm > outlier * usual:
            detail = f"the arrays' norm is {reply.norm:.3g}, that of the clients in the middle {usual:.3g}"
            left.append(LeftOut(reply.node, "huge", detail))
        else:
            usable.append(reply)
    return usable, left


def _reply(node: int, content: Any, forms: Mapping[str, Form], arrays_key: str, examples_key: str, form_key: str) -> Any:
    records = content.array_records
    record = records.get(arrays_key)
    if record is None and len(records) == 1:
        record = next(iter(records.values()))
    if not record:
        return LeftOut(node, "arrays", f"no arrays under '{arrays_key}'")
    examples = _examples(content, examples_key)
    if not isinstance(examples, float):
        return LeftOut(node, "examples", examples)
    form = _form(content, record, forms, form_key)
    if isinstance(form, tuple):
        return LeftOut(node, *form)
    reply = Reply(node, record, form, examples, content)
    wrong = _contents(reply, record)
    return reply if wrong is None else LeftOut(node, *wrong)


def _examples(content: Any, key: str) -> float | str:
    values = [metrics[key] for metrics in content.metric_records.values() if key in metrics]
    if not values:
        return f"no metric '{key}'"
    if isinstance(values[0], list) or not math.isfinite(values[0]) or values[0] <= 0:
        return f"'{key}' is {values[0]}; expected a number above 0"
    return float(values[0])


def _form(content: Any, record: Any, forms: Mapping[str, Form], key: str) -> Form | tuple[str, str]:
    """The form that a record names, else the one whose tensors have these names and shapes."""
    said = next((config[key] for config in content.config_records.values() if key in config), None)
    if said is not None and said not in forms:
        return "shapes", f"'{key}' is {said!r}; known are {', '.join(forms)}"
    candidates: Sequence[Form] = list(forms.values()) if said is None else [forms[str(said)]]
    wrong = [_misfit(record, form) for form in candidates]
    for form, why in zip(candidates, wrong, strict=True):
        if why is None:
            return form
    named = [why for why in wrong if why is not None and why[0] == "shapes"]
    first = (named or wrong)[0]
    assert first is not None
    return first


def _misfit(record: Any, form: Form) -> tuple[str, str] | None:
    missing = [name for name in form.initial if name not in record]
    unknown = [name for name in record if name not in form.initial]
    if missing or unknown:
        return "keys", f"missing {missing[:3]}, unknown {unknown[:3]}"
    for name, like in form.initial.items():
        if tuple(record[name].shape) != like.shape:
            return "shapes", f"'{name}' has the shape {tuple(record[name].shape)}, expected {like.shape}"
    return None


def _contents(reply: Reply, record: Any) -> tuple[str, str] | None:
    """What is wrong with the numbers; the norm of all floats is kept."""
    import numpy as np

    total = 0.0
    for name, like in reply.form.initial.items():
        try:
            array = record[name].numpy()
        except Exception as error:
            return "unreadable", f"'{name}': {error}"
        if array.shape != like.shape:
            return "shapes", f"'{name}' has the shape {array.shape}, expected {like.shape}"
        if array.dtype.kind not in "biuf" or (like.dtype.kind in "biu") != (array.dtype.kind in "biu"):
            return "types", f"'{name}' is of {array.dtype}, expected {like.dtype}"
        if array.dtype.kind == "f":
            # Beyond the type that the network has is as bad as infinite.
            with np.errstate(over="ignore", invalid="ignore"):
                values = array.astype(like.dtype, copy=False)
            if not np.isfinite(values).all():
                return "not-finite", f"'{name}' has values that are not finite"
            total += float(np.square(values, dtype=np.float64).sum())
    reply.norm = math.sqrt(total)
    return None


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
