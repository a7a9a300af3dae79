"""The strategy."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from .._errors import InputError
from .._form import Arrays, form
from ._aligning import Aligner
from ._replies import LOG, LeftOut, Reply, screened
from ._round import Round
from ._state import State

if TYPE_CHECKING:
    from flwr.app import Message
    from flwr.serverapp import Grid
    from flwr.serverapp.strategy import Result

__all__ = ["OTFusion"]

Combine = Literal["mean", "median", "trimmed-mean", "krum"]
_COMBINATIONS = ("mean", "median", "trimmed-mean", "krum")
_MAIN = "global"


class OTFusion(FedAvg):  # type: ignore[misc]
    """Federated averaging of networks whose neurons are brought into one order first.

    Clients that begin from weights of their own (or have other widths) are fused by :func:`otfuse.fuse`, with samples on the
    server fitted layer by layer. Clients that were trained from the global model are aligned to it, each neuron beginning
    where it is, and averaged by their numbers of examples. Which of both a client is, is read off its arrays.

    Parameters
    ----------
    model : module, path, ModelProto or bytes
        The network that all clients train; of unequal clients the one that the server keeps, best as wide as the widest.
    inputs
        Of modules: one batch that ``forward`` takes, as in :func:`otfuse.fuse`.
    architecture : str, optional
        Of checkpoints without a graph, as in :func:`otfuse.fuse`.
    samples : array, tensor, dict, loader, Dataset or str, optional
        Unlabelled samples on the server, to match neurons by what they do and to fit layers.
    clients_start : {"common", "own"}
        Whether clients begin from the global model in the first round, or from weights of their own: they are told so by
        ``config["start-from"]``.
    forms : dict of networks by name, optional
        Further forms that clients may have: other widths (and depths, where they can be fused). A client is of the form
        whose names and shapes its arrays have, or that it names by a record: ``ConfigRecord({"form": NAME})``.
    share : float, optional
        How much of the global model is in what a client of another form gets back, the rest being its own: 1 with samples,
        0.5 without.
    combine : {"mean", "median", "trimmed-mean", "krum"}
        How aligned arrays become one.
    trim : float
        The share of the smallest and of the largest values that ``trimmed-mean`` leaves out.
    bad_clients, selected_clients : int, optional
        How many clients may be bad, and how many ``krum`` selects: three in ten, and all others.
    norm_bound : float, optional
        Clients' steps that are longer than so many times the one in the middle are shortened to that.
    outlier : float
        Clients whose arrays have a norm of more than so many times the one in the middle are left out.
    align_every : int
        Align in every so many rounds, beginning with the first; in between the last plans stay.
    warm_start : bool
        Clients trained from the global model are aligned from where they are; otherwise from nothing.
    state : path, optional
        A folder from which a server that is started again goes on.
    client_side : bool
        Clients align themselves (:class:`AlignMod`), and what comes is summed up as it is, as secure aggregation has it.
    form_key, importance_key : str
        Under which name clients say their form, and send an ArrayRecord of importance (the Fisher information's diagonal, or
        counts for each neuron).
    threads : int, optional
        Threads of the library; all by default.
    **options
        Those of Flower's ``FedAvg`` (``fraction_train``, ..) and of :func:`otfuse.fuse` (``repair``, ``mode``, ..).

    Attributes
    ----------
    left_out : dict of int to list of LeftOut
        Who had no part in which round, and why. The metrics of a round have the same as numbers.

    References
    ----------
    Singh and Jaggi, Model Fusion via Optimal Transport, NeurIPS 2020.
    McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017.
    """

    def __init__(
        self,
        model: Any,
        *,
        inputs: Any = None,
        architecture: str | None = None,
        samples: Any = None,
        clients_start: Literal["common", "own"] = "common",
        forms: Mapping[str, Any] | None = None,
        share: float | None = None,
        combine: Combine = "mean",
        trim: float = 0.2,
        bad_clients: int | None = None,
        selected_clients: int | None = None,
        norm_bound: float | None = None,
        outlier: float = 10.0,
        align_every: int = 1,
        warm_start: bool = True,
        state: str | os.PathLike[str] | None = None,
        client_side: bool = False,
        form_key: str = "form",
        importance_key: str = "importance",
        threads: int | None = None,
        **options: Any,
    ) -> None:
        known = set(inspect.signature(FedAvg.__init__).parameters) - {"self"}
        super().__init__(**{name: options.pop(name) for name in list(options) if name in known})
        _check("clients_start", clients_start, ("common", "own"))
        _check("combine", combine, _COMBINATIONS)
        if not 0 <= trim < 0.5:
            raise InputError(f"`trim` is {trim}", "give a share from 0 to below 0.5")
        if align_every < 1:
            raise InputError(f"`align_every` is {align_every}", "1 aligns in every round")
        if share is not None and not 0 <= share <= 1:
            raise InputError(f"`share` is {share}", "give a share from 0 to 1")
        self._form = form(_MAIN, model, inputs, architecture)
        self._forms = {_MAIN: self._form}
        for name, other in (forms or {}).items():
            self._forms[name] = form(name, other, inputs, architecture)
        self._aligner = Aligner(samples, options, threads)
        self._aligner.check(self._form)
        self._clients_start = clients_start
        self._share = share if share is not None else (1.0 if samples is not None else 0.5)
        self._rules = {"combine": combine, "trim": trim, "bad": bad_clients, "select": selected_clients, "bound": norm_bound}
        self._outlier = outlier
        self._align_every = align_every
        self._warm_start = warm_start
        self._state = None if state is None else State(state)
        self._client_side = client_side
        self._form_key = form_key
        self._importance_key = importance_key
        self._done = 0
        self._sent: Arrays | None = None
        self._own: dict[int, Arrays] = {}
        self._form_of: dict[int, str] = {}
        self._plans: Any = None
        self._fresh: set[int] = set()
        self.left_out: dict[int, list[LeftOut]] = {}

    def summary(self) -> None:
        """Logs the settings."""
        LOG.info("\t├──> OTFusion settings:")
        LOG.info("\t│\t├── forms: %s", {name: one.parameters for name, one in self._forms.items()})
        LOG.info("\t│\t├── clients start: %s | samples: %s", self._clients_start, self._aligner.samples is not None)
        LOG.info("\t│\t└── combination: %s", "on clients" if self._client_side else self._rules["combine"])
        super().summary()

    def initial_arrays(self) -> ArrayRecord:
        """The weights that the network was given with, for :meth:`start`."""
        return _record(self._form.initial)

    def arrays_of(self, node: int) -> Arrays | None:
        """What a client gets next, in its own form, by the number of its node; None where it is not known yet."""
        return self._sent_to(node)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Runs the rounds, as Flower's strategies do; with a state, those that are left, by their own numbers."""
        held = None if self._state is None else self._state.read()
        if held is not None:
            self._done, arrays, self._form_of, self._own, self._plans = held
            initial_arrays = _record(self._form.typed(arrays))
            LOG.info("going on after round %d", self._done)
        done, self._fresh = self._done, set(self._own)
        measured = None if evaluate_fn is None else lambda at, arrays: evaluate_fn(at + done, arrays)
        left = max(0, num_rounds - done)
        result = super().start(grid, initial_arrays, left, timeout, train_config, evaluate_config, measured)
        if not result.arrays:
            result.arrays = initial_arrays
        for name in ("train_metrics_clientapp", "evaluate_metrics_clientapp", "evaluate_metrics_serverapp"):
            setattr(result, name, {at + done: metrics for at, metrics in getattr(result, name).items()})
        self._done = 0
        return result

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        """The global model to each client, in the client's own form."""
        self._sent = {key: array.numpy() for key, array in arrays.items()}
        at = server_round + self._done
        is_own = self._clients_start == "own" and at == 1
        config["start-from"] = "own" if is_own else "global"
        messages = list(super().configure_train(at, arrays, config, grid))
        return self._in_own_form(messages, config)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The global model to each client, in the client's own form."""
        messages = list(super().configure_evaluate(server_round + self._done, arrays, config, grid))
        if len(self._forms) == 1:
            return messages
        self._sent = {key: array.numpy() for key, array in arrays.items()}
        known = [message for message in messages if int(message.metadata.dst_node_id) in self._form_of]
        return self._in_own_form(known, config)

    def _in_own_form(self, messages: list[Message], config: ConfigRecord) -> list[Message]:
        for message in messages if len(self._forms) > 1 else ():
            node = int(message.metadata.dst_node_id)
            name = self._form_of.get(node)
            if name == _MAIN:
                continue
            own = ConfigRecord(dict(config))
            if name is None:
                # Its form is known from its first reply.
                own["start-from"] = "own"
                arrays = ArrayRecord()
            else:
                if node not in self._fresh:
                    self._project(node)
                arrays = _record(self._own[node])
            message.content = RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: own})
        return messages

    def _project(self, node: int) -> None:
        """The global model in a client's own form, in the order of its own neurons."""
        assert self._sent is not None
        one = self._forms[self._form_of[node]]
        networks = [self._form.network(self._sent, "the global model"), one.network(self._own[node], f"client {node}")]
        shares = [max(self._share, 1e-6), max(1 - self._share, 1e-6)]
        fused = self._aligner.fused(networks, shares, 1, one)
        self._own[node] = one.typed(fused.state_dict())
        self._fresh.add(node)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aligns and combines what the clients sent; what cannot be used is left out, and said."""
        if self._client_side:
            # Masked arrays look like noise until they are summed: nothing is to be checked here.
            found: tuple[ArrayRecord | None, MetricRecord | None] = super().aggregate_train(server_round, replies)
            return found
        began, at = time.monotonic(), server_round + self._done
        messages = list(replies)
        self._check_and_log_replies(messages, is_train=True, validate=False)
        kept, left = screened(
            messages,
            self._forms,
            arrays_key=self.arrayrecord_key,
            examples_key=self.weighted_by_key,
            form_key=self._form_key,
            outlier=self._outlier,
        )
        turn = Round(self._aligner, self._forms, self._rules, self._importance_key, self._sent, self._sent_to)
        is_aligned = (at - 1) % self._align_every == 0 or (self._plans is None and len(self._forms) > 1)
        arrays = turn.run(kept, left, is_aligned, self._warm_start, self._plans)
        for one in left:
            LOG.warning("\t> left out client %d (%s): %s", one.node, one.reason, one.detail)
        self.left_out[at] = left
        kept = [reply for reply in kept if reply.node not in {one.node for one in left}]
        if arrays is not None:
            self._take(at, arrays, kept, turn.plans)
        metrics = self._metrics(kept, left)
        metrics["fuse-seconds"] = time.monotonic() - began
        metrics["clients-own-start"] = turn.own_starts
        return (None if arrays is None else _record(arrays)), metrics

    def _sent_to(self, node: int) -> Arrays | None:
        return self._sent if self._form_of.get(node, _MAIN) == _MAIN else self._own.get(node)

    def _take(self, at: int, arrays: Arrays, kept: list[Reply], plans: Any) -> None:
        """Takes note of a round, and brings each client of another form its own."""
        self._sent, self._plans = arrays, plans if plans is not None else self._plans
        self._fresh = set()
        for reply in kept:
            self._form_of[reply.node] = reply.form.name
            if reply.form is not self._form:
                self._own[reply.node] = reply.arrays()
                self._project(reply.node)
        if self._state is not None:
            self._state.write(at, arrays, self._form_of, self._own, self._plans)

    def _metrics(self, kept: list[Reply], left: list[LeftOut]) -> MetricRecord:
        metrics = self._means([reply.content for reply in kept], self.train_metrics_aggr_fn)
        metrics["clients-kept"] = len(kept)
        metrics["clients-left-out"] = len(left)
        for reason in sorted({one.reason for one in left}):
            metrics[f"left-out-{reason}"] = [one.node for one in left if one.reason == reason]
        return metrics

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Averages the metrics that all usable replies have."""
        valid, _ = self._check_and_log_replies(list(replies), is_train=False, validate=False)
        found = self._means([message.content for message in valid], self.evaluate_metrics_aggr_fn)
        return found or None

    def _means(self, contents: list[RecordDict], average: Callable[[list[RecordDict], str], MetricRecord]) -> MetricRecord:
        """Metrics by the clients' weights: those that all have, as numbers or lists of one length."""
        key = self.weighted_by_key
        found_in: list[Any] = [next(iter(content.metric_records.values()), {}) for content in contents]
        records: list[Any] = [record for record in found_in if not isinstance(record.get(key, []), list) and record[key] > 0]
        if not records:
            return MetricRecord()
        common = [name for name in records[0] if len({_kind(record.get(name)) for record in records}) == 1]
        alike = [RecordDict({"metrics": MetricRecord({name: record[name] for name in common})}) for record in records]
        found = average(alike, key)
        return MetricRecord() if found is None else found


def _kind(value: Any) -> Any:
    return len(value) if isinstance(value, list) else None if value is None else "number"


def _record(arrays: Arrays) -> ArrayRecord:
    import numpy as np

    return ArrayRecord({name: Array(np.ascontiguousarray(array).reshape(array.shape)) for name, array in arrays.items()})


def _check(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"`{name}` is {value!r}", f"it is one of {', '.join(known)}")
