"""Alignment on the client, for servers that may only see sums."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flwr.app import Array, ArrayRecord, MessageType

from .._errors import Error
from .._form import Form, form
from ._aligning import Aligner
from ._round import follows

if TYPE_CHECKING:
    from flwr.app import Context, Message

__all__ = ["AlignMod"]

_LOG = logging.getLogger("flwr")


class AlignMod:
    """A mod of a ClientApp: what the client trained is aligned to the global model that it got, before it is sent.

    The server (``OTFusion(.., client_side=True)``, or Flower's ``FedAvg``) then has to add and to divide only, which secure
    aggregation allows. Mods that clip or mask stand before this one in the list: they see the reply after it.

    Parameters
    ----------
    model, inputs, architecture, threads, **options
        As of :class:`OTFusion`.
    samples : array, .., or callable
        Samples of the client, whose labels are not looked at; a callable is given Flower's context, and is called once.
    arrayrecord_key : str
        Where the arrays are.

    Examples
    --------
    >>> app = ClientApp(mods=[AlignMod(net, inputs=x)])                                 # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        *,
        inputs: Any = None,
        architecture: str | None = None,
        samples: Any = None,
        arrayrecord_key: str = "arrays",
        threads: int | None = 1,
        **options: Any,
    ) -> None:
        self._given = model, inputs, architecture
        self._samples = samples
        self._key = arrayrecord_key
        self._threads = threads
        self._options = options
        self._form: Form | None = None

    def __call__(self, message: Message, context: Context, call_next: Callable[[Message, Context], Message]) -> Message:
        """Passes a message on, and aligns the arrays of the reply."""
        record = message.content.array_records.get(self._key)
        is_training = message.metadata.message_type.split(".")[0] == MessageType.TRAIN
        sent = None if record is None else {key: array.numpy() for key, array in record.items()}
        reply = call_next(message, context)
        if not is_training or not sent or reply.has_error():
            return reply
        trained = reply.content.array_records.get(self._key)
        if trained is None:
            return reply
        if self._form is None:
            self._form = form("global", *self._given)
        one = self._form
        try:
            samples = self._samples(context) if callable(self._samples) else self._samples
            aligner = Aligner(samples, self._options, self._threads)
            arrays = one.typed({key: trained[key].numpy() for key in one.initial})
            to = one.network(one.typed(sent), "the global model")
            network = one.network(arrays, "the client's network")
            fused = aligner.aligned(network, to, one, is_near=follows(arrays, sent, one))
        except (Error, KeyError) as error:
            # The round goes on with what was trained; the server has no way to tell.
            _LOG.warning("the client's network was not aligned: %s", error)
            return reply
        aligned = one.typed(fused.state_dict())
        reply.content[self._key] = ArrayRecord({key: Array(value) for key, value in aligned.items()})
        return reply
