"""How work is done: where, with how much, and who is told of it."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from ._errors import NetworkWarning, words

_LOG = logging.getLogger("otfuse")

# Work that takes no longer shows no progress, in seconds.
_PATIENCE = 1.0


class Event(NamedTuple):
    """What is told of work while it is done.

    Attributes
    ----------
    kind : str
        ``"started"``, ``"advanced"``, ``"finished"`` (of a stage), ``"warning"`` or ``"note"``.
    stage : int
        The number of the stage; several can be under way.
    name : str
        What is done in it.
    done, total : int
        Steps done, and all steps.
    text : str
        How it stands; a warning's or a note's words.
    """

    kind: str
    stage: int
    name: str
    done: int
    total: int
    text: str


# Told of each event, in the thread that asked for the work.
Observer = Callable[[Event], object]


class Run:
    """What the native module asks of a piece of work."""

    def __init__(
        self,
        observer: Observer | None = None,
        *,
        progress: bool | None = None,
        device: str | None = None,
        threads: int | None = None,
        memory: int | None = None,
    ) -> None:
        self.device = device
        self.threads = threads
        self.memory = memory
        self._observer = observer
        self._names: dict[int, str] = {}
        self._bars = _Bars() if _is_shown(progress, observer) else None

    def tell(self, kind: str, stage: int, name: str, done: int, total: int, text: str) -> None:
        """Takes note of an event."""
        if kind == "started":
            self._names[stage] = name
        event = Event(kind, stage, name or self._names.get(stage, ""), done, total, words(text))
        if self._observer is not None:
            self._observer(event)
        if kind == "warning":
            warnings.warn(event.text, NetworkWarning, stacklevel=_depth())
        elif kind == "note":
            _LOG.info(event.text)
        elif self._bars is not None:
            self._bars.show(event)


def _is_shown(progress: bool | None, observer: object) -> bool:
    if progress is not None:
        return progress
    return observer is None and ("ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty()))


def _depth() -> int:
    """How far up the caller of this package is."""
    depth, frame = 1, sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("otfuse"):
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    return depth


class _Bars:
    """A bar of tqdm for each stage that takes long; nothing where there is no tqdm."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._bars: dict[int, Any] = {}

    def show(self, event: Event) -> None:
        bar = self._bars.get(event.stage)
        if event.kind == "finished":
            if bar is not None:
                self._bars.pop(event.stage).close()
            return
        if bar is None:
            if event.kind == "started" or time.monotonic() - self._since < _PATIENCE:
                return
            try:
                from tqdm.auto import tqdm
            except ImportError:
                return
            bar = self._bars[event.stage] = tqdm(desc=event.name, total=event.total, leave=False)
        bar.total = event.total
        bar.update(event.done - bar.n)
