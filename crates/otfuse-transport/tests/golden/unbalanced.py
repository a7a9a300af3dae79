#!/usr/bin/env python3
"""Writes unbalanced.json: solutions of unbalanced entropic problems by POT, for tests/unbalanced.rs.

usage: unbalanced.py  (needs numpy and POT)
"""
import json
import pathlib

import numpy as np
import ot

random = np.random.default_rng(0)
cases = []
for n, m, reg, rows, columns in [(5, 7, 0.1, 1.0, 1.0), (6, 4, 0.05, 0.2, 3.0), (4, 4, 0.5, 10.0, 0.1), (3, 5, 0.2, 50.0, 50.0)]:
    cost = np.round(random.random((n, m)), 3)
    a, b = random.random(n) + 0.1, random.random(m) + 0.1
    a, b = a / a.sum(), b / b.sum()
    plan = ot.unbalanced.sinkhorn_unbalanced(
        a, b, cost, reg, (rows, columns), reg_type="kl", method="sinkhorn_stabilized", numItermax=200_000, stopThr=1e-15)
    cases.append({"a": a.tolist(), "b": b.tolist(), "cost": cost.tolist(), "epsilon": reg, "row_penalty": rows,
                  "column_penalty": columns, "plan": np.round(plan, 12).tolist()})
text = json.dumps(cases).replace("{", "\n{")
(pathlib.Path(__file__).parent / "unbalanced.json").write_text(text + "\n")
