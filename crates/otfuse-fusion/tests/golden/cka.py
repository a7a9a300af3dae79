"""Linear CKA by its definition, in numpy: writes cka.json beside this script.

    python crates/otfuse-fusion/tests/golden/cka.py

Kornblith et al., "Similarity of neural network representations revisited", ICML 2019, section 3: features are centred, then
|Y'X|^2 / (|X'X| |Y'Y|) in Frobenius norms, in float64 on features rounded to float32.
"""

import json
import pathlib

import numpy as np


def cka(x, y):
    x, y = (a.astype(np.float64) for a in (x, y))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def main():
    random = np.random.default_rng(0)
    cases = []
    for samples, p, q, mix in [(5, 3, 7, 0.0), (12, 8, 8, 0.5), (20, 30, 4, 0.9), (9, 1100, 6, 0.3)]:
        x = random.normal(size=(samples, p)) + 3.0
        y = random.normal(size=(samples, q)) * (1 - mix) + mix * x @ random.normal(size=(p, q)) / np.sqrt(p)
        x, y = np.maximum(x - 2.5, 0).astype(np.float32), y.astype(np.float32)
        # Few digits keep the file small; float32 values of these digits are what both sides read.
        x, y = (np.round(a, 3).astype(np.float32) for a in (x, y))
        case = {"samples": samples, "cka": cka(x, y)}
        case["x"], case["y"] = ([float(f"{v:.3f}") for v in a.ravel()] for a in (x, y))
        cases.append(case)
    path = pathlib.Path(__file__).with_name("cka.json")
    path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")


main()
