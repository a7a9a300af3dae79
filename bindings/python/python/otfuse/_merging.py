"""Settings of merges: files, texts, and what they say as dicts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from . import _otfuse
from ._errors import InputError

__all__ = ["data_options", "read_settings"]


def read_settings(config: Any) -> _otfuse.Settings:
    """The settings that are given."""
    if isinstance(config, os.PathLike):
        return _otfuse.Settings.open(os.fspath(config))
    if isinstance(config, str):
        # A text has a key; a file's name that has one too is there.
        is_text = not os.path.exists(config) and (": " in config or "\n" in config or config.lstrip().startswith("{"))
        return _otfuse.Settings.of(config) if is_text else _otfuse.Settings.open(config)
    documents = [config] if isinstance(config, Mapping) else list(config) if isinstance(config, (list, tuple)) else []
    if not documents or not all(isinstance(document, Mapping) for document in documents):
        raise InputError(
            f"expected a configuration, found {type(config).__name__}",
            "give a file of YAML, its text, or a dict: {'merge_method': 'linear', 'models': [..]}",
        )
    return _otfuse.Settings.of("\n---\n".join(_yaml(document) for document in documents))


def _yaml(document: Mapping[str, Any]) -> str:
    """A document as JSON, which is YAML."""
    try:
        return json.dumps(dict(document), indent=2, default=_plain, ensure_ascii=False)
    except TypeError as error:
        raise InputError(f"the configuration has no value of YAML: {error}", "give numbers, texts, lists, dicts") from None


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")


def data_options(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a data set, as `Dataset` calls them."""
    return {name.replace("-", "_"): value for name, value in entries.items() if value is not None}
