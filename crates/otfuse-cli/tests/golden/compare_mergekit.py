#!/usr/bin/env python3
"""Merges the cases of mergekit.py by otfuse and says how far the results are from mergekit's.

usage: compare_mergekit.py OTFUSE [CASE ...] [--verbose] [--json FILE]        needs numpy

Runs `OTFUSE fuse mergekit/CASE/config.yml -o OUT` on each case, `--seed N` where the case has one, and prints a line for each: the largest
relative norm of the difference over its tensors, |ours - mergekit's| / |mergekit's|, and that tensor; how many numbers differ; tensors
that are missing, not expected, or of another shape or type; entries of config.json, tokens and chat template that differ. Ends with status 1
unless all cases are within 4e-3, those without 16 bits within 5e-5 (angles in 32 bits are no nearer), linear and passthrough within 1e-6.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent / "mergekit"
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I8": "i1", "U8": "u1", "BOOL": "?"}
LIMIT, FULL, EXACT = 4e-3, 5e-5, 1e-6


def tensors(file):
    """name: (type, values as 64-bit floats) of a safetensors file."""
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        values = np.frombuffer(data[start + first : start + last], dtype=TYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        found[name] = entry["dtype"], values.astype(np.float64).reshape(entry["shape"])
    return found


def folder_tensors(folder):
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        found.update(tensors(file))
    return found


def compare_tensors(ours, theirs):
    worst, at, differing, wrong = 0.0, "", 0, []
    wrong += [f"no tensor {name}" for name in theirs if name not in ours]
    wrong += [f"tensor {name} not expected" for name in ours if name not in theirs]
    for name, (kind, values) in theirs.items():
        if name not in ours:
            continue
        our_kind, our = ours[name]
        if our.shape != values.shape:
            wrong.append(f"{name} has shape {list(our.shape)}, expected {list(values.shape)}")
            continue
        if our_kind != kind:
            wrong.append(f"{name} is {our_kind}, expected {kind}")
        differing += int((our != values).sum())
        size = np.linalg.norm(values)
        distance = np.linalg.norm(our - values)
        error = distance / size if size > 0 else distance
        if not error <= worst:
            worst, at = error, name
    return worst, at, differing, wrong


def compare_files(out, expected):
    """Differences of config.json and of the tokenizer."""
    wrong = []
    written = json.loads((out / "config.json").read_text())
    for key, value in expected["config"].items():
        our = written.get(key, written.get("torch_dtype") if key == "dtype" else None)
        if our != value:
            wrong.append(f"config.json: {key} is {our!r}, expected {value!r}")
    if "tokens" in expected:
        file = out / "tokenizer.json"
        if not file.exists():
            return [*wrong, "no tokenizer.json"]
        tokenizer = json.loads(file.read_text())
        numbers = dict(tokenizer["model"]["vocab"])
        numbers.update({token["content"]: token["id"] for token in tokenizer["added_tokens"]})
        tokens = sorted(numbers, key=numbers.get)
        if tokens != expected["tokens"] or sorted(numbers.values()) != list(range(len(tokens))):
            wrong.append(f"tokens are {tokens}, expected {expected['tokens']}")
    if "chat_template" in expected:
        file, settings = out / "chat_template.jinja", out / "tokenizer_config.json"
        template = file.read_text() if file.exists() else json.loads(settings.read_text()).get("chat_template") if settings.exists() else None
        if (template or "").strip() != expected["chat_template"].strip():
            wrong.append("another chat template")
    return wrong


def run(otfuse, name):
    folder = ROOT / name
    expected = json.loads((folder / "expected.json").read_text())
    theirs = tensors(folder / "expected.safetensors")
    with tempfile.TemporaryDirectory() as temporary:
        out = pathlib.Path(temporary) / "out"
        command = [otfuse, "fuse", folder / "config.yml", "-o", out]
        if "seed" in expected:
            command += ["--seed", str(expected["seed"])]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.startswith(("error", "hint", "thread"))] or done.stderr.splitlines()[-1:]
            return {"error": f"status {done.returncode}: " + " ".join(lines)}
        worst, at, differing, wrong = compare_tensors(folder_tensors(out), theirs)
        wrong += compare_files(out, expected)
    text = (folder / "config.yml").read_text()
    methods = {line.split(":")[1].strip() for line in text.splitlines() if "merge_method:" in line}
    in_full = "float16" not in text and all(kind == "F32" for kind, _ in theirs.values())
    limit = EXACT if methods <= {"linear", "passthrough"} else FULL if in_full else LIMIT
    count = sum(values.size for _, values in theirs.values())
    return {"largest": worst, "tensor": at, "differing": differing, "numbers": count, "wrong": wrong, "limit": limit}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("otfuse", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--verbose", action="store_true", help="all differences, not the first three of a case")
    parser.add_argument("--json", help="write the figures there")
    arguments = parser.parse_args()
    names = arguments.cases or sorted(file.parent.name for file in ROOT.glob("*/config.yml"))
    results, bad = {}, 0
    for name in names:
        result = results[name] = run(arguments.otfuse, name)
        fine = "error" not in result and not result["wrong"] and result["largest"] <= result["limit"]
        bad += not fine
        if "error" in result:
            print(f"FAILED {name:34} {result['error']}", flush=True)
            continue
        share = f"{result['differing']}/{result['numbers']} differ"
        print(f"{'ok    ' if fine else 'DIFFER'} {name:34} {result['largest']:8.1e} {share:22} {result['tensor']}", flush=True)
        for line in result["wrong"] if arguments.verbose else result["wrong"][:3]:
            print(f"           {line}")
    print(f"{len(names)} cases, {bad} not equal")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
