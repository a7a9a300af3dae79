"""Fusions as tasks of Ray beside the local one: bytes, time by number of workers, memory of a worker.

    python benches/spread.py small|large [--models N] [--workers 1 2]

Small networks are perceptrons 784-400-200-10; large ones are files of 0.5 GiB each, with one hidden layer of 512 neurons.
Needs onnx and `pip install 'otfuse[ray]'`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import otfuse
import otfuse.ray
import ray
from onnx import TensorProto, helper, numpy_helper, save


def network(path: Path, widths: list[int], seed: int) -> Path:
    random = np.random.default_rng(seed)
    tensors, nodes, value = [], [], "x"
    for at, (inner, outer) in enumerate(itertools.pairwise(widths)):
        weight = random.standard_normal((outer, inner), dtype=np.float32) / np.float32(np.sqrt(inner))
        tensors += [
            numpy_helper.from_array(weight, f"w{at}"),
            numpy_helper.from_array(np.zeros(outer, np.float32), f"b{at}"),
        ]
        last = at == len(widths) - 2
        nodes.append(helper.make_node("Gemm", [value, f"w{at}", f"b{at}"], ["y" if last else f"h{at}"], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [f"h{at}"], [f"r{at}"]))
            value = f"r{at}"
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", s]) for n, s in (("x", widths[0]), ("y", widths[-1]))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


class Watch:
    """The largest resident memory of Ray's workers, of which pages of mapped files are a part."""

    def __init__(self) -> None:
        self.peak = self.own = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ends.wait(0.02):
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    if (folder / "cmdline").read_bytes().startswith(b"ray::"):
                        status = (folder / "status").read_text()
                        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
                        self.peak = max(self.peak, int(fields["VmRSS"].split()[0]))
                        self.own = max(self.own, int(fields["RssAnon"].split()[0]))
                except (OSError, KeyError):
                    continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=["small", "large"])
    parser.add_argument("--models", type=int)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    count = options.models or {"small": 64, "large": 8}[options.size]
    widths = {"small": [784, 400, 200, 10], "large": [262144, 512, 10]}[options.size]
    with tempfile.TemporaryDirectory() as folder:
        models = [network(Path(folder) / f"{at}.onnx", widths, at) for at in range(count)]
        settings = {"anchor": count - 1, "weights": [1 / count] * count, "consensus": "anchor", "repair": "data-free"}
        began = time.monotonic()
        local = otfuse.fuse(models, threads=1, progress=False, **settings)
        local.save(Path(folder) / "local.onnx")
        print(json.dumps({"local, one thread": round(time.monotonic() - began, 1)}), flush=True)
        for workers in options.workers:
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
            small = [network(Path(folder) / f"small-{at}.onnx", [9, 5, 3], at) for at in range(1 + workers)]
            otfuse.ray.fuse(small)
            with Watch() as watch:
                began = time.monotonic()
                done: list[float] = []
                fused = otfuse.ray.fuse(models, folder=folder, observer=lambda _, done=done: done.append(time.monotonic()))
                aligned = done[-1] - began
                fused.save(Path(folder) / "spread.onnx")
                seconds = time.monotonic() - began
            same = (Path(folder) / "spread.onnx").read_bytes() == (Path(folder) / "local.onnx").read_bytes()
            row = {
                "workers": workers,
                "seconds": round(seconds, 1),
                "of these aligning": round(aligned, 1),
                "same bytes": same,
                "peak MB of a worker": watch.peak // 1024,
                "without mapped pages": watch.own // 1024,
            }
            print(json.dumps(row), flush=True)
            del fused
            ray.shutdown()


if __name__ == "__main__":
    main()
