"""Results as they are reported."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

__all__ = [
    "Comparison",
    "Evaluation",
    "Figure",
    "Inspection",
    "MergeReport",
    "Paged",
    "Report",
    "Sweep",
    "Verification",
    "Walk",
]


class Report(Mapping[str, Any]):
    """A report: a mapping whose entries are attributes too, with the names that the command's JSON has.

    Examples
    --------
    >>> report = Report({"method": "ot", "settings": {"anchor": 1}})
    >>> report.settings.anchor, report["method"]
    (1, 'ot')
    """

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, key: str) -> Any:
        return _shown(self._entries[key])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            known = ", ".join(self._entries)
            raise AttributeError(f"the report has no {name!r}; it has {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._entries]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={_brief(value)}' for key, value in self._entries.items())})"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain dictionaries, lists, strings and numbers."""
        copy: dict[str, Any] = json.loads(json.dumps(self._entries))
        return copy

    def to_pandas(self, table: str | None = None) -> pandas.DataFrame:
        """A table of it: the list of this name, by default the longest list of records. Takes pandas."""
        import pandas

        lists = {key: value for key, value in self._entries.items() if _is_table(value)}
        if table is None:
            table = max(lists, key=lambda key: len(lists[key]), default=None)
        return pandas.json_normalize(self._entries if table is None else self._entries[table])

    def _page(self) -> str | None:
        return None

    def _repr_html_(self) -> str:
        page = self._page()
        if page is None:
            return f"<pre>{html.escape(json.dumps(self._entries, indent=1))}</pre>"
        return (
            f'<iframe srcdoc="{html.escape(page)}" style="width:100%;height:640px;border:1px solid #ccc" '
            'sandbox="allow-scripts"></iframe>'
        )


class Figure(str):
    """A chart as SVG; in a notebook it shows itself."""

    def _repr_svg_(self) -> str:
        return str(self)


class Paged(Report):
    """A report that is a page too, made when it is asked for."""

    def __init__(self, entries: Mapping[str, Any], page: Callable[[], tuple[str, list[tuple[str, str]]]]) -> None:
        super().__init__(entries)
        self._make = page

    def _page(self) -> str:
        return self.to_html()

    def to_html(self) -> str:
        """The page: one HTML file with charts, tables and all numbers."""
        return self._make()[0]

    def figures(self) -> dict[str, Figure]:
        """The charts of the page by name, as SVG."""
        return {name: Figure(svg) for name, svg in self._make()[1]}


class Comparison(Paged):
    """How alike networks are; see :func:`otfuse.compare`."""


class Walk(Paged):
    """Networks between networks, measured; see :func:`otfuse.interpolate`."""

    def __init__(self, entries: Mapping[str, Any], page: Callable[[], tuple[str, list[tuple[str, str]]]], csv: str) -> None:
        super().__init__(entries, page)
        self._csv = csv

    def to_csv(self) -> str:
        """All points as comma-separated values, all digits."""
        return self._csv


class Sweep(Report):
    """Averages of two networks, measured; see :func:`otfuse.sweep`."""

    def __init__(self, entries: Mapping[str, Any], csv: str) -> None:
        super().__init__(entries)
        self._csv = csv

    def to_csv(self) -> str:
        """All points as comma-separated values, all digits."""
        return self._csv


class MergeReport(Report):
    """Tensors that were merged by name; see :func:`otfuse.merge`."""


class Evaluation(Report):
    """Accuracy and loss of networks; see :func:`otfuse.evaluate`."""


class Verification(Report):
    """The outcome of a proof of a network's neuron groups; see :func:`otfuse.verify`."""

    def __bool__(self) -> bool:
        return bool(self._entries["ok"])


class Inspection(Report):
    """What is known of a network; see :func:`otfuse.inspect`."""

    def __init__(self, entries: Mapping[str, Any], drawing: str, svg: str, dot: str) -> None:
        super().__init__(entries)
        self._drawings = drawing, svg, dot

    def __str__(self) -> str:
        return self._drawings[0]

    def to_svg(self) -> str:
        """The network drawn, boxes coloured by neuron group."""
        return self._drawings[1]

    def to_dot(self) -> str:
        """The drawing for Graphviz."""
        return self._drawings[2]

    def _repr_html_(self) -> str:
        return self._drawings[1]


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return Report(value)
    if isinstance(value, list):
        return [_shown(entry) for entry in value]
    return value


def _brief(value: Any) -> str:
    if isinstance(value, list) and len(value) > 3:
        return f"[{len(value)} entries]"
    if isinstance(value, dict):
        return f"{{{', '.join(list(value)[:6])}}}"
    return repr(value)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)
