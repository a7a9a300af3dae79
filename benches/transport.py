#!/usr/bin/env python3
"""Times the solvers of otfuse-transport beside POT and SciPy, one thread each, and prints a Markdown table of ratios.

usage: transport.py [--repeat 5] [--models ../shared/models] [--skip-noise]

Needs numpy, scipy and POT, and torch for the costs of checkpoints, in the Python that runs it; builds the example `solve`
with cargo. Every problem is solved by all programs in turn, `--repeat` times; medians are compared. Problems:

- noise: x, y ~ N(0, I) in 64 dimensions, Euclidean costs, uniform masses, float64;
- layers: Euclidean costs between the neurons of one layer of two checkpoints, the inputs aligned by the plan of the
  layer before, as fusion solves them one after the other.

Values of the exact solvers are compared to 1e-9; Sinkhorn runs at the same epsilon (0.05 of the mean cost) and stops at a
marginal error of 1e-9 in both programs.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402  (after the number of threads)
import ot  # noqa: E402
import scipy  # noqa: E402
from scipy.optimize import linear_sum_assignment  # noqa: E402
from scipy.spatial.distance import cdist  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOLVE = ROOT / "target" / "release" / "examples" / "solve"
EPSILON = 0.05
TOLERANCE = 1e-9


def noise():
    for n, m in [(512, 512), (1024, 1024), (2048, 2048), (512, 256), (1024, 768)]:
        random = np.random.default_rng(0)
        x, y = random.standard_normal((n, 64)), random.standard_normal((m, 64))
        yield f"noise {n} x {m}", cdist(x, y)


def linear_layers(state):
    """Weights of a chain of layers, as (outputs, inputs, positions)."""
    weights = [value for value in state.values() if value.ndim >= 2]
    return [w.reshape(w.shape[0], w.shape[1], -1).astype(np.float64) for w in weights]


def layers(models):
    import torch

    def load(path):
        saved = torch.load(path, map_location="cpu", weights_only=False)
        for key in ("model_state_dict", "state_dict"):
            saved = saved.get(key, saved) if isinstance(saved, dict) else saved
        return linear_layers({key: value.float().numpy() for key, value in saved.items()})

    mlp = [models / "mnist-mlp-otfusion" / "mnist_models" / f"model_{k}" / "final.checkpoint" for k in (0, 1)]
    vgg = [models / "cifar10-vgg11" / f"vgg11_seed{k}.pt" for k in (0, 1)]
    for name, paths in [("MLP", mlp), ("VGG11", vgg)]:
        if not all(path.exists() for path in paths):
            print(f"skipped: {paths[0].parent} is not there", file=sys.stderr)
            continue
        first, second = (load(path) for path in paths)
        order = np.arange(second[0].shape[1])
        for number, (left, right) in enumerate(zip(first[:-1], second[:-1]), 1):
            if right.shape[1] != len(order):
                order = np.repeat(order, right.shape[1] // len(order))
            right = right[:, order]
            cost = cdist(left.reshape(len(left), -1), right.reshape(len(right), -1))
            if len(left) >= 200:
                yield f"{name} layer {number}, {cost.shape[0]} x {cost.shape[1]}", cost
            order = linear_sum_assignment(cost)[1]


def timed(function):
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def ours(path, *arguments):
    # The peers run in a process that is warm; so does the median of three.
    output = subprocess.run([SOLVE, "--repeat", "3", *arguments, path], check=True, capture_output=True, text=True).stdout
    result = json.loads(output)
    return result["seconds"], result["cost"]


def measure(cost, repeat, folder):
    n, m = cost.shape
    a, b = np.full(n, 1 / n), np.full(m, 1 / m)
    path = folder / "problem.npz"
    np.savez(path, cost=cost)
    seconds, values = {}, {}

    def note(name, result):
        seconds.setdefault(name, []).append(result[0])
        values[name] = result[1]

    for _ in range(repeat):
        note("exact", ours(path, "--solver", "exact"))
        note("POT emd", timed(lambda: float((ot.emd(a, b, cost, numItermax=10_000_000) * cost).sum())))
        if n == m:
            def assign():
                rows, columns = linear_sum_assignment(cost)
                return float(cost[rows, columns].sum() / n)
            note("SciPy", timed(assign))
        note("sinkhorn", ours(path, "--solver", "sinkhorn", "--epsilon-relative", str(EPSILON), "--tolerance", str(TOLERANCE)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            note("POT sinkhorn_log", timed(lambda: float((ot.sinkhorn(
                a, b, cost, EPSILON * cost.mean(), method="sinkhorn_log", numItermax=2000, stopThr=TOLERANCE) * cost).sum())))
    for peer in ("POT emd", "SciPy"):
        if peer in values and abs(values[peer] - values["exact"]) > 1e-9 * abs(values[peer]):
            sys.exit(f"{peer} found {values[peer]}, we {values['exact']}")
    if abs(values["sinkhorn"] - values["POT sinkhorn_log"]) > 1e-6 * abs(values["sinkhorn"]):
        sys.exit(f"Sinkhorn: POT found {values['POT sinkhorn_log']}, we {values['sinkhorn']}")
    return {name: statistics.median(times) for name, times in seconds.items()}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repeat", type=int, default=5)
    arguments.add_argument("--models", type=pathlib.Path, default=ROOT.parent / "shared" / "models")
    arguments.add_argument("--skip-noise", action="store_true")
    options = arguments.parse_args()
    subprocess.run(["cargo", "build", "--release", "-p", "otfuse-transport", "--example", "solve"], cwd=ROOT, check=True)
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        names = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    print(f"{names[0] if names else platform.processor()}, {len(names)} cores seen, one thread used; {platform.system()}; "
          f"POT {ot.__version__}, SciPy {scipy.__version__}, NumPy {np.__version__}; median of {options.repeat}, in turn.\n")
    print("| problem | exact, ms | POT `emd` | SciPy | Sinkhorn, ms | POT `sinkhorn_log` |")
    print("|---|---|---|---|---|---|", flush=True)
    problems = [] if options.skip_noise else list(noise())
    problems += layers(options.models) if options.models.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        for name, cost in problems:
            times = measure(cost, options.repeat, pathlib.Path(folder))

            def ratio(peer, own):
                return f"{times[peer] / times[own]:.1f} x" if peer in times else "-"

            print(f"| {name} | {1e3 * times['exact']:.2f} | {ratio('POT emd', 'exact')} | {ratio('SciPy', 'exact')} "
                  f"| {1e3 * times['sinkhorn']:.2f} | {ratio('POT sinkhorn_log', 'sinkhorn')} |", flush=True)


main()
