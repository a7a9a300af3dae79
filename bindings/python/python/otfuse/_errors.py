"""Exceptions: the library's one error as classes, with the same fields."""

from __future__ import annotations

import os
import re

__all__ = ["BudgetError", "CancelledError", "Error", "InputError", "NetworkWarning", "RunError"]


class Error(Exception):
    """Why something has no result.

    Attributes
    ----------
    message : str
        What went wrong: names the file, the tensor or node, what was expected and found.
    hint : str or None
        What can be done about it.
    file, node, tensor : str or None
        The file, the node of the network and the tensor to blame, where one is.
    kind : str
        ``"input"``, ``"run"``, ``"budget"`` or ``"cancelled"``.
    """

    kind = "run"

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        file: str | os.PathLike[str] | None = None,
        node: str | None = None,
        tensor: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.file = None if file is None else os.fspath(file)
        self.node = node
        self.tensor = tensor

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.hint, self.file, self.node, self.tensor)


class InputError(Error, ValueError):
    """Bad usage or input: a file, an option, samples that do not fit."""

    kind = "input"


class RunError(Error, RuntimeError):
    """A check that failed, or a run that could not be finished for no fault of the input."""

    kind = "run"


class BudgetError(Error, RuntimeError):
    """More was needed than was allowed."""

    kind = "budget"


class CancelledError(Error, RuntimeError):
    """The work was cancelled."""

    kind = "cancelled"


class NetworkWarning(UserWarning):
    """Something that the user should know of networks, samples or results, without being an error."""


# What a traceback and a pickle call them.
for _public in (Error, InputError, RunError, BudgetError, CancelledError, NetworkWarning):
    _public.__module__ = "otfuse"

_CLASSES: dict[str, type[Error]] = {of.kind: of for of in (InputError, RunError, BudgetError, CancelledError)}

# What the command line says in words of its own.
_WORDS = (
    (re.compile(r"`otfuse finetune`( and `otfuse distill`)? goe?s? on from it"), "training can go on from it"),
    (re.compile(r"`otfuse fuse --help`"), "help(otfuse.fuse)"),
    (re.compile(r"`otfuse align --save-alignment`"), "fused.save(.., alignment=FILE)"),
    (re.compile(r"`otfuse (inspect|verify)( [^`]*)?`"), r"otfuse.\1(model)"),
    (re.compile(r"`otfuse eval( [^`]*)?`"), "otfuse.evaluate"),
    (re.compile(r"`otfuse (fuse|align|apply|compare|interpolate|prune|run)( [^`]*)?`"), r"otfuse.\1"),
    (re.compile(r"`otfuse merge-lora( [^`]*)?`"), "otfuse.merge_lora(base, adapter, path)"),
    (re.compile(r"--arch (FILE\.onnx)"), r'architecture="\1"'),
    (re.compile(r"--arch ([\w.-]+)"), r'architecture="\1"'),
    (re.compile(r"--arch\b"), "architecture="),
    (re.compile(r"--data (digits\b|[\w-]+:[\w.]+)"), r'samples="\1"'),
    (re.compile(r"`data` (digits\b|[\w-]+:[\w.]+)"), r'samples="\1"'),
    (re.compile(r"`data`|--data\b"), "`samples`"),
    (re.compile(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)"), lambda found: f"`{found[1].replace('-', '_')}`"),
)


def words(text: str) -> str:
    """Message or hint as it is said to someone who writes Python."""
    for pattern, said in _WORDS:
        text = pattern.sub(said, text)
    return text


def of(kind: str, message: str, hint: str | None, file: str | None, node: str | None, tensor: str | None) -> Error:
    """The exception for an error of the library."""
    return _CLASSES[kind](words(message), None if hint is None else words(hint), file, node, tensor)
