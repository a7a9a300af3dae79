"""Every way to merge, without alignment and after it: pairs of networks that were trained from unequal seeds.

    python experiments/merging_alignment.py gpt2 --networks 0/ 1/ --data text@32:input.txt -o FOLDER
    python experiments/merging_alignment.py vgg11 --networks 0.pt 1.pt --arch vgg --data cifar10:DIR -o FOLDER
    python experiments/merging_alignment.py vit --data mnist:DIR -o FOLDER      # trains two small ViT first
    python experiments/merging_alignment.py table -o FOLDER [--into docs/results/merging-alignment]

Each method is told the same in all columns. The second network is the base where a method takes one; methods of task
vectors move half of the way from it to the other network, so that no parent comes out. The columns:

- without: ``--method average``, tensors merged index by index
- aligned: ``--effort quick --repair none``, neurons matched by weights, nothing else
- quick: ``--effort quick``, the same with a repair in closed form
- default: ``fuse`` as it is, without data; the samples that the networks make are made once and used for all methods

Everything that is made stays in FOLDER, so that a run that was ended goes on. Needs nothing beside the command.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from small_vit import VIT

SPHERE = ["slerp", "nuslerp", "multislerp", "karcher"]
# All of a difference counts, and half of it is added.
HALF = {"weight": 1, "lambda": 0.5}
METHODS: dict[str, dict[str, float]] = {
    "linear": {},
    **{name: {} for name in SPHERE},
    "task_arithmetic": HALF,
    "ties": {**HALF, "density": 0.5},
    "dare_linear": {**HALF, "density": 0.5},
    "dare_ties": {**HALF, "density": 0.5},
    "della_linear": {**HALF, "density": 0.5},
    "della": {**HALF, "density": 0.5},
    "breadcrumbs": {**HALF, "density": 0.9},
    "breadcrumbs_ties": {**HALF, "density": 0.9},
    "nearswap": {"t": 0.01},
    "arcee_fusion": {},
    "sce": {},
    "median": {},
    "trimmed_mean": {},
}
# Of two networks that count alike these are one method.
ALIKE = {
    "linear": ["median", "trimmed_mean"],
    "slerp": ["nuslerp"],
    "multislerp": ["karcher"],
    "dare_linear": ["dare_ties"],
    "della_linear": ["della"],
    "breadcrumbs": ["breadcrumbs_ties"],
}
WAYS = {
    "without": ["--method", "average"],
    "aligned": ["--effort", "quick", "--repair", "none"],
    "quick": ["--effort", "quick"],
    "default": [],
}
COLOURS = {"without": "#9aa0a6", "aligned": "#8ab4f8", "quick": "#4285f4", "default": "#c5221f"}
NAMES = {"gpt2": "GPT-2, two layers", "vgg11": "VGG11", "vit": "ViT, three layers"}


class Runs:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.kind: str = options.kind
        self.folder = Path(options.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.networks = options.networks or self.trained()
        self.arch = ["--arch", options.arch] if options.arch else []
        self.end = ".pt" if options.arch else ""
        self.path = self.folder / f"{self.kind}.json"
        self.found: dict = json.loads(self.path.read_text()) if self.path.exists() else {"parents": [], "methods": {}}
        self.measured: dict = self.found.setdefault("measured", {})

    def otfuse(self, *words) -> dict:
        words = [self.options.otfuse, *map(str, words), "--json"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}\n{done.stderr}")
        return json.loads(done.stdout)

    def trained(self) -> list[Path]:
        """Two small ViT, on 20,000 images of MNIST."""
        sizes = self.folder / "vit"
        sizes.mkdir(exist_ok=True)
        (sizes / "config.json").write_text(json.dumps(VIT))
        words = ["--data", self.options.data, "--limit", 20000, "--epochs", 5, "--batch-size", 64]
        words += ["--optimizer", "adamw", "--lr", 0.002, "--schedule", "onecycle"]
        paths = [self.folder / f"vit-{seed}" for seed in (1, 2)]
        for seed, path in enumerate(paths, 1):
            if not path.exists():
                self.otfuse("train", sizes, *words, "--seed", seed, "-o", path)
        return paths

    def measure(self, path: Path) -> dict:
        """Accuracy in per cent and loss; equal files are measured once."""
        weights = path / "model.safetensors" if path.is_dir() else path
        key = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
        if key not in self.measured:
            limit = ["--limit", self.options.limit] if self.options.limit else []
            found = self.otfuse("eval", path, *self.arch, "--data", self.options.data, *limit)["models"][0]
            self.measured[key] = {name: found[name] for name in ("accuracy", "loss", "samples")}
        return self.measured[key]

    def fused(self, method: str, way: str) -> Path:
        samples, out = self.folder / f"{self.kind}-samples.npz", self.folder / f"{self.kind}-fused{self.end}"
        merge = "mean" if method == "linear" else method
        words = ["fuse", *self.networks, *self.arch, "--check", 0, "--merge", merge, *WAYS[way], "-o", out]
        for name, value in METHODS[method].items():
            words += ["--parameter", f"{name}={value}"]
        if way == "default":
            words += ["--samples-from" if samples.exists() else "--save-samples", samples]
        if out.is_dir():
            shutil.rmtree(out)
        out.unlink(missing_ok=True)
        self.otfuse(*words)
        return out

    def save(self) -> None:
        self.path.write_text(json.dumps(self.found, indent=1))

    def run(self) -> None:
        self.found["parents"] = [self.measure(Path(path)) for path in self.networks]
        for way in self.options.ways:
            for method in self.options.methods or METHODS:
                of_method = self.found["methods"].setdefault(method, {})
                if way not in of_method:
                    of_method[way] = self.measure(self.fused(method, way))
                    print(f"{self.kind:6} {method:17} {way:8} {100 * of_method[way]['accuracy']:6.2f}", flush=True)
                    self.save()
        self.save()


# Table and chart --------------------------------------------------------------------------------


def rows(all_found: dict[str, dict]) -> list[str]:
    """Methods that differ; what is said to be alike must have been where it was measured."""
    for found in all_found.values():
        for method, others in ALIKE.items():
            for other in others:
                ways, like = found["methods"].get(other, {}), found["methods"].get(method, {})
                for way in ways.keys() & like.keys():
                    assert abs(ways[way]["accuracy"] - like[way]["accuracy"]) < 1e-3, (method, other, way)
    alike = {other for others in ALIKE.values() for other in others}
    return [method for method in METHODS if method not in alike]


def percent(found: dict | None) -> str:
    return "-" if found is None else f"{100 * found['accuracy']:.2f}"


def table(all_found: dict[str, dict]) -> str:
    head = ["method"] + [f"{NAMES[kind]}: {way}" if way == "without" else way for kind in all_found for way in WAYS]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for method in rows(all_found):
        names = ", ".join(f"`{name}`" for name in [method, *ALIKE.get(method, [])])
        cells = [percent(found["methods"].get(method, {}).get(way)) for found in all_found.values() for way in WAYS]
        lines.append(f"| {names} | " + " | ".join(cells) + " |")
    parents = [" and ".join(percent(one) for one in found["parents"]) for found in all_found.values()]
    samples = [found["parents"][0]["samples"] for found in all_found.values()]
    said = "; ".join(
        f"{NAMES[kind]} {two} ({n:,} test samples)" for kind, two, n in zip(all_found, parents, samples, strict=True)
    )
    return "\n".join(lines) + f"\n\nParents: {said}.\n"


def below(all_found: dict[str, dict]) -> list[str]:
    """What is worse with alignment than without."""
    worse = []
    for kind, found in all_found.items():
        for method, ways in found["methods"].items():
            for way in ("aligned", "quick", "default"):
                if way in ways and ways[way]["accuracy"] < ways["without"]["accuracy"]:
                    worse.append(f"{kind} {method}: {way} {percent(ways[way])}, without {percent(ways['without'])}")
    return worse


def chart(all_found: dict[str, dict]) -> str:
    """A panel for each pair, a row for each method, a dot for each way."""
    left, top, wide, row, gap = 130, 74, 250, 20, 26
    methods = rows(all_found)
    height, width = top + row * len(methods) + 34, left + len(all_found) * (wide + gap)
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
    ]
    svg.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    svg.append(f'<text x="{left}" y="20" font-size="15">Accuracy of two networks merged by each method, per cent</text>')
    words = {
        "without": "without alignment",
        "aligned": "aligned",
        "quick": "and repaired in closed form",
        "default": "by default",
    }
    for at, (way, text) in enumerate(words.items()):
        x = left + 6 + (0, 150, 240, 430)[at]
        svg.append(f'<circle cx="{x}" cy="38" r="4.5" fill="{COLOURS[way]}"/><text x="{x + 9}" y="42">{text}</text>')
    bottom = top + row * len(methods)
    for line, method in enumerate(methods):
        y = top + row * line + 10
        svg.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{method}</text>')
    for at, (kind, found) in enumerate(all_found.items()):
        start = left + at * (wide + gap)
        best = max(one["accuracy"] for one in found["parents"])
        svg.append(f'<text x="{start}" y="64" font-weight="bold">{NAMES[kind]}</text>')
        for mark in range(0, 101, 20):
            x = start + wide * mark / 100
            svg.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
            svg.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{mark}</text>')
        x = start + wide * best
        svg.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="#333" stroke-dasharray="4 3"/>')
        for line, method in enumerate(methods):
            y, ways = top + row * line + 10, found["methods"].get(method, {})
            values = [start + wide * ways[way]["accuracy"] for way in WAYS if way in ways]
            if values:
                ends = f'x1="{min(values):.1f}" y1="{y}" x2="{max(values):.1f}" y2="{y}"'
                svg.append(f'<line {ends} stroke="#ccc" stroke-width="2"/>')
            for way in WAYS:
                if way in ways:
                    x = start + wide * ways[way]["accuracy"]
                    title = f"{method}, {way}: {percent(ways[way])}"
                    svg.append(
                        f'<circle cx="{x:.1f}" cy="{y}" r="4.5" fill="{COLOURS[way]}"><title>{title}</title></circle>'
                    )
    return "\n".join(svg) + "\n</svg>\n"


def write(options: argparse.Namespace) -> None:
    folder, into = Path(options.output), Path(options.into or options.output)
    into.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / f"{kind}.json" for kind in NAMES}
    all_found = {kind: json.loads(path.read_text()) for kind, path in paths.items() if path.exists()}
    (into / "results.md").write_text(table(all_found))
    (into / "accuracy.svg").write_text(chart(all_found))
    lines = ["network,method,way,accuracy,loss,samples"]
    for kind, found in all_found.items():
        rows = [(f"parent {at}", "", one) for at, one in enumerate(found["parents"])]
        rows += [(method, way, one) for method, ways in found["methods"].items() for way, one in ways.items()]
        lines += [
            f"{kind},{method},{way},{one['accuracy']:.6f},{one['loss']:.6f},{one['samples']}" for method, way, one in rows
        ]
    (into / "results.csv").write_text("\n".join(lines) + "\n")
    print(table(all_found))
    print("\n".join(below(all_found)) or "nothing is worse with alignment than without")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=[*NAMES, "table"])
    parser.add_argument("--networks", nargs=2)
    parser.add_argument("--arch")
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int, default=2000, help="test samples, 0 for all (default: 2000)")
    parser.add_argument("--methods", nargs="*", choices=list(METHODS))
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--into", help="where table and chart go (default: FOLDER)")
    parser.add_argument("--otfuse", default="otfuse")
    options = parser.parse_args()
    if options.kind == "table":
        return write(options)
    if not options.data or not (options.networks or options.kind == "vit"):
        parser.error("--data and --networks are needed")
    Runs(options).run()


if __name__ == "__main__":
    main()
