"""Fuses pairs of networks under one setting after the other and prints a table of accuracies.

Usage: python3 benches/ablation.py [--otfuse target/release/otfuse] [--shared ../shared] [--cifar10 FOLDER]
                                   [--pairs mlp,noniid2,noniid4,noniid8,vgg11,resnet20] [--split select|test] [--limit N]

Needs nothing but Python 3.8. FOLDER holds the binary batches of CIFAR-10. With `--split select` (the default, for choosing
settings) the samples for fusing and those for measuring are two parts of the training split, of which the test split is no part; with
`--split test` (for reporting) samples come from the whole training split and accuracies from the test split.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

WITHOUT = [
    ("one forward sweep", "--preset forward"),
    ("rows of unit length", "--preset forward --normalize-features"),
    ("rows of unit length, repaired", "--preset forward --normalize-features --repair data-free"),
    ("converged, Euclidean", "--preset converged"),
    ("converged, Euclidean, repaired", "--preset converged --repair data-free"),
    ("converged, balanced, repaired", "--preset converged --balance --repair data-free"),
    ("converged, cosine, repaired", "--preset converged --cost cosine --repair data-free"),
    ("Git Re-Basin, repaired", "--preset git-rebasin --repair data-free"),
    ("default: converged, unit length, repaired", ""),
]
WITH = [
    ("activations, no repair", "--mode activations --repair none"),
    ("activations, REPAIR", "--mode activations --repair repair"),
    ("activations, RESCALE", "--mode activations --repair rescale"),
    ("weights (converged, unit length), least squares", "--mode weights --repair least-squares"),
    ("weights (converged, Euclidean), least squares", "--preset converged --repair least-squares"),
    ("activations before the nonlinearity, least squares", "--mode activations --repair least-squares"),
    ("both, least squares", "--mode both --repair least-squares"),
    ("default with ridge 0.01", "--ridge 0.01"),
    ("default with ridge 1", "--ridge 1"),
    ("default: activations behind the nonlinearity, least squares", ""),
]
FISHER = [(f"fisher, epsilon {value}", f"--merge fisher --parameter epsilon={value}") for value in (1e-3, 0.1, 1)]
REGMEAN = [(f"regmean, alpha {value}", f"--merge regmean --parameter alpha={value}") for value in (0.1, 0.5, 0.9, 1)]
MERGES = [(f"{name}, no repair", f"{options} --repair none") for name, options in [("mean", ""), *REGMEAN, *FISHER]]
MERGES += [(f"{merge}, least squares", f"--merge {merge}") for merge in ("mean", "regmean", "fisher")]


def pairs(shared, cifar10):
    models = shared / "models"
    mnist = ["--data", f"mnist:{shared / 'data/mnist'}"]
    cifar = ["--data", f"cifar10:{cifar10}"]
    perceptrons = [models / f"mnist-mlp-otfusion/mnist_models/model_{i}/final.checkpoint" for i in (0, 1)]
    found = {"mlp": (perceptrons, "mlp", mnist)}
    for parts in (2, 4, 8):
        files = [models / f"mnist-mlp-noniid/split-by-{parts}/model_{i}.pt" for i in range(parts)]
        found[f"noniid{parts}"] = (files, "mlp", mnist)
    vgg = [models / f"cifar10-vgg11/vgg11_seed{i}.pt" for i in (0, 1)]
    found["vgg11"] = (vgg, "vgg", cifar)
    residual = [models / f"cifar10-resnet/{author}/resnet20.th" for author in ("bognev", "Zheng-Jiakun")]
    found["resnet20"] = (residual, "resnet", cifar + ["--normalize", "imagenet"])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--otfuse", default="target/release/otfuse")
    parser.add_argument("--shared", type=pathlib.Path, default=pathlib.Path("../shared"))
    parser.add_argument("--cifar10", type=pathlib.Path)
    parser.add_argument("--pairs", default="mlp,noniid2,noniid4,noniid8,vgg11,resnet20")
    parser.add_argument("--split", choices=["select", "test"], default="select")
    parser.add_argument("--limit", type=int, help="samples to measure on")
    parser.add_argument("--only", choices=["without", "with", "default", "merges"], help="only these settings")
    arguments = parser.parse_args()

    def otfuse(*command):
        line = [arguments.otfuse, *map(str, command), "--json"]
        run = subprocess.run(line, capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(f"{' '.join(line)}: {run.stderr}")
        return json.loads(run.stdout)

    settings = [(name, options, False) for name, options in WITHOUT] + [(name, options, True) for name, options in WITH]
    if arguments.only == "default":
        settings = [setting for setting in settings if not setting[1]]
    elif arguments.only == "merges":
        settings = [(name, options, True) for name, options in MERGES]
    elif arguments.only:
        settings = [setting for setting in settings if setting[2] == (arguments.only == "with")]
    all_pairs = pairs(arguments.shared, arguments.cifar10)
    with tempfile.TemporaryDirectory() as folder:
        for pair in arguments.pairs.split(","):
            models, architecture, data = all_pairs[pair]
            fit, measure = (data, data) if arguments.split == "test" else (
                data + ["--partition", "split:0.8", "--part", "0"],
                data + ["--partition", "split:0.8", "--part", "1"],
            )
            measure = measure + ["--split", "test" if arguments.split == "test" else "train"]
            if arguments.limit:
                measure += ["--limit", str(arguments.limit)]
            reading = ["--arch", architecture]
            parents = otfuse("eval", *models, *reading, *measure, "--ensemble")
            shown = ", ".join(f"{100 * parent['accuracy']:.2f}" for parent in parents["models"])
            print(f"\n{pair}: parents {shown}, ensemble {100 * parents['ensemble']['accuracy']:.2f}", flush=True)
            best = max(parent["accuracy"] for parent in parents["models"])
            for name, options, with_data in settings:
                fused = pathlib.Path(folder) / "fused.safetensors"
                given = fit + ["--samples", "1000", "--check", "0"] if with_data else []
                report = otfuse("fuse", *models, *reading, "--no-verify", *given, *options.split(), "-o", fused)
                accuracy = otfuse("eval", fused, *reading, *measure)["models"][0]["accuracy"]
                seconds = sum(report["seconds"][part] for part in ("activations", "align", "average", "repair"))
                gap = 100 * (accuracy - best)
                print(f"| {pair} | {name} | {100 * accuracy:.2f} | {gap:+.2f} | {seconds:.1f} s |", flush=True)
                fused.unlink()


if __name__ == "__main__":
    main()
