"""Times an interpolation of two networks against as many plain evaluations as it has networks to measure.

Usage: python3 benches/interpolation.py A B [--otfuse target/release/otfuse] [--steps 11] [--limit 2000] [--rounds 3]
                                        -- --arch vgg --data cifar10:FOLDER

What stands behind `--` is given to both commands. An interpolation in N steps measures N plain averages and N aligned ones; the
time of 2 N evaluations is N times that of `otfuse eval A B`. Needs nothing but Python 3.8.
"""

import argparse
import statistics
import subprocess
import sys
import time


def seconds(command):
    start = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(command)}: {run.stderr}")
    return time.perf_counter() - start


def main():
    own, shared = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, shared = own[:at], own[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs=2)
    parser.add_argument("--otfuse", default="target/release/otfuse")
    parser.add_argument("--steps", type=int, default=11)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(own)
    given = [*arguments.models, *shared, "--limit", str(arguments.limit)]
    evaluations, walks = [], []
    for _ in range(arguments.rounds):
        evaluations.append(arguments.steps * seconds([arguments.otfuse, "eval", *given]))
        walks.append(seconds([arguments.otfuse, "interpolate", *given, "--steps", str(arguments.steps)]))
    evaluation, walk = statistics.median(evaluations), statistics.median(walks)
    print(f"{2 * arguments.steps} evaluations {evaluation:.1f} s, interpolation {walk:.1f} s, ratio {walk / evaluation:.2f}")


if __name__ == "__main__":
    main()
