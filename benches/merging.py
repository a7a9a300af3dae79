#!/usr/bin/env python3
"""Merges random Llamas by mergekit and by otfuse, in turn, and prints wall time, processor time and peak memory of both.

usage: merging.py [--mergekit mergekit-yaml] [--otfuse target/release/otfuse] [--methods linear,slerp,..] [--models 2,4] [--rounds 3]
                  [--folder DIR] [--layers 21] [--check] [--quick]
needs numpy; mergekit for the comparison (`--mergekit ''`: otfuse alone)

The models are bfloat16, 0.57 GiB each: one, and copies of it moved a little, as after fine-tuning. `2 models` are two such copies; ties, dare_ties
and model_stock get the first one as their base besides, slerp takes one of the two. Both programs read the same files from the page cache and the
same YAML, with their defaults (mergekit is told not to look for a tokenizer: there is none), and write to the same disk; what was written is
flushed between runs, outside the measured time. One round runs each program once, the one that goes first changes from round to round; figures are
medians, ratios are those of the medians. Peak memory is the largest resident set of the process, mapped pages of the files included, as
`/usr/bin/time -v` gives it. `--check` compares what was written (dare_ties: random numbers differ, only the shapes). `--quick`: 8 MiB a model, one
round.
"""
import argparse
import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIB = float(1 << 20)
METHODS = ["linear", "slerp", "ties", "dare_ties", "model_stock"]


# Models ----------------------------------------------------------------------------------------------------------------------------------


def shapes(hidden, inner, layers, words, heads, groups):
    size = hidden // heads
    yield "model.embed_tokens.weight", (words, hidden)
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (hidden,)
        for name, rows in (("q", hidden), ("k", groups * size), ("v", groups * size)):
            yield f"{prefix}self_attn.{name}_proj.weight", (rows, hidden)
        yield prefix + "self_attn.o_proj.weight", (hidden, hidden)
        yield prefix + "post_attention_layernorm.weight", (hidden,)
        yield prefix + "mlp.gate_proj.weight", (inner, hidden)
        yield prefix + "mlp.up_proj.weight", (inner, hidden)
        yield prefix + "mlp.down_proj.weight", (hidden, inner)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (words, hidden)


def bfloat16(values):
    """Rounded to the nearest, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_model(folder, form, number):
    """Model 0 is random; the others are it, moved by a tenth of its spread."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": form["hidden"], "intermediate_size": form["inner"],
        "num_hidden_layers": form["layers"], "num_attention_heads": form["heads"], "num_key_value_heads": form["groups"],
        "vocab_size": form["words"], "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": False,
        "torch_dtype": "bfloat16", "dtype": "bfloat16",
    }  # fmt: skip
    (partial / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes(**form):
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(partial / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for place, (_, shape) in enumerate(shapes(**form)):
            values = np.random.default_rng([0, place]).standard_normal(shape, dtype=np.float32) * 0.02 + (len(shape) == 1)
            if number:
                values += np.random.default_rng([number, place]).standard_normal(shape, dtype=np.float32) * 0.002
            file.write(bfloat16(values).tobytes())
    partial.rename(folder)


def tensors(file):
    """name and values of a safetensors file of bfloat16 or float32, one at a time."""
    with open(file, "rb") as data:
        start = int.from_bytes(data.read(8), "little")
        header = json.loads(data.read(start))
        for name, entry in sorted(header.items()):
            if name != "__metadata__":
                data.seek(8 + start + entry["data_offsets"][0])
                raw = data.read(entry["data_offsets"][1] - entry["data_offsets"][0])
                bf16 = entry["dtype"] == "BF16"
                values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32) if bf16 else np.frombuffer(raw, "<f4")
                yield name, values.reshape(entry["shape"])


def largest_difference(ours, theirs, random):
    worst = 0.0
    files = [sorted(folder.glob("*.safetensors")) for folder in (ours, theirs)]
    if [len(each) for each in files] != [1, 1]:
        return "several files"
    for (name, our), (other, their) in zip(tensors(files[0][0]), tensors(files[1][0]), strict=True):
        if name != other or our.shape != their.shape:
            return f"{name} and {other} differ in name or shape"
        worst = max(worst, float(np.linalg.norm(our - their) / np.linalg.norm(their)))
    return "same names and shapes" if random else f"{worst:.1e}"


# Runs ------------------------------------------------------------------------------------------------------------------------------------


def configuration(method, count, folder):
    """Whole paths: mergekit asks the hub about others when it writes its card."""
    models = [folder / f"model-{i + 1}" for i in range(count)]
    lines = [f"merge_method: {method}", "models:"]
    for model in models:
        lines.append(f"- model: {model}")
        if method not in ("slerp", "model_stock"):
            density = ", density: 0.5" if method in ("ties", "dare_ties") else ""
            lines.append(f"  parameters: {{weight: {1 / count}{density}}}")
    if method != "linear":
        lines.append(f"base_model: {models[0] if method == 'slerp' else folder / 'model-0'}")
    if method == "slerp":
        lines.append("parameters: {t: 0.4}")
    return "\n".join([*lines, "dtype: bfloat16", ""])


def measured(command, folder):
    """Wall seconds, processor seconds and peak bytes of a command."""
    os.sync()
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = status
        if status != 0:
            log.seek(0)
            sys.exit(f"{shlex.join(command)}: failed\n{log.read().decode(errors='replace')[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def compare(method, count, folder, programs, rounds, check):
    (folder / "merge.yml").write_text(configuration(method, count, folder))
    figures = {name: [] for name in programs}
    for turn in range(rounds):
        for name in list(programs)[:: 1 if turn % 2 == 0 else -1]:
            out = folder / f"out-{name}"
            shutil.rmtree(out, ignore_errors=True)
            command = [part.format(config="merge.yml", out=out.name) for part in programs[name]]
            figures[name].append(measured(command, folder))
    middle = {name: [statistics.median(column) for column in zip(*runs)] for name, runs in figures.items()}
    ours = middle["otfuse"]
    row = [method, str(count)]
    if "mergekit" in middle:
        theirs = middle["mergekit"]
        for ours_at, theirs_at, unit in ((ours[0], theirs[0], 1), (ours[1], theirs[1], 1), (ours[2], theirs[2], MIB)):
            digits = 0 if unit == MIB else 2
            row += [f"{theirs_at / unit:.{digits}f}", f"{ours_at / unit:.{digits}f}", f"{theirs_at / ours_at:.1f} x"]
    else:
        row += [f"{ours[0]:.2f}", f"{ours[1]:.2f}", f"{ours[2] / MIB:.0f}"]
    if check and "mergekit" in middle:
        row.append(largest_difference(folder / "out-otfuse", folder / "out-mergekit", method == "dare_ties"))
    for name in programs:
        shutil.rmtree(folder / f"out-{name}", ignore_errors=True)
    print("| " + " | ".join(row) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mergekit", default="mergekit-yaml --no-copy-tokenizer", help="the command, with options if wanted; '' for none")
    parser.add_argument("--otfuse", default=str(ROOT / "target" / "release" / "otfuse"), help="the command, with options if wanted")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--models", default="2,4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=21)
    parser.add_argument("--folder", help="keeps the models there")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    form = {"hidden": 1024, "inner": 2816, "layers": arguments.layers, "words": 32768, "heads": 16, "groups": 4}
    if arguments.quick:
        form.update(hidden=256, inner=704, layers=4, words=2048, heads=4, groups=2)
        arguments.rounds = 1
    counts = [int(count) for count in arguments.models.split(",")]
    folder = pathlib.Path(arguments.folder or tempfile.mkdtemp(prefix="otfuse-merging-")).resolve()
    for number in range(max(counts) + 1):
        if not (folder / f"model-{number}").exists():
            write_model(folder / f"model-{number}", form, number)
    size = (folder / "model-0" / "model.safetensors").stat().st_size
    print(f"{size / MIB / 1024:.2f} GiB a model, {os.cpu_count()} processors, median of {arguments.rounds}, in turn\n")
    programs = {"otfuse": [*shlex.split(arguments.otfuse), "fuse", "{config}", "-o", "{out}"]}
    heads = ["wall, s", "processor, s", "memory, MiB"]
    if arguments.mergekit:
        programs = {"mergekit": [*shlex.split(arguments.mergekit), "{config}", "{out}"], **programs}
        heads = [column for head in heads for column in (f"mergekit {head}", "otfuse", "ratio")]
        heads += ["largest difference"] if arguments.check else []
    print("| method | models | " + " | ".join(heads) + " |\n" + "|---" * (len(heads) + 2) + "|")
    for count in counts:
        for method in arguments.methods.split(","):
            if method != "slerp" or count == 2:
                compare(method, count, folder, programs, arguments.rounds, arguments.check)
    if not arguments.folder:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
