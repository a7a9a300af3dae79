"""Fusions as tasks of a real local Ray with two workers. Skipped where there is no Ray."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import otfuse
import pytest

ray = pytest.importorskip("ray", reason="tasks take Ray")
pytest.importorskip("onnx", reason="networks are made with onnx")

import otfuse.ray as spread

from conftest import perceptron

X = np.random.default_rng(9).standard_normal((60, 6)).astype(np.float32)
Y = np.random.default_rng(8).integers(0, 3, 60)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    assert not ray.is_initialized()


def networks(folder: Path, widths: tuple[int, ...] = (12, 10, 12, 9)) -> list[Path]:
    return [perceptron(folder / f"{at}.onnx", width, seed=at) for at, width in enumerate(widths)]


def locally(models: list, **options: object) -> otfuse.Fused:
    """With what a spread fusion says where nothing is said."""
    count = len(models)
    said = {"anchor": count - 1, "weights": [1 / count] * count, **options}
    if "preset" not in said:
        said.setdefault("consensus", "anchor")
    if "samples" not in said:
        said.setdefault("repair", "none" if "preset" in said else "data-free")
    if said.get("repair", "auto") in ("none", "data-free"):
        said["symmetry"] = "permutations"
        if "samples" not in said:
            said["samples_from"] = "none"
    return otfuse.fuse(models, **said)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weights": [0.4, 0.3, 0.2, 0.1], "anchor": 1, "repair": "none"},
        {"preset": "git-rebasin", "seed": 3},
        {"samples": X, "repair": "none"},
        {"samples": X},
    ],
    ids=["by weights", "weighted", "preset", "activations", "fitted"],
)
def test_tasks_give_the_bytes_of_the_local_fusion(tmp_path: Path, options: dict) -> None:
    models = networks(tmp_path)
    events = []
    found = spread.fuse(models, observer=events.append, **options)
    assert found.onnx() == locally(models, **options).onnx()
    assert events[-1].done == events[-1].total == (1 if options == {"samples": X} else 3)
    if len(events) == 3:
        assert [entry["model"] for entry in found.alignment] == [at for at in range(4) if at != options.get("anchor", 3)]
    found.save(tmp_path / "fused.onnx")
    assert (tmp_path / "fused.onnx").exists()


def test_references_and_dicts_of_arrays(tmp_path: Path) -> None:
    paths = networks(tmp_path, (12, 12, 12))
    states = [state(path) for path in paths]
    expected = locally(paths).state_dict()
    for models in ([ray.put(one) for one in states], states, [path.read_bytes() for path in paths]):
        found = spread.fuse(models, model=None if isinstance(models[0], bytes) else paths[0])
        assert all((found.state_dict()[name] == array).all() for name, array in expected.items())


def state(path: Path) -> dict[str, np.ndarray]:
    import onnx

    return {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


def test_modules_come_back_as_modules() -> None:
    torch = pytest.importorskip("torch", reason="modules take torch")
    nn = torch.nn

    def net(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))

    torch.manual_seed(0)
    nets = [net(12), net(10), net(12)]
    found = spread.fuse(nets, inputs=torch.ones(2, 6))
    expected = locally(nets, inputs=torch.ones(2, 6))
    assert type(found.module) is nn.Sequential
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor, rtol=0, atol=0)


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    models = [perceptron(tmp_path / f"{at}.onnx", 1200, seed=at) for at in range(6)]
    killed: list[int] = []
    is_over = threading.Event()

    def kill() -> None:
        while not killed and not is_over.wait(0.001):
            for process in _workers():
                os.kill(process, signal.SIGKILL)
                killed.append(process)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        found = spread.fuse(models)
    finally:
        is_over.set()
        killer.join()
    assert found.onnx() == locally(models).onnx()
    if not killed:
        pytest.skip("all tasks were done before a worker was found to kill")


def _workers() -> list[int]:
    """Processes of this cluster that run a task."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if words.startswith(b"ray::_align"):
            found.append(int(folder.name))
    return found


def test_errors_of_tasks_are_the_librarys(tmp_path: Path) -> None:
    models = networks(tmp_path)
    with pytest.raises(otfuse.InputError, match=r"nowhere\.onnx"):
        spread.fuse([tmp_path / "nowhere.onnx", *models])
    with pytest.raises(otfuse.InputError, match="did you mean repair"):
        spread.fuse(models, repare="none")
    with pytest.raises(otfuse.InputError, match="counted from 0"):
        spread.fuse(models, anchor=9)
    with pytest.raises(otfuse.InputError, match="several networks"):
        spread.fuse(models[:1])
    with pytest.raises(otfuse.InputError, match="not kept"):
        spread.fuse(models).save(tmp_path / "x.onnx", alignment=tmp_path / "plan.json")


def test_networks_are_measured_as_locally(tmp_path: Path) -> None:
    models = networks(tmp_path)
    found, expected = spread.evaluate(models, (X, Y)), otfuse.evaluate(models, (X, Y))
    assert [(one.accuracy, one.loss) for one in found.models] == [(one.accuracy, one.loss) for one in expected.models]


def test_weights_are_searched(tmp_path: Path) -> None:
    models = networks(tmp_path)[:2]
    weights = [[0.5, 0.5], [0.9, 0.1]]
    found = spread.search(models, (X, Y), weights, split="test")
    assert [one["weights"] for one in found] == weights
    for one in found:
        fused = locally(models, weights=one["weights"])
        assert one["loss"] == pytest.approx(fused.evaluate((X, Y)).models[0].loss)
    with pytest.raises(otfuse.InputError, match="3 weights for 2"):
        spread.search(models, (X, Y), [[1, 1, 1]])
