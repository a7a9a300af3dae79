#!/usr/bin/env python3
"""Times the repair by least squares beside the matrix products that it cannot do without, and prints a Markdown table.

usage: least_squares.py --data cifar10:FOLDER [--vgg11 A B] [--resnet20 A B] [--rounds 3] [--samples 1000] [--threads 2 1]

Needs no packages. `otfuse fuse` is run with its defaults on unlabelled images and says how long the repair took; the example `products` times the
products of the same shapes by the same library: inputs with themselves and with outputs, and for each of the five rounds behind activation
functions inputs with weights and with steps. What is not a product: passes of the samples through all networks, gathering windows, factors and
solutions of the systems of equations. Both run in turn; medians.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEAST_ROWS, ROWS_PER_INPUT, ROUNDS = 65_536, 16, 5


def vgg11():
    """Places of the output, inputs and outputs of a layer, and whether it is fitted behind an activation function."""
    side, channels = 32, 3
    for width in [64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0]:
        if width == 0:
            side //= 2
        else:
            yield side * side, 9 * channels, width, True
            channels = width
    yield 1, channels, 10, False


def resnet20():
    yield 32 * 32, 27, 16, True
    channels = 16
    for width, side in ((16, 32), (32, 16), (64, 8)):
        for _ in range(3):
            yield side * side, 9 * channels, width, True
            yield side * side, 9 * width, width, False
            channels = width
    yield 1, 64, 10, False


NETWORKS = {"vgg11": ("VGG11", vgg11, ["--arch", "vgg"]),
            "resnet20": ("ResNet20", resnet20, ["--arch", "resnet", "--normalize", "imagenet"])}


def run(command, threads):
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    done = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    return json.loads(done.stdout)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--vgg11", nargs=2)
    arguments.add_argument("--resnet20", nargs=2)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--samples", type=int, default=1000)
    arguments.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    arguments.add_argument("--otfuse", default=ROOT / "target/release/otfuse")
    arguments.add_argument("--products", default=ROOT / "target/release/examples/products")
    options = arguments.parse_args()
    print("| network | threads | repair, s | its products, s | ratio | whole command, s |")
    print("|---|---|---|---|---|---|")
    for name, (title, layers, words) in NETWORKS.items():
        models = getattr(options, name)
        if not models:
            continue
        shapes = [(min(options.samples * places, max(ROWS_PER_INPUT * inputs, LEAST_ROWS)), inputs, outputs, ROUNDS if is_behind else 0)
                  for places, inputs, outputs, is_behind in layers()]
        for threads in options.threads:
            repairs, wholes, products = [], [], []
            for _ in range(options.rounds):
                with tempfile.TemporaryDirectory() as folder:
                    fuse = [options.otfuse, "fuse", *models, *words, "--data", options.data, "--samples", options.samples, "--check", 0,
                            "-o", pathlib.Path(folder) / "fused.safetensors", "--json"]
                    seconds = run(fuse, threads)["seconds"]
                repairs.append(seconds["repair"])
                wholes.append(sum(seconds.values()))
                products.append(run([options.products, *("x".join(map(str, shape)) for shape in shapes)], threads)["seconds"])
            repair, product, whole = map(statistics.median, (repairs, products, wholes))
            print(f"| {title} | {threads} | {repair:.1f} | {product:.1f} | {repair / product:.1f} x | {whole:.1f} |", flush=True)


main()
