"""How much of a gain survives when a task vector is moved to a network of another seed: docs/task-vectors.md.

Networks that were trained on images as they are learn turned (CIFAR-10) or inverted (MNIST) ones; what one of them learned is
added to the other, with and without unlabelled samples. Needs NumPy and the command `otfuse`.

    python experiments/task_vectors.py vit --mnist DIR -o FOLDER
    python experiments/task_vectors.py vgg --cifar DIR --networks vgg11_seed0.pt vgg11_seed1.pt -o FOLDER

Everything that is made stays in FOLDER and is not made again; the table is printed and written to FOLDER/KIND.json.
"""

import argparse
import gzip
import json
import subprocess
from pathlib import Path

import numpy as np
from small_vit import VIT


def mnist(folder: Path):
    def split(name: str):
        images = gzip.open(folder / f"{name}-images-idx3-ubyte.gz").read()
        labels = gzip.open(folder / f"{name}-labels-idx1-ubyte.gz").read()
        x = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
        return x, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)

    return split("train"), split("t10k")


def cifar(folder: Path):
    def split(name: str):
        rows = np.fromfile(folder / name, np.uint8).reshape(-1, 3073)
        return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)

    return split("data_batch_1.bin"), split("test_batch.bin")


def inverted(x):
    return 255 - x


def turned(x):
    return np.ascontiguousarray(np.rot90(x, 1, (2, 3)))


class Runs:
    def __init__(self, options, kind: str) -> None:
        self.options, self.kind, self.folder = options, kind, Path(options.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.normalize = {"vit": "mnist", "vgg": "cifar10"}[kind]

    def path(self, name: str) -> Path:
        return self.folder / name

    def data(self, name: str, change) -> str:
        """The first 10,000 training samples and all test samples, changed."""
        path = self.path(f"{self.kind}-{name}.npz")
        if not path.exists():
            read, folder = (mnist, self.options.mnist) if self.kind == "vit" else (cifar, self.options.cifar)
            (x, y), (x_test, y_test) = read(Path(folder))
            np.savez(path, x_train=change(x[:10000]), y_train=y[:10000], x_test=change(x_test), y_test=y_test)
        return f"npz:{path}"

    def otfuse(self, *words):
        words = [self.options.otfuse, *map(str, words), "--json"]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(done.stdout)

    def made(self, name: str, *words) -> Path:
        path = self.path(name)
        if not path.exists():
            self.otfuse(*words, "-o", path)
        return path

    def accuracy(self, network: Path, data: str) -> float:
        words = ("eval", network, *self.arch, "--data", data, "--normalize", self.normalize)
        return 100 * self.otfuse(*words)["models"][0]["accuracy"]

    def networks(self, task: str):
        """Two networks, and what they are after they learned the task."""
        words = [
            "--data",
            task,
            "--normalize",
            self.normalize,
            "--limit",
            10000,
            "--epochs",
            2,
            "--schedule",
            "onecycle",
            "--seed",
            3,
        ]
        if self.kind == "vgg":
            self.arch = ("--arch", "vgg")
            bases = [Path(path) for path in self.options.networks]
            words += ["--lr", 0.01, *self.arch]
        else:
            self.arch = ()
            self.path("vit").mkdir(exist_ok=True)
            self.path("vit/config.json").write_text(json.dumps(VIT))
            training = ["--data", f"mnist:{self.options.mnist}", "--limit", 20000, "--epochs", 5, "--batch-size", 64]
            training += ["--optimizer", "adamw", "--lr", 0.002, "--schedule", "onecycle"]
            seeds = (1, 2)
            bases = [self.made(f"vit-{seed}", "train", self.path("vit"), *training, "--seed", seed) for seed in seeds]
            words += ["--optimizer", "adamw", "--lr", 0.001, "--batch-size", 64]
        end = ".pt" if self.kind == "vgg" else ""
        return bases, [self.made(f"{self.kind}-tuned-{at}{end}", "finetune", base, *words) for at, base in enumerate(bases)]

    def carried(self, base, tuned, target, *words) -> Path:
        path = self.path("carried.pt" if self.kind == "vgg" else "carried")
        subprocess.run(["rm", "-rf", path], check=True)
        self.otfuse("transport-task-vector", base, tuned, target, *self.arch, "-o", path, "--no-verify", *words)
        return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["vit", "vgg"])
    parser.add_argument("--mnist")
    parser.add_argument("--cifar")
    parser.add_argument("--networks", nargs=2)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--otfuse", default="otfuse")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--follow", type=float, nargs="*", default=[0.0, 0.5, 1.0])
    options = parser.parse_args()
    runs = Runs(options, options.kind)
    task = runs.data("task", inverted if options.kind == "vit" else turned)
    before = runs.data("before", lambda x: x)
    bases, tuned = runs.networks(task)
    accuracies = {str(path): (runs.accuracy(path, task), runs.accuracy(path, before)) for path in [*bases, *tuned]}
    rows = []

    def row(way: str, source: int, draw: int, *words) -> None:
        target = 1 - source
        network = runs.carried(bases[source], tuned[source], bases[target], *words)
        found, known = runs.accuracy(network, task), runs.accuracy(network, before)
        base, after, own = (accuracies[str(path)][0] for path in (bases[source], tuned[source], bases[target]))
        rows.append(
            dict(way=way, source=source, draw=draw, base=base, tuned=after, target=own, result=found, before=known)
            | dict(kept=(found - own) / (after - base))
        )
        print(json.dumps(rows[-1]), flush=True)

    for path, (on_task, on_before) in accuracies.items():
        print(f"{path}: {on_task:.2f} on the task, {on_before:.2f} on images as they were", flush=True)
    for source in (0, 1):
        row("weights alone, no samples", source, 0)
        for draw in range(options.draws):
            data = ("--data", task, "--normalize", runs.normalize, "--check", 0, "--partition", "iid:8", "--part", draw)
            for follow in options.follow:
                row(f"1,000 samples, follow {follow}", source, draw, *data, "--follow", follow)
    runs.path(f"{options.kind}.json").write_text(json.dumps(dict(networks=accuracies, rows=rows), indent=1) + "\n")


if __name__ == "__main__":
    main()
