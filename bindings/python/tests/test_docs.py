"""The guides' code runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDES = Path(__file__).resolve().parents[3] / "docs/python"

pytest.importorskip("torch", reason="the guides fuse modules")
pytest.importorskip("onnx", reason="exporting takes onnx")


@pytest.mark.parametrize("guide", sorted(path.name for path in GUIDES.glob("*.md")))
@pytest.mark.filterwarnings("ignore")
def test_guides(guide: str, tmp_path: Path) -> None:
    text = (GUIDES / guide).read_text(encoding="utf-8").replace("/tmp/", f"{tmp_path}/")
    if "transformers import" in text:
        pytest.importorskip("transformers", reason="the guide is of transformers")
    if "to_pandas" in text:
        pytest.importorskip("pandas", reason="the guide makes tables")
    names: dict[str, object] = {"__name__": "guide"}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(compile(block, guide, "exec"), names)
