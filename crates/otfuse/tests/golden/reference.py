#!/usr/bin/env python3
"""What onnxruntime (or, failing that, onnx) computes on the collection of ONNX files, for comparison with the interpreter.

    reference.py networks COLLECTION networks.json     whole networks; at most 64 elements of each output are kept
    reference.py operators COLLECTION operators.json   single operators; outputs are kept whole up to 65536 elements

Needs numpy, onnx and onnxruntime. Inputs are not stored but generated: element i (row-major, from 0) of input k (from
0, in the order of the graph) is made of the 64-bit output number i + 1 of SplitMix64 started from the seed k + 1:
floats are (output >> 40) / 2^23 - 1, in [-1, 1); integers and truth values are low + ((output >> 32) * bound >> 32),
in [low, low + bound), low being 1 where onnxruntime fails on zeros. `tests/onnx_corpus/golden.rs` does the same.

An entry: {"inputs": [{"name", "type", "shape", "bound", "low"}], "outputs": [{"name", "type", "shape", "max", "values"}]};
`values` are the elements at floor(j * count / len(values)); what is no number is a string. A single operator that
onnxruntime refuses has its reason as "onnxruntime", and outputs only where onnx's own reference implementation has some.
"""

import json
import math
import multiprocessing
import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

NETWORK_FOLDERS = ["exported", "misc", "vnncomp", "vit", "onnx-light"]
OPERATOR_FOLDERS = ["burn-onnx", "onnx-pytorch", "tract"]
CARRIERS = {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Slice"}


def generated(index, kind, shape, bound, low):
    count = math.prod(shape)
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(index + 1) + numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
    if bound is None:
        values = (z >> numpy.uint64(40)).astype(numpy.float64) / 2.0**23 - 1.0
    else:
        values = (((z >> numpy.uint64(32)) * numpy.uint64(bound)) >> numpy.uint64(32)) + numpy.uint64(low)
    return values.astype(kind).reshape(shape)


def bound_of(graph, name):
    """The smallest table that an integer input indexes."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in list(graph.input) + list(graph.value_info):
        shapes.setdefault(value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim])
    carriers, rows = {name}, []
    for node in graph.node:
        if node.op_type in ("Gather", "GatherElements") and node.input[1] in carriers and node.input[0] in shapes:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            rows += [length for length in shapes[node.input[0]][axis:][:1] if length > 0]
        elif node.op_type in CARRIERS and node.input[0] in carriers:
            carriers.update(node.output)
    return min(rows, default=2)


def with_onnxruntime(path, feed):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Fused kernels and folded batch normalisations would answer for another graph.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outputs = session.get_outputs()
    return {output.name: output.shape for output in outputs}, session.run(None, feed)


def with_onnx(path, feed):
    evaluator = ReferenceEvaluator(str(path))
    shapes = {name: [] for name in evaluator.output_names}
    return shapes, evaluator.run(None, feed)


def run(path, open_length, low, execute):
    model = onnx.load(str(path))
    initialized = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in initialized]
    dims = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in given]
    samples = next((dim[0] for dim in dims if dim and dim[0] > 0), open_length)
    inputs, feed = [], {}
    for index, (value, dim) in enumerate(zip(given, dims)):
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = [length if length > 0 else (samples if axis == 0 else open_length) for axis, length in enumerate(dim)]
        bound = None if kind.kind == "f" else bound_of(model.graph, value.name)
        inputs.append({"name": value.name, "type": kind.name, "shape": shape, "bound": bound, "low": low})
        feed[value.name] = generated(index, kind, shape, bound, low)
    shapes, found = execute(path, feed)
    for shape, array in zip(shapes.values(), found):
        declared = {axis: length for axis, length in enumerate(shape) if isinstance(length, int) and length > 0}
        # Inputs that are shapes or indices may ask for another output than the file declares.
        if any(axis >= numpy.ndim(array) or numpy.shape(array)[axis] != length for axis, length in declared.items()):
            raise ValueError(f"output of shape {numpy.shape(array)}, declared {shape}")
    return inputs, list(shapes), found


def number(value):
    value = float(value)
    return value if math.isfinite(value) else str(value)


def outputs_of(names, found, kept):
    outputs = []
    for name, array in zip(names, found):
        array = numpy.asarray(array)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"output of type {array.dtype}")
        flat = array.reshape(-1)
        count = min(kept, flat.size)
        values = flat[[j * flat.size // count for j in range(count)]] if count else flat
        largest = number(numpy.abs(flat.astype(numpy.float64)).max()) if flat.size else 0.0
        values = [number(f"{float(value):.9g}") for value in values]
        outputs.append({"name": name, "type": array.dtype.name, "shape": list(array.shape), "max": largest, "values": values})
    return outputs


def attempt(connection, path, kept, open_length, low, execute):
    try:
        inputs, names, found = run(path, open_length, low, execute)
        connection.send(({"inputs": inputs, "outputs": outputs_of(names, found, kept)}, None))
    except Exception as error:  # onnxruntime raises several unrelated types
        connection.send((None, str(error)))


def entry(path, kept, attempts, execute):
    """An entry or why there is none; in a process of its own, because onnxruntime dies of a division by zero."""
    failure = None
    for open_length, low in attempts:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(
            target=attempt, args=(sender, path, kept, open_length, low, execute)
        )
        process.start()
        sender.close()
        try:
            found, reason = receiver.recv()
        except EOFError:
            found, reason = None, "onnxruntime ended its process"
        process.join()
        if found is not None:
            return found, None
        failure = failure or reason
    return None, failure


def main():
    mode, collection, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    networks = mode == "networks"
    attempts = [(2, 0)] if networks else [(2, 0), (2, 1), (3, 0), (4, 0), (1, 0), (5, 0), (8, 0)]
    entries = {}
    for folder in NETWORK_FOLDERS if networks else OPERATOR_FOLDERS:
        for path in sorted((collection / folder).glob("*.onnx")):
            found, failure = entry(path, 64 if networks else 65536, attempts, with_onnxruntime)
            if found is None:
                print(f"left out: {folder}/{path.name}: {str(failure)[:200]}", file=sys.stderr)
            if found is None and not networks:
                # The specification's own implementation knows operators of old versions.
                found, _ = entry(path, 65536, attempts, with_onnx)
                found = {**(found or {}), "onnxruntime": " ".join(str(failure).split())[:200]}
            if found is not None:
                entries[f"{folder}/{path.name}"] = found
    text = ",\n".join(f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}" for name, value in entries.items())
    target.write_text("{\n" + text + "\n}\n")
    print(f"{len(entries)} files", file=sys.stderr)


if __name__ == "__main__":
    main()
