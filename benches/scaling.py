#!/usr/bin/env python3
"""How the time of fusing grows with neurons, networks, layers and samples, and what a second thread gains; prints Markdown tables.

usage: scaling.py [--rounds 3] [--quick] [--threads 2] [--only neurons networks layers samples threads] [--into FOLDER]

Needs NumPy and the command, built before. Networks are random: each is a common one of which the neurons are in another order and half of all variance is its own. Each curve takes five sizes over a factor of 16 (`--quick`: three over a factor of 4, of which only the form can be judged).
Processor time of whole commands with one thread, medians; the exponent is the slope through the three largest sizes on logarithmic axes. What
follows from the definition: with neurons n of two layers, costs and assignments take n^3 and files n^2; with K networks K; with L layers L; with
N samples N.

`--into FOLDER` writes scaling.csv and scaling.svg there.
"""
import argparse
import json
import math
import os
import pathlib
import statistics
import struct
import subprocess
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
INPUTS, CLASSES = 64, 10
CURVES = ["neurons", "networks", "layers", "samples"]
TITLES = {
    "neurons": "neurons of each of two hidden layers, two networks, by weights",
    "networks": "networks of two hidden layers of 512, by weights",
    "layers": "hidden layers of 512, two networks, by weights",
    "samples": "unlabelled samples, two networks of two hidden layers of 512, least squares",
}
SIZES = {
    "neurons": [256, 512, 1024, 2048, 4096],
    "networks": [2, 4, 8, 16, 32],
    "layers": [4, 8, 16, 32, 64],
    "samples": [1000, 2000, 4000, 8000, 16000],
}
COLOURS = ["#4285f4", "#c5221f", "#188038", "#b06000"]


def perceptron(path, widths, seed):
    """A multilayer perceptron with random weights, as safetensors."""
    common, own = np.random.default_rng(0), np.random.default_rng(seed + 1)
    header, blobs, offset, order = {}, [], 0, np.arange(widths[0])
    for at, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        shape, last = (outputs, inputs), order
        weight = (common.standard_normal(shape, np.float32) + own.standard_normal(shape, np.float32)) / np.float32(math.sqrt(inputs))
        order = own.permutation(outputs) if at + 2 < len(widths) else np.arange(outputs)
        tensors = {"weight": np.ascontiguousarray(weight[order][:, last]), "bias": np.zeros(outputs, np.float32)}
        for name, tensor in tensors.items():
            data = tensor.tobytes()
            header[f"layers.{at}.{name}"] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + len(data)]}
            blobs.append(data)
            offset += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, pathlib.Path(folder)

    def run(self, *words, threads=1):
        """What the command says, its processor time and its time."""
        environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
        start, before = time.perf_counter(), os.times()
        words = [str(word) for word in (self.options.otfuse, *words, "--json")]
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}\n{done.stderr}")
        after = os.times()
        used = after.children_user - before.children_user + after.children_system - before.children_system
        return json.loads(done.stdout), used, time.perf_counter() - start

    def networks(self, count, widths):
        paths = [self.folder / f"{at}.safetensors" for at in range(count)]
        for at, path in enumerate(paths):
            perceptron(path, [INPUTS, *widths, CLASSES], at)
        return paths

    def fuse(self, paths, *words, threads=1):
        out = self.folder / "fused.safetensors"
        out.unlink(missing_ok=True)
        return self.run("fuse", *paths, "--arch", "mlp", *words, "-o", out, threads=threads)

    def curve(self, name, size):
        count = size if name == "networks" else 2
        widths = {"neurons": [size] * 2, "layers": [512] * size}.get(name, [512] * 2)
        paths = self.networks(count, widths)
        words = ["--effort", "quick"]
        if name == "samples":
            data = self.folder / "samples.npz"
            np.savez(data, x=np.random.default_rng(5).standard_normal((size, INPUTS), np.float32))
            words = ["--data", f"npz:{data}", "--samples", size, "--check", 0]
        rounds = 1 if self.options.quick else self.options.rounds
        return statistics.median(self.fuse(paths, *words)[1] for _ in range(rounds))

    def threads(self):
        """Seconds of three kinds of work with one thread and with more."""
        side = 1024 if self.options.quick else 4096
        wide = self.networks(2, [side] * 2)
        images = self.folder / "images.npz"
        random = np.random.default_rng(7)
        count = 200 if self.options.quick else 1000
        x = random.integers(0, 256, (count, 3, 32, 32), np.uint8)
        y = random.integers(0, CLASSES, count)
        np.savez(images, x_train=x, y_train=y, x_test=x, y_test=y)
        vggs = [self.folder / f"vgg-{seed}.safetensors" for seed in (1, 2)]
        for seed, path in enumerate(vggs, 1):
            self.run("train", "vgg11", "--data", f"npz:{images}", "--limit", 32, "--epochs", 1, "--seed", seed, "-o", path, threads=2)
        words = ["--arch", "vgg", "--data", f"npz:{images}"]

        def repaired(threads):
            out = self.folder / "fused.safetensors"
            out.unlink(missing_ok=True)
            samples = ["--samples", count // 5, "--check", 0]
            return self.run("fuse", *vggs, *words, *samples, "-o", out, threads=threads)[0]["seconds"]["repair"]

        works = {
            f"costs and assignments, two layers of {side}": lambda n: self.fuse(wide, "--effort", "quick", threads=n)[0]["seconds"]["align"],
            f"least squares, VGG11, {count // 5} images": repaired,
            f"convolution, VGG11 forward, {count} images": lambda n: self.run("eval", vggs[0], *words, threads=n)[2],
        }
        for work, seconds in works.items():
            found = {threads: [] for threads in (1, self.options.threads)}
            for _ in range(1 if self.options.quick else self.options.rounds):
                for threads, times in found.items():
                    times.append(seconds(threads))
            yield work, *(statistics.median(times) for times in found.values())


def exponent(points):
    x, y = np.log(np.array(points[-3:], float)).T
    return np.polyfit(x, y, 1)[0]


def chart(curves):
    """A panel of logarithmic axes; sizes are shown relative to the smallest one."""
    left, top, wide, high = 70, 40, 520, 340
    times = [seconds for points in curves.values() for _, seconds in points]
    low, up = 10 ** math.floor(math.log10(min(times))), 10 ** math.ceil(math.log10(max(times)))
    factor = max(points[-1][0] / points[0][0] for points in curves.values())

    def place(ratio, seconds):
        x = left + wide * math.log(ratio) / math.log(factor)
        return x, top + high * (1 - math.log(seconds / low) / math.log(up / low))

    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + wide + 250} {top + high + 50}" font-family="sans-serif" font-size="12">']
    svg.append('<rect width="100%" height="100%" fill="white"/>')
    svg.append(f'<text x="{left}" y="22" font-size="15">Processor time of a fusion as one size grows, one thread</text>')
    for power in range(round(math.log10(low)), round(math.log10(up)) + 1):
        y = place(1, 10.0**power)[1]
        svg.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + wide}" y2="{y:.1f}" stroke="#ddd"/>')
        svg.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
    for at in range(round(math.log2(factor)) + 1):
        x = place(2**at, low)[0]
        svg.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + high}" stroke="#eee"/>')
        svg.append(f'<text x="{x:.1f}" y="{top + high + 18}" text-anchor="middle">x {2**at}</text>')
    for (name, points), colour in zip(curves.items(), COLOURS):
        places = [place(size / points[0][0], seconds) for size, seconds in points]
        svg.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
        svg += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{size} {name}: {seconds:.2f} s</title></circle>'
            for (x, y), (size, seconds) in zip(places, points)
        ]
    # Names at the ends of the lines, apart from each other.
    ends = sorted((place(points[-1][0] / points[0][0], points[-1][1])[1], name) for name, points in curves.items())
    last = -math.inf
    for y, name in ends:
        last = max(y, last + 17)
        points, colour = curves[name], COLOURS[list(curves).index(name)]
        text = f"{name}, {points[0][0]} to {points[-1][0]}: exponent {exponent(points):.2f}"
        svg.append(f'<text x="{left + wide + 12}" y="{last + 4:.1f}" fill="{colour}">{text}</text>')
    return "\n".join(svg) + "\n</svg>\n"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--only", nargs="+", choices=[*CURVES, "threads"], default=[*CURVES, "threads"])
    arguments.add_argument("--into", type=pathlib.Path)
    arguments.add_argument("--otfuse", default=ROOT / "target/release/otfuse")
    options = arguments.parse_args()
    curves = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, folder)
        for name in CURVES:
            if name not in options.only:
                continue
            sizes = SIZES[name][:3] if options.quick else SIZES[name]
            curves[name] = [(size, bench.curve(name, size)) for size in sizes]
            print(f"\n{TITLES[name]}: exponent {exponent(curves[name]):.2f}\n\n| {name} | seconds |\n|---|---|")
            for size, seconds in curves[name]:
                print(f"| {size} | {seconds:.2f} |", flush=True)
        if "threads" in options.only:
            print(f"\n| work | one thread, s | {options.threads} threads, s | gain |\n|---|---|---|---|")
            for work, one, more in bench.threads():
                print(f"| {work} | {one:.2f} | {more:.2f} | {one / more:.2f} x |", flush=True)
    if options.into and curves:
        options.into.mkdir(parents=True, exist_ok=True)
        lines = [f"{name},{size},{seconds:.3f}" for name, points in curves.items() for size, seconds in points]
        (options.into / "scaling.csv").write_text("\n".join(["curve,size,cpu_seconds", *lines]) + "\n")
        (options.into / "scaling.svg").write_text(chart(curves))


main()
