"""Generators fused: DCGANs and decoders of VAEs that were trained from other seeds, and on other classes.

    python experiments/generators.py --data DIR -o OUT [--variant quick] [--otfuse target/release/otfuse]

Trains with PyTorch (a GAN needs two networks that are trained in turns), writes each generator as ONNX, fuses pairs with
``otfuse fuse --free-inputs z`` and measures them with ``otfuse generate`` against the test images. ``DIR`` holds the idx files of
MNIST or of Fashion-MNIST, gzipped or not. What lies in ``OUT`` already is not made again, so that a run that was ended goes on.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

ALL = tuple(range(10))
LOW, HIGH = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)
# Steps of a GAN and of a VAE, and draws of noise that are measured.
VARIANTS = {"full": (8000, 12000, 10000), "small": (2000, 3000, 5000), "quick": (500, 800, 2000)}
NOISE = {"gan": 64, "vae": 16}


class Generator(nn.Sequential):
    """Noise of 64 x 1 x 1 to images of 1 x 28 x 28 from -1 to 1."""

    def __init__(self, width: int = 64) -> None:
        super().__init__(
            nn.ConvTranspose2d(NOISE["gan"], 2 * width, 7, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, 1, 4, 2, 1),
            nn.Tanh(),
        )


class Discriminator(nn.Sequential):
    def __init__(self, width: int = 32) -> None:
        super().__init__(
            nn.Conv2d(1, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 7),
            nn.Flatten(0),
        )


class Decoder(nn.Sequential):
    """Noise of 16 to images of 1 x 28 x 28 from 0 to 1."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(NOISE["vae"], 256),
            nn.ReLU(),
            nn.Linear(256, 512),
            nn.ReLU(),
            nn.Linear(512, 784),
            nn.Sigmoid(),
            nn.Unflatten(1, (1, 28, 28)),
        )


class Encoder(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 2 * NOISE["vae"])
        )


def idx(folder: Path, name: str) -> np.ndarray:
    """An array of an idx file."""
    path = next(path for path in (folder / name, folder / f"{name}.gz") if path.exists())
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def images(folder: Path, classes: tuple[int, ...]) -> torch.Tensor:
    """Training images of some classes, from 0 to 1."""
    pixels, labels = idx(folder, "train-images-idx3-ubyte"), idx(folder, "train-labels-idx1-ubyte")
    return torch.tensor(pixels[np.isin(labels, classes)]).float().view(-1, 1, 28, 28) / 255


def start(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0, 0.02)


def gan(real: torch.Tensor, steps: int, name: str) -> nn.Module:
    """A generator that was trained against a discriminator, in turns."""
    real = 2 * real - 1
    generator, discriminator = Generator().apply(start), Discriminator().apply(start)
    settings = {"lr": 2e-4, "betas": (0.5, 0.999)}
    of_generator = torch.optim.Adam(generator.parameters(), **settings)
    of_discriminator = torch.optim.Adam(discriminator.parameters(), **settings)
    loss = F.binary_cross_entropy_with_logits
    for step in range(steps):
        batch = real[torch.randint(len(real), (64,))]
        made = generator(torch.randn(64, NOISE["gan"], 1, 1))
        for_real, for_made = discriminator(batch), discriminator(made.detach())
        judged = loss(for_real, torch.full_like(for_real, 0.9)) + loss(for_made, torch.zeros_like(for_made))
        of_discriminator.zero_grad()
        judged.backward()
        of_discriminator.step()
        said = discriminator(made)
        fooled = loss(said, torch.ones_like(said))
        of_generator.zero_grad()
        fooled.backward()
        of_generator.step()
        if step % 250 == 249:
            print(f"{name}: step {step + 1} of {steps}, {judged.item():.3f} / {fooled.item():.3f}", flush=True)
    return generator


def vae(real: torch.Tensor, steps: int, name: str) -> nn.Module:
    """The decoder of a variational autoencoder."""
    encoder, decoder = Encoder(), Decoder()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    for step in range(steps):
        batch = real[torch.randint(len(real), (128,))]
        mean, logarithm = encoder(batch).chunk(2, 1)
        made = decoder(mean + torch.randn_like(mean) * (logarithm / 2).exp())
        bits = F.binary_cross_entropy(made, batch, reduction="sum")
        distance = -0.5 * (1 + logarithm - mean**2 - logarithm.exp()).sum()
        loss = (bits + distance) / len(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 500 == 499:
            print(f"{name}: step {step + 1} of {steps}, {loss.item():.2f}", flush=True)
    return decoder


def trained(kind: str, seed: int, classes: tuple[int, ...], steps: int, arguments: argparse.Namespace) -> Path:
    """The ONNX file of a generator, which is trained if it is not there."""
    names = "all" if classes == ALL else "".join(map(str, classes))
    path = arguments.output / f"{kind}-{names}-seed{seed}-{steps}.onnx"
    if path.exists():
        return path
    torch.manual_seed(seed)
    network = (gan if kind == "gan" else vae)(images(arguments.data, classes), steps, path.stem).eval()
    shape = (2, NOISE[kind], 1, 1) if kind == "gan" else (2, NOISE[kind])
    unfinished = path.with_suffix(".part")
    torch.onnx.export(
        network,
        (torch.zeros(shape),),
        unfinished,
        input_names=["z"],
        output_names=["x"],
        dynamic_axes={"z": {0: "n"}, "x": {0: "n"}},
        dynamo=False,
    )
    os.replace(unfinished, path)
    return path


def command(arguments: argparse.Namespace, *words: object) -> dict:
    """What a command of otfuse prints as JSON."""
    done = subprocess.run([arguments.otfuse, *map(str, words), "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def pair(title: str, parents: list[Path], draws: int, arguments: argparse.Namespace) -> str:
    """Fuses two generators, measures them and the plain average, and gives a line of a table."""
    name = f"{parents[0].stem}+{parents[1].stem}"
    fused, plain = arguments.output / f"{name}-fused.onnx", arguments.output / f"{name}-plain.onnx"
    alignment, result = arguments.output / f"{name}-alignment.json", arguments.output / f"{name}.json"
    if not result.exists():
        fusion = command(arguments, "fuse", *parents, "-o", fused, "--free-inputs", "z", "--save-alignment", alignment)
        command(arguments, "fuse", *parents, "-o", plain, "--method", "average")
        words = ["--alignment", alignment, "--data", f"noise:normal,{draws}", "--against", f"{arguments.kind}:{arguments.data}"]
        pictures = ["-o", arguments.output / f"{name}.png", "--walk", arguments.output / f"{name}-walk.png"]
        measured = command(arguments, "generate", *parents, fused, plain, *words, *pictures)
        seconds = sum(fusion["seconds"].values())
        unfinished = result.with_suffix(".part")
        unfinished.write_text(json.dumps({"inputs": fusion["inputs"], "seconds": seconds, **measured}))
        os.replace(unfinished, result)
    found = json.loads(result.read_text())
    a, b, of_fused, of_plain = (model["frechet"] for model in found["models"])
    low = sum(found["models"][2]["classes"][:5])
    turned = found["inputs"][0]
    cells = [
        title,
        *(f"{distance:.2f}" for distance in (a, b, of_fused, of_plain, of_fused / max(a, b), of_fused / of_plain)),
        f"{100 * low:.1f} / {100 - 100 * low:.1f}",
        f"{turned['correlation_before']:.2f} -> {turned['correlation']:.2f}",
        f"{found['seconds']:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the idx files")
    parser.add_argument("--kind", choices=["mnist", "fashion-mnist"], default="mnist", help="which of the two they are of")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for networks, pictures and the table")
    parser.add_argument("--variant", choices=VARIANTS, default="full")
    parser.add_argument("--otfuse", default="otfuse", help="the command")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    of_gan, of_vae, draws = VARIANTS[arguments.variant]
    columns = ["pair", "first", "second", "fused", "plain average", "fused / worse parent", "fused / plain average"]
    columns += ["classes 0-4 / 5-9 of the fused, %", "correlation for the same noise", "seconds"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for kind, steps, what in (("vae", of_vae, "VAE"), ("gan", of_gan, "DCGAN")):
        seeds = [trained(kind, seed, ALL, steps, arguments) for seed in (0, 1)]
        lines.append(pair(f"{what}, two seeds", seeds, draws, arguments))
        halves = [trained(kind, seed, classes, steps, arguments) for seed, classes in ((2, LOW), (3, HIGH))]
        lines.append(pair(f"{what}, other classes", halves, draws, arguments))
        table = arguments.output / "results.md"
        table.write_text(f"Frechet distances, {draws} draws, variant {arguments.variant}\n\n" + "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
