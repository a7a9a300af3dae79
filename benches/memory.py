#!/usr/bin/env python3
"""Fuses two synthetic Llamas and prints the peak memory and the time of each stage.

usage: memory.py [--bytes 2147483648] [--type bf16] [--shards 1] [--folder DIR] [--shape "--hidden 2048 .."]

Writes the models with the example `synthetic_llama` (from two seeds) and runs `otfuse fuse A B -o OUT` with default settings.
Peak memory is the largest resident set of the process, pages of mapped files included, as `/usr/bin/time -v` gives it.
Ends with status 1 if it is not below 1.5 times a model and 1 GiB. Needs no Python packages; builds with cargo.
"""
import argparse
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "target" / "release"
GIB = float(1 << 30)


def measured(command):
    """Standard output and the peak resident memory in bytes."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([str(part) for part in command], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            sys.exit(f"{shlex.join(map(str, command))}: failed")
        out.seek(0)
        return out.read().decode(), usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime


def size(path):
    files = [path] if path.is_file() else path.iterdir()
    return sum(file.stat().st_size for file in files)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=1 << 31)
    parser.add_argument("--type", default="bf16")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--shape", default="")
    parser.add_argument("--folder")
    parser.add_argument("--fuse", default="", help="further options of otfuse fuse")
    arguments = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "-p", "otfuse-cli", "--bins", "--example", "synthetic_llama"], cwd=ROOT, check=True)
    folder = pathlib.Path(arguments.folder or tempfile.mkdtemp(prefix="otfuse-memory-"))
    models = [folder / "a", folder / "b"]
    for seed, model in enumerate(models):
        if not model.exists():
            options = ["--seed", seed, "--bytes", arguments.bytes, "--type", arguments.type, "--shards", arguments.shards]
            command = [BIN / "examples" / "synthetic_llama", model, *options, *shlex.split(arguments.shape)]
            print(measured(command)[0].strip())
    target = folder / "fused"
    shutil.rmtree(target, ignore_errors=True)
    text, peak, cpu = measured([BIN / "otfuse", "fuse", *models, "-o", target, "--json", *shlex.split(arguments.fuse)])
    report = json.loads(text)
    model = max(size(model) for model in models)
    limit = 1.5 * model + GIB
    print(f"one model {model / GIB:.2f} GiB, peak {peak / GIB:.2f} GiB, limit (1.5 models + 1 GiB) {limit / GIB:.2f} GiB")
    print("proved" if report["settings"]["verified"] else "not proved")
    for stage, seconds in report["seconds"].items():
        print(f"{stage:12} {seconds:8.1f} s")
    print(f"{'processor':12} {cpu:8.1f} s")
    if not arguments.folder:
        shutil.rmtree(folder)
    sys.exit(0 if peak < limit else 1)


if __name__ == "__main__":
    main()
