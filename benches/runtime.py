#!/usr/bin/env python3
"""Times networks of otfuse-runtime beside PyTorch, on the CPU or a GPU, and prints a Markdown table of ratios.

usage: runtime.py [--rounds 5] [--threads 2 1] [--device cuda] [--program FILE]

Needs torch in the Python that runs it; builds the example `runtime` with cargo, unless it is given (with `--device cuda` it
has to be built with that feature). PyTorch may use TF32 on a GPU, as its users let it. Both programs run the same networks on
random data, in turn, `--rounds` times with each number of threads; each round's figure is the median of several passes,
and medians of the rounds are compared. Networks:

- VGG11 on 3 x 32 x 32 images, without bias and normalisation, one linear layer, as in the paper; batch 100 forward, 128 in training;
- MLP 784-400-200-100-10 with biases, batch 100 forward, 64 in training.

A training step is forward, backward and an update by stochastic gradient descent with momentum 0.9.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNTIME = ROOT / "target" / "release" / "examples" / "runtime"
WORK = [("vgg11", "forward", 100, 5), ("vgg11", "train", 128, 3), ("mlp", "forward", 100, 200), ("mlp", "train", 64, 200)]


def network(name):
    from torch import nn

    if name == "mlp":
        return nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 200), nn.ReLU(), nn.Linear(200, 100), nn.ReLU(),
                             nn.Linear(100, 10)), [784]
    layers, channels = [], 3
    for width in [64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0]:
        if width == 0:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10, bias=False)), [3, 32, 32]


def peer(name, work, batch, repeat, threads, device):
    """What a process of its own measures with PyTorch: the median over `repeat` passes."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    model, shape = network(name)
    model = model.to(device)
    inputs, labels = torch.randn(batch, *shape, device=device), torch.arange(batch, device=device) % 10
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def forward():
        with torch.inference_mode():
            model(inputs)

    def train():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    once, seconds = (forward if work == "forward" else train), []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        once()
        wait()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(seconds[1:]), "version": torch.__version__}))


def run(command, threads):
    # Numbers of threads are set before the libraries start.
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    environment = {**os.environ, **{name: str(threads) for name in names}}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--program", help="the example, built already")
    arguments.add_argument("--peer", nargs=6, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.peer:
        name, work, *numbers, device = options.peer
        return peer(name, work, *map(int, numbers), device)
    if not options.program:
        build = ["cargo", "build", "--release", "-p", "otfuse-runtime", "--example", "runtime"]
        features = [] if options.device == "cpu" else ["--features", options.device.split(":")[0]]
        subprocess.run(build + features, cwd=ROOT, check=True)
    program = options.program or RUNTIME
    rows, version = [], ""
    for threads in options.threads:
        for name, work, batch, repeat in WORK:
            ours, theirs = [], []
            for _ in range(options.rounds):
                size = ["--batch", str(batch), "--repeat", str(repeat), "--device", options.device]
                ours.append(run([program, name, work, *size], threads)["seconds"])
                work_of_peer = [name, work, str(batch), str(repeat), str(threads), options.device]
                measured = run([sys.executable, __file__, "--peer", *work_of_peer], threads)
                theirs.append(measured["seconds"])
                version = measured["version"]
            rows.append((name, work, batch, threads, statistics.median(ours), statistics.median(theirs)))
            print(rows[-1], file=sys.stderr, flush=True)
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        names = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    print(f"{names[0] if names else platform.processor()}, {len(names)} cores seen; {platform.system()}; device {options.device}; PyTorch {version}; "
          f"median of {options.rounds} rounds, in turn.\n")
    print("| network | work | batch | threads | images/s | PyTorch, images/s | ratio |")
    print("|---|---|---|---|---|---|---|")
    for name, work, batch, threads, ours, theirs in rows:
        title = {"vgg11": "VGG11", "mlp": "MLP"}[name]
        print(f"| {title} | {work} | {batch} | {threads} | {batch / ours:.0f} | {batch / theirs:.0f} | {theirs / ours:.2f} x |")
    return None


main()
