"""What the tests share: small networks as ONNX files, made without torch."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """The command line of the package."""
    return subprocess.run(
        [sys.executable, "-m", "otfuse", *map(str, words)], capture_output=True, text=True, timeout=300, check=False
    )


def interrupted(script: str, after: float) -> float:
    """Sends a script SIGINT so many seconds after its first line; it ends with 7. How long that took."""
    running = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    running.stdout.readline()
    time.sleep(after)
    running.send_signal(signal.SIGINT)
    start = time.monotonic()
    assert running.wait(timeout=30) == 7
    return time.monotonic() - start


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two perceptrons trained on the embedded digits, as files."""
    folder = tmp_path_factory.mktemp("digits")
    paths = folder / "a.onnx", folder / "b.onnx"
    for seed, path in enumerate(paths):
        done = command("train", "mlp:24-16", "--data", "digits", "--epochs", 3, "--seed", seed, "-o", path)
        assert done.returncode == 0, done.stderr
    return paths


@pytest.fixture
def random() -> np.random.Generator:
    """Numbers that are the same each time."""
    return np.random.default_rng(0)


def perceptron(path: Path, width: int = 12, seed: int = 0) -> Path:
    """A perceptron of one hidden layer as an ONNX file, with the weights w0, b0, w1, b1."""
    from onnx import TensorProto, helper, numpy_helper, save

    random = np.random.default_rng(seed)
    shapes = {"w0": (width, 6), "b0": (width,), "w1": (3, width), "b1": (3,)}
    tensors = [
        numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name) for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w1", "b1"], ["y"], transB=1),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 6), ("y", 3))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
