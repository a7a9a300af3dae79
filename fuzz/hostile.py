#!/usr/bin/env python3
"""Runs the command on files made to do harm, within limits, and says which runs broke what is promised.

    python3 fuzz/hostile.py target/release/otfuse FOLDER... [--commands inspect,verify] [--seconds 20] [--space 3500000]

Promised is, for every file and command: it ends within the limit of seconds and of address space (KiB, as `ulimit -v`), with an
exit code of 0 to 2, and says nothing of an internal fault. Needs Python alone.
"""

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

COMMANDS = ("inspect", "verify", "fuse", "convert", "run")


def words(command, path, folder):
    """What is typed for a command on a file."""
    other = str(folder / f"result{path.suffix if path.suffix == '.onnx' else '.pt'}")
    match command:
        case "fuse" if path.suffix in (".yml", ".yaml"):
            return ["fuse", str(path), "-o", other]
        case "fuse":
            return ["fuse", str(path), str(path), "-o", other]
        case "convert":
            return ["convert", str(path), str(folder / "converted.safetensors")]
        case "run":
            return ["run", str(path), "-o", str(folder / "outputs.npz")]
        case "experiment":
            return ["experiment", "run", str(path)]
        case "data":
            return ["eval", "../net.onnx", "--data", f"csv:{path}"]
        case other:
            return [other, str(path)]


def limited(space, computed):
    def set_limits():
        if computed:
            resource.setrlimit(resource.RLIMIT_CPU, (computed, computed))
        resource.setrlimit(resource.RLIMIT_AS, (space * 1024, space * 1024))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.setpgrp()

    return set_limits


def run(program, command, path, seconds, space, computed):
    """Exit code (negative for a signal, None where it did not end), seconds, those of all cores, peak in MiB, what was said."""
    with tempfile.TemporaryDirectory() as folder:
        with tempfile.TemporaryFile() as said:
            begin = time.monotonic()
            arguments = [program, *words(command, path, pathlib.Path(folder))]
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=said, stderr=said, preexec_fn=limited(space, computed), cwd=folder
            )
            code, usage = None, None
            while time.monotonic() - begin < seconds:
                done, status, usage = os.wait4(process.pid, os.WNOHANG)
                if done:
                    code = os.waitstatus_to_exitcode(status)
                    break
                time.sleep(0.005)
            else:
                process.kill()
                _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            took = time.monotonic() - begin
            size = said.seek(0, 2)
            said.seek(max(0, size - 4000))
            text = said.read().decode(errors="replace")
        return code, took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def fault(code, text):
    """What of the promise is broken."""
    if code is None:
        return "no end"
    if code < 0:
        return f"signal {-code}"
    if code > 2:
        return f"exit {code}"
    for word in ("internal fault", "panicked", "stack overflow"):
        if word in text:
            return word
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("paths", nargs="+", type=pathlib.Path)
    parser.add_argument("--commands", default="inspect,verify")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--computed", type=int, help="a limit of seconds of all cores, for machines that are busy")
    parser.add_argument("--space", type=int, default=3_500_000)
    parser.add_argument("--slow", type=float, default=2, help="runs that compute longer are listed")
    parser.add_argument("--large", type=float, default=1024, help="runs that take more MiB are listed")
    parser.add_argument("--all", action="store_true", help="lists all runs")
    given = parser.parse_args()
    program = str(pathlib.Path(given.program).resolve())
    files = []
    for path in given.paths:
        files += sorted(file.resolve() for file in path.rglob("*") if not file.is_dir()) if path.is_dir() else [path.resolve()]
    runs = broken = 0
    for path in files:
        for command in given.commands.split(","):
            code, took, computed, peak, text = run(
                program, command, path, given.seconds, given.space, given.computed
            )
            found = fault(code, text)
            runs, broken = runs + 1, broken + bool(found)
            if found or computed > given.slow or peak > given.large or given.all:
                last = next((line for line in text.splitlines() if "error" in line or "panicked" in line), "")
                print(f"{found or 'ok':14} {command:8} {path.name:44} code {code} {took:5.1f} s ({computed:5.1f} s computed) {peak:6.0f} MiB {last[:150]}", flush=True)
    print(f"{runs} runs of {len(files)} files, {broken} broke the promise")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
