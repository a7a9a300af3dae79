"""The examples run as they stand."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NEEDS = {"resnets.py": "torchvision", "berts.py": "transformers"}

pytest.importorskip("torch", reason="the examples fuse modules")
pytest.importorskip("onnx", reason="exporting takes onnx")


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.py")))
@pytest.mark.filterwarnings("ignore")
def test_examples(example: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    if example in NEEDS:
        pytest.importorskip(NEEDS[example], reason=f"the example uses {NEEDS[example]}")
    monkeypatch.setattr(sys, "argv", [example])
    runpy.run_path(str(EXAMPLES / example), run_name="__main__")
    assert capsys.readouterr().out
