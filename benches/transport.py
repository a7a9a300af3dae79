#!/usr/bin/env python3
"""Times the solvers of otfuse-transport beside POT, SciPy, lap and lapx, one thread each, and prints Markdown tables of ratios.

usage: transport.py [--repeat 5] [--quick] [--sizes 256,1024,4096] [--kinds NAME,...] [--tables assignment,transport,layers,sinkhorn]
                    [--models ../shared/models] [--lapx FOLDER]

Needs numpy, scipy and POT, lap for its column, and torch for the costs of checkpoints, in the Python that runs it; builds the
example `solve` with cargo. lapx has lap's name for itself: its column needs a folder into which
`pip install --no-deps --target FOLDER lapx` put it.
Every problem is solved by all programs in turn, `--repeat` times; medians of processor time are compared. Tables:

- assignment: square costs of many kinds (`kinds.py`), uniform masses, float64;
- transport: rectangles, and masses that are not uniform;
- layers: Euclidean costs between the neurons of one layer of two checkpoints, the inputs aligned by the plan of the
  layer before, as fusion solves them one after the other;
- sinkhorn: Sinkhorn's algorithm at the same epsilon (0.05 of the mean cost) to a marginal error of 1e-9 in both programs.

Values of the exact solvers are compared to 1e-9. A peer that took more than a second is asked once, and not for larger
problems of that kind.
"""
import argparse
import importlib.util
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

import kinds  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOLVE = ROOT / "target" / "release" / "examples" / "solve"
EPSILON = 0.05
TOLERANCE = 1e-9
LONG = 1.0


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
    resnet = [models / "cifar10-resnet" / name / "resnet20.th" for name in ("Zheng-Jiakun", "bognev")]
    for name, paths, least in [("MLP", mlp, 200), ("VGG11", vgg, 200), ("ResNet20", resnet, 64)]:
        if not all(path.exists() for path in paths):
            print(f"skipped: {paths[0].parent} is not there", file=sys.stderr)
            continue
        first, second = (load(path) for path in paths)
        order = np.arange(second[0].shape[1])
        for number, (left, right) in enumerate(zip(first[:-1], second[:-1]), 1):
            if right.shape[1] % len(order):
                order = np.arange(right.shape[1])
            if right.shape[1] != len(order):
                order = np.repeat(order, right.shape[1] // len(order))
            right = right[:, order]
            cost = cdist(left.reshape(len(left), -1), right.reshape(len(right), -1))
            if len(left) >= least:
                yield f"{name} layer {number}, {cost.shape[0]} x {cost.shape[1]}", cost
            order = linear_sum_assignment(cost)[1]


def optional(name, folder=None):
    """A module that may not be there; from a folder, where another has its name."""
    try:
        if folder is None:
            return importlib.import_module(name)
        place = pathlib.Path(folder) / name
        spec = importlib.util.spec_from_file_location(
            f"{name}_of_folder", place / "__init__.py", submodule_search_locations=[str(place)])
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    except (ImportError, FileNotFoundError):
        return None


def timed(function):
    start = time.process_time()
    value = function()
    return time.process_time() - start, value


def ours(path, *arguments):
    # The peers run in a process that is warm; so does the median of some.
    repeat = "15" if path.stat().st_size < 1 << 24 else "3"
    output = subprocess.run(
        [SOLVE, "--repeat", repeat, *arguments, path], check=True, capture_output=True, text=True).stdout
    result = json.loads(output)
    return result["cpu_seconds"], result["cost"]


class Bench:
    def __init__(self, options, folder):
        self.repeat = options.repeat
        self.path = pathlib.Path(folder) / "problem.npz"
        self.modules = {"lap": optional("lap"), "lapx": optional("lap", options.lapx) if options.lapx else None}
        self.slow = set()

    def assignments(self, cost):
        """The peers of an assignment: name and function to its value."""
        n = len(cost)
        masses = np.full(n, 1 / n)

        def value(columns):
            return float(cost[np.arange(n), columns].sum() / n)

        yield "POT `emd`", lambda: float((ot.emd(masses, masses, cost, numItermax=10**8) * cost).sum())
        yield "SciPy", lambda: value(linear_sum_assignment(cost)[1])
        for name, module in self.modules.items():
            if module is not None:
                yield name, lambda module=module: value(module.lapjv(cost)[1])

    def measure(self, kind, mine, peers):
        """Medians of all programs on the problem in `self.path`."""
        seconds, values = {}, {}
        peers = [(name, run) for name, run in peers if (kind, name) not in self.slow]
        for _ in range(self.repeat):
            for name, run in [("ours", mine), *peers]:
                if (kind, name) in self.slow:
                    continue
                took, values[name] = timed(run) if name != "ours" else run()
                seconds.setdefault(name, []).append(took)
                if name != "ours" and took > LONG:
                    self.slow.add((kind, name))
        return {name: statistics.median(times) for name, times in seconds.items()}, values

    def exact(self, kind, cost, peers, **masses):
        np.savez(self.path, cost=cost, **masses)
        seconds, values = self.measure(kind, lambda: ours(self.path, "--solver", "exact"), peers)
        for peer, value in values.items():
            if abs(value - values["ours"]) > 1e-9 * max(abs(value), np.abs(cost).max() * 1e-3):
                sys.exit(f"{kind}: {peer} found {value}, we {values['ours']}")
        return seconds


def table(columns):
    print(f"\n| {' | '.join(columns)} |")
    print("|" + "---|" * len(columns), flush=True)


def row(name, seconds, peers):
    ratios = [f"{seconds[peer] / seconds['ours']:.1f} x" if peer in seconds else "-" for peer in peers]
    print(f"| {name} | {1e3 * seconds['ours']:.2f} | {' | '.join(ratios)} |", flush=True)


def assignment_table(bench, options):
    peers = ["POT `emd`", "SciPy", "lap", "lapx"]
    table(["assignment", "exact, ms", *peers])
    chosen = [k for k in kinds.PUBLISHED + kinds.OTHERS if not options.kinds or k.__name__ in options.kinds.split(",")]
    for n in map(int, options.sizes.split(",")):
        for kind in chosen:
            cost = kinds.problem(kind, n)
            row(f"{kind.__name__} {n}", bench.exact(kind.__name__, cost, bench.assignments(cost)), peers)


def transport_table(bench, options):
    table(["transport", "exact, ms", "POT `emd`"])
    shapes = [(1000, 999, True), (768, 512, True), (512, 256, True), (512, 512, False), (768, 512, False)]
    chosen = options.kinds.split(",") if options.kinds else ["noise", "int10", "line", "uniform", "plane", "norms"]
    for n, m, uniform in shapes:
        for name in chosen:
            cost = kinds.problem(getattr(kinds, name), n, m)
            random = np.random.default_rng(5)
            a, b = (np.full(k, 1 / k) if uniform else random.random(k) + 0.1 for k in (n, m))
            a, b = a / a.sum(), b / b.sum()
            peers = [("POT `emd`", lambda: float((ot.emd(a, b, cost, numItermax=10**8) * cost).sum()))]
            what = f"{name} {n} x {m}" + ("" if uniform else ", masses of many sizes")
            row(what, bench.exact(what, cost, peers, a=a, b=b), ["POT `emd`"])


def layers_table(bench, options):
    peers = ["POT `emd`", "SciPy", "lap", "lapx"]
    table(["layer", "exact, ms", *peers])
    for name, cost in layers(options.models):
        row(name, bench.exact(name, cost, bench.assignments(cost)), peers)


def sinkhorn_table(bench, options):
    table(["Sinkhorn", "ms", "POT `sinkhorn_log`"])
    problems = [(f"noise {n} x {m}", kinds.problem(kinds.noise, n, m))
                for n, m in [(512, 512), (1024, 1024), (512, 256), (1024, 768)]]
    problems += layers(options.models) if options.models.exists() else []
    for name, cost in problems:
        n, m = cost.shape
        a, b = np.full(n, 1 / n), np.full(m, 1 / m)
        np.savez(bench.path, cost=cost)
        settings = ("--solver", "sinkhorn", "--epsilon-relative", str(EPSILON), "--tolerance", str(TOLERANCE))

        def peer():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                plan = ot.sinkhorn(
                    a, b, cost, EPSILON * cost.mean(), method="sinkhorn_log", numItermax=2000, stopThr=TOLERANCE)
            return float((plan * cost).sum())

        seconds, values = bench.measure(
            name, lambda: ours(bench.path, *settings), [("POT `sinkhorn_log`", peer)])
        if abs(values["ours"] - values["POT `sinkhorn_log`"]) > 1e-6 * abs(values["ours"]):
            sys.exit(f"Sinkhorn, {name}: {values}")
        row(name, seconds, ["POT `sinkhorn_log`"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repeat", type=int, default=5)
    arguments.add_argument("--quick", action="store_true", help="256 and 1024 rows, three times")
    arguments.add_argument("--sizes", default="256,1024,4096")
    arguments.add_argument("--kinds")
    arguments.add_argument("--tables", default="assignment,transport,layers,sinkhorn")
    arguments.add_argument("--models", type=pathlib.Path, default=ROOT.parent / "shared" / "models")
    arguments.add_argument("--lapx")
    options = arguments.parse_args()
    if options.quick:
        options.repeat, options.sizes = 3, "256,1024"
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "-p", "otfuse-transport", "--example", "solve"], cwd=ROOT, check=True)
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        names = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, folder)
        versions = [f"{name} {module.__version__}" for name, module in bench.modules.items() if module is not None]
        print(f"{names[0] if names else platform.processor()}, {len(names)} cores seen, one thread used; {platform.system()}; "
              f"{', '.join([f'POT {ot.__version__}', f'SciPy {scipy.__version__}', *versions])}, NumPy {np.__version__}; "
              f"median of {options.repeat}, in turn.")
        for name in options.tables.split(","):
            {"assignment": assignment_table, "transport": transport_table, "layers": layers_table,
             "sinkhorn": sinkhorn_table}[name](bench, options)


main()
