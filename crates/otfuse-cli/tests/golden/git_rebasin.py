#!/usr/bin/env python3
"""Weight matching of Git Re-Basin (Ainsworth, Hayase, Srinivasa, ICLR 2023, algorithm 1) on two multilayer perceptrons
without biases, written from the paper's description.

usage: git_rebasin.py MODEL_A MODEL_B > git_rebasin.json        needs numpy, scipy and torch

Maximises sum_l <W_l(B), P_l W_l(A) P_(l-1)'> over permutations P_l of each hidden layer, coordinate by coordinate in
random order, until a sweep changes nothing. The orders come from SplitMix64, one Fisher-Yates shuffle a sweep.
"""
import json
import sys

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

MASK = (1 << 64) - 1


def split_mix(state):
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        yield mixed ^ (mixed >> 31)


def shuffled(count, numbers):
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        other = next(numbers) % (last + 1)
        order[last], order[other] = order[other], order[last]
    return order


def weights(path):
    state = torch.load(path, map_location="cpu", weights_only=False)
    state = state.get("model_state_dict", state)
    return [tensor.double().numpy() for tensor in state.values()]


def match(a, b, seed):
    hidden = len(a) - 1
    # order[l][j]: the neuron of A that takes the place of neuron j of B.
    order = [np.arange(a[l].shape[0]) for l in range(hidden)]

    def aligned(l):
        w = a[l] if l == 0 else a[l][:, order[l - 1]]
        return w if l == hidden else w[order[l]]

    numbers, sweeps = split_mix(seed), 0
    while True:
        changed = False
        for l in shuffled(hidden, numbers):
            incoming = a[l] if l == 0 else a[l][:, order[l - 1]]
            outgoing = a[l + 1] if l + 1 == hidden else a[l + 1][order[l + 1]]
            gain = b[l] @ incoming.T + b[l + 1].T @ outgoing
            _, best = linear_sum_assignment(gain, maximize=True)
            rows = np.arange(len(best))
            if gain[rows, best].sum() > gain[rows, order[l]].sum() + 1e-9:
                order[l], changed = best, True
        sweeps += 1
        if not changed:
            break
    similarity = sum(float((b[l] * aligned(l)).sum()) for l in range(hidden + 1))
    distance = sum(float(((b[l] - aligned(l)) ** 2).sum()) for l in range(hidden + 1))
    return {"seed": seed, "similarity": similarity, "squared_distance": distance, "sweeps": sweeps}


if __name__ == "__main__":
    a, b = weights(sys.argv[1]), weights(sys.argv[2])
    json.dump({"runs": [match(a, b, seed) for seed in range(5)]}, sys.stdout, indent=1)
    print()
