"""Merges in mergekit's format: what the command does, the package does, to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import otfuse
import pytest
from conftest import command, perceptron

TIES = {
    "merge_method": "ties",
    "base_model": "b.onnx",
    "models": [{"model": "a.onnx", "parameters": {"weight": 0.5, "density": 0.5}}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two networks, a.onnx and b.onnx."""
    for seed, name in enumerate(("a.onnx", "b.onnx")):
        perceptron(tmp_path / name, seed=seed)
    return tmp_path


def test_a_file_gives_what_the_command_gives(folder: Path) -> None:
    config = folder / "config.yml"
    config.write_text(json.dumps(TIES))
    done = command("fuse", config, "-o", folder / "typed.onnx", "--seed", 3, "--json")
    assert done.returncode == 0, done.stderr
    report = otfuse.merge(config, folder / "called.onnx", seed=3)
    assert isinstance(report, otfuse.MergeReport)
    assert (folder / "typed.onnx").read_bytes() == (folder / "called.onnx").read_bytes()
    found, expected = report.to_dict(), json.loads(done.stdout)
    for key in set(expected) - {"output", "seconds"}:
        assert found[key] == expected[key], key
    assert report.output == str(folder / "called.onnx")


def test_texts_and_dicts_are_relative_to_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    config = Path("config.yml")
    config.write_text(json.dumps(TIES))
    otfuse.merge("config.yml", "of_file.onnx")
    otfuse.merge(json.dumps(TIES), "of_text.onnx")
    otfuse.merge(TIES, "of_dict.onnx")
    steps = [
        {**TIES, "name": "first"},
        {"merge_method": "linear", "models": [{"model": "first"}, {"model": Path("a.onnx")}]},
    ]
    report = otfuse.merge(steps, "of_steps.onnx")
    assert report.method == "linear"
    expected = Path("of_file.onnx").read_bytes()
    assert Path("of_text.onnx").read_bytes() == Path("of_dict.onnx").read_bytes() == expected


def test_nothing_is_written_without_an_output(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    assert otfuse.merge(TIES).method == "ties"
    aligned = {**TIES, "models": [*TIES["models"], {"model": "b.onnx"}], "alignment": {"effort": "quick"}}
    assert otfuse.merge(aligned).anchor
    assert sorted(folder.iterdir()) == before


def test_with_an_alignment_it_is_a_fusion(folder: Path) -> None:
    aligned = {**TIES, "models": [*TIES["models"], {"model": "b.onnx"}], "alignment": {"effort": "quick"}}
    config = folder / "config.yml"
    config.write_text(json.dumps(aligned))
    done = command("fuse", config, "-o", folder / "typed.onnx")
    assert done.returncode == 0, done.stderr
    report = otfuse.merge(config, folder / "called.onnx")
    assert isinstance(report, otfuse.FuseReport) and report.groups
    networks = [folder / "a.onnx", folder / "b.onnx"]
    told = {"models": [{"weight": 0.5, "density": 0.5}, {}]}
    fused = otfuse.fuse(networks, effort="quick", merge="ties", base=1, parameters=told)
    fused.save(folder / "fused.onnx")
    expected = (folder / "typed.onnx").read_bytes()
    assert (folder / "called.onnx").read_bytes() == (folder / "fused.onnx").read_bytes() == expected
    of_each = otfuse.fuse(networks, effort="quick", merge="ties", base=1, parameters=told["models"])
    assert of_each.onnx() == fused.onnx()
    of_all = otfuse.fuse(networks, effort="quick", merge="ties", parameters={"weight": 0.5, "density": 0.5})
    assert of_all.onnx() == fused.onnx()


@pytest.mark.parametrize("method", ["fisher", "regmean"])
def test_merges_that_know_of_samples_need_some(method: str, folder: Path) -> None:
    networks = [folder / "a.onnx", folder / "b.onnx"]
    with pytest.raises(otfuse.InputError, match="needs samples") as found:
        otfuse.fuse(networks, merge=method)
    assert "samples" in found.value.hint
    data = folder / "x.npz"
    np.savez(data, x=np.random.default_rng(0).standard_normal((40, 6), dtype=np.float32))
    fused = otfuse.fuse(networks, merge=method, samples=f"npz:{data}", repair="none")
    config = {"merge_method": method, "models": [{"model": str(path)} for path in networks], "alignment": {"repair": "none"}}
    otfuse.merge(config, folder / "of_file.onnx", samples=f"npz:{data}")
    assert (folder / "of_file.onnx").read_bytes() == fused.onnx()


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        ({"merge_method": "tise"}, {}, "tise"),
        ({"dtpe": "float16"}, {}, "dtpe"),
        ({"base_model": "none.onnx"}, {}, "none.onnx"),
        ({}, {"samples": "digits"}, "alignment"),
        ({"parameters": {"lambda": object()}}, {}, "object"),
    ],
)
def test_what_is_wrong_is_named(
    change: dict[str, object],
    options: dict[str, object],
    expected: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(otfuse.InputError, match=expected) as found:
        otfuse.merge({**TIES, **change}, "out.onnx", **options)
    assert found.value.hint and not (folder / "out.onnx").exists()
    with pytest.raises(otfuse.InputError):
        otfuse.merge("none.yml")
    with pytest.raises(otfuse.InputError, match="int"):
        otfuse.merge(3)
