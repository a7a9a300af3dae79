"""Networks in files: what the command does, the package does, to the byte."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
import otfuse
import pytest
from conftest import command, interrupted

CASES: dict[str, tuple[list[object], dict[str, object]]] = {
    "plain": ([], {}),
    "paper": (["--preset", "paper"], {"preset": "paper"}),
    "weights": (["--weights", "0.3,0.7", "--anchor", 0], {"weights": [0.3, 0.7], "anchor": 0}),
    "sinkhorn": (["--solver", "sinkhorn", "--epsilon", 0.1], {"solver": "sinkhorn", "epsilon": 0.1}),
    "data": (["--data", "digits", "--samples", 50, "--check", 0], {"samples": "digits", "n_samples": 50, "check": 0}),
    "average": (["--method", "average"], {"method": "average"}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_command_gives_the_same_bytes(case: str, digits: tuple[Path, Path], tmp_path: Path) -> None:
    words, options = CASES[case]
    typed, called = tmp_path / "typed.onnx", tmp_path / "called.onnx"
    done = command("fuse", *digits, "-o", typed, "--json", *words)
    assert done.returncode == 0, done.stderr
    fused = otfuse.fuse(digits, **options)
    fused.save(called)
    assert typed.read_bytes() == called.read_bytes()
    report = json.loads(done.stdout)
    for key in ("method", "settings", "models", "coverage", "groups", "sweeps", "comparison"):
        assert fused.report.to_dict()[key] == report[key], key
    assert fused.report.output == str(called)


def test_arrays_give_what_files_of_them_give(digits: tuple[Path, Path], tmp_path: Path, random: np.random.Generator) -> None:
    x = random.random((40, 64), dtype=np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    of_file = otfuse.fuse(digits, samples=f"npz:{tmp_path / 'x.npz'}").onnx()
    assert otfuse.fuse(digits, samples=x).onnx() == of_file
    assert otfuse.fuse(digits, samples=[x[:25], x[25:]]).onnx() == of_file
    assert otfuse.fuse(digits, samples={"x": x, "y": np.zeros(40, dtype=np.int64)}).onnx() == of_file


def test_no_more_samples_are_taken_than_used(digits: tuple[Path, Path], random: np.random.Generator) -> None:
    taken = []

    def batches():
        while True:
            taken.append(None)
            yield random.random((8, 64), dtype=np.float32)

    otfuse.fuse(digits, samples=batches(), n_samples=20)
    assert len(taken) == 3


def test_networks_in_memory_are_those_of_files(digits: tuple[Path, Path]) -> None:
    onnx = [path.read_bytes() for path in digits]
    assert otfuse.fuse(onnx).onnx() == otfuse.fuse(digits).onnx()
    of_file = otfuse.fuse(digits).report.models[0].sha256
    assert otfuse.fuse(onnx).report.models[0].sha256 == of_file


def test_state_dicts_take_a_graph(digits: tuple[Path, Path], tmp_path: Path) -> None:
    states = [otfuse.fuse([path, path]).state_dict() for path in digits]
    fused = otfuse.fuse(states, model=digits[0])
    expected = otfuse.fuse(digits).state_dict()
    found = fused.state_dict()
    assert list(found) == list(states[0])
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])
    with pytest.raises(otfuse.InputError, match="no graph"):
        otfuse.fuse(states)


def test_networks_are_proved_shown_and_measured(digits: tuple[Path, Path]) -> None:
    proof = otfuse.verify(digits[0])
    assert proof and proof.ok and proof.free_groups == 2
    shown = otfuse.inspect(digits[0])
    assert shown.parameters > 0 and "<svg" in shown._repr_html_() and str(shown)
    found = otfuse.evaluate(list(digits), "digits", ensemble=True, limit=100)
    done = command("eval", *digits, "--data", "digits", "--ensemble", "--limit", 100, "--json")
    assert found.to_dict() == json.loads(done.stdout)
    x = np.zeros((4, 64), dtype=np.float32)
    assert otfuse.evaluate(digits[0], (x, np.array([0, 1, 2, 3]))).models[0].samples == 4


def test_networks_are_run_and_scored_by_any_metric(digits: tuple[Path, Path], random: np.random.Generator) -> None:
    x, y = random.random((40, 64), dtype=np.float32), random.integers(0, 10, 40)
    [scores] = otfuse.run(digits[0], x).values()
    assert scores.shape == (40, 10)

    def share(outputs: np.ndarray, targets: np.ndarray) -> float:
        return float((outputs.argmax(1) == targets).mean())

    found = otfuse.evaluate(list(digits), (x, y), metric=share)
    assert found.models[0].metric == share(scores, y) == found.models[0].accuracy
    data = otfuse.Dataset("digits")
    assert otfuse.evaluate(digits[0], data.arrays("test")).models[0].loss == otfuse.evaluate(digits[0], data).models[0].loss
    found = otfuse.evaluate(digits[0], "digits", limit=50, metric=share)
    assert found.models[0].metric == found.models[0].accuracy


def test_networks_are_pruned_and_averaged_with_weights(digits: tuple[Path, Path], tmp_path: Path) -> None:
    pruned = otfuse.prune(digits[0], amount=0.25)
    pruned.save(tmp_path / "called.onnx")
    done = command("prune", digits[0], "--amount", 0.25, "-o", tmp_path / "typed.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "called.onnx").read_bytes() == (tmp_path / "typed.onnx").read_bytes()
    assert pruned.report.kept_parameters < pruned.report.parameters
    found = otfuse.sweep(digits, "digits", weights=[0.5], limit=50)
    done = command("fuse", *digits, "--sweep", "0.5", "--data", "digits", "--limit", 50, "--json")
    assert found.to_dict() == json.loads(done.stdout), done.stderr
    assert found.to_csv().startswith("weight,")


def test_networks_are_compared_and_walked_between(digits: tuple[Path, Path]) -> None:
    likeness = otfuse.compare(digits, "digits", limit=50, layer_samples=20)
    assert len(likeness.alignments) == 1 and "<html" in likeness.to_html()
    assert all("<svg" in figure for figure in likeness.figures().values()) and likeness.figures()
    walk = otfuse.interpolate(digits, "digits", steps=3, limit=50)
    assert [point.weights for point in walk.points] == [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    assert walk.to_csv().startswith("split,")
    done = command("interpolate", *digits, "--data", "digits", "--steps", 3, "--limit", 50, "--json")
    assert walk.to_dict()["points"] == json.loads(done.stdout)["points"]


def test_alignments_are_applied_again(digits: tuple[Path, Path], tmp_path: Path) -> None:
    aligned = otfuse.align(*digits)
    aligned.save(tmp_path / "aligned.onnx", alignment=tmp_path / "map.json")
    again = otfuse.apply(tmp_path / "map.json", digits[0], to=digits[1])
    assert again.report.groups == 2
    for name, array in again.state_dict().items():
        np.testing.assert_array_equal(array, aligned.state_dict()[name])


def test_plans_say_what_would_be_done(digits: tuple[Path, Path]) -> None:
    plan = otfuse.plan(digits, weights=[0.25, 0.75])
    assert plan.report.anchor == 1
    assert plan.run().onnx() == otfuse.fuse(digits, weights=[0.25, 0.75]).onnx()
    with pytest.raises(otfuse.InputError, match="has been run"):
        plan.run()


def test_observers_are_told_and_may_stop(digits: tuple[Path, Path]) -> None:
    events: list[otfuse.Event] = []
    otfuse.fuse(digits, observer=events.append)
    assert {"started", "advanced", "finished"} <= {event.kind for event in events}

    def stop(event: otfuse.Event) -> None:
        raise KeyError("enough")

    before = threading.active_count()
    with pytest.raises(KeyError, match="enough"):
        otfuse.fuse(digits, observer=stop)
    assert threading.active_count() == before


def test_threads_at_once_give_the_same_bytes(digits: tuple[Path, Path]) -> None:
    expected, found = otfuse.fuse(digits).onnx(), []
    workers = [threading.Thread(target=lambda: found.append(otfuse.fuse(digits).onnx())) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [expected] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forked_workers_have_threads_of_their_own(digits: tuple[Path, Path]) -> None:
    expected = otfuse.fuse(digits, samples="digits", n_samples=20, check=0).onnx()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(otfuse.fuse(digits, samples="digits", n_samples=20, check=0).onnx() != expected)
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")
def test_interrupts_end_the_work(tmp_path: Path, random: np.random.Generator) -> None:
    for name in "ab":
        sizes = [600, 600, 600, 600, 600, 600]
        layers = {f"{at}.weight": random.standard_normal((600, size)).astype(np.float32) for at, size in enumerate(sizes)}
        biases = {f"{at}.bias": np.zeros(600, dtype=np.float32) for at in range(len(sizes))}
        np.savez(tmp_path / f"{name}.npz", **layers, **biases)
    script = (
        "import sys, otfuse, time\n"
        "def tell(event):\n    print(event.name, flush=True)\n"
        "try:\n"
        "    for _ in range(100):\n"
        f"        otfuse.fuse({[str(tmp_path / 'a.npz'), str(tmp_path / 'b.npz')]!r}, architecture='mlp', observer=tell)\n"
        "except KeyboardInterrupt:\n    sys.exit(7)\n"
    )
    assert interrupted(script, after=0.2) < 5
