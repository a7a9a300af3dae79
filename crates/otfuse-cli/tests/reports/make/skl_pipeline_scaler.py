#!/usr/bin/env python3
"""Writes pipelines of scikit-learn: a scaler or a normaliser, and a perceptron behind it, with and without the map from
classes to probabilities.

usage: skl_pipeline_scaler.py FOLDER        needs scikit-learn, skl2onnx
"""
import sys
import warnings

import numpy as np
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

warnings.filterwarnings("ignore")
random = np.random.default_rng(0)
x = random.normal(size=(300, 6)).astype(np.float32) * np.arange(1, 7, dtype=np.float32) + 3
y = (x[:, 0] > x[:, 3]).astype(int) + (x[:, 5] > 5)


def write(name, scaler, seed, labels=y, **options):
    network = MLPClassifier((8, 6), max_iter=40, random_state=seed)
    model = to_onnx(make_pipeline(scaler, network).fit(x, labels), x[:1], options=options or None, target_opset=18)
    open(f"{sys.argv[1]}/{name}{seed}.onnx", "wb").write(model.SerializeToString())


for seed in (1, 2):
    write("scaled", StandardScaler(), seed, zipmap=False)
    write("mapped", StandardScaler(), seed)
    write("named", StandardScaler(), seed, np.array(["a", "b", "c"])[y])
    write("normed", Normalizer("l2"), seed, zipmap=False)
