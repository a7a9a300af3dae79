#!/usr/bin/env python3
"""Times networks of otfuse-runtime beside PyTorch and onnxruntime, on the CPU or a GPU, and prints a Markdown table of ratios.

usage: runtime.py [--rounds 5] [--threads 2 1] [--only resnet18 ..] [--device cuda] [--program FILE]

Needs torch and onnx in the Python that runs it, onnxruntime for its column (CPU only). Builds the example `runtime` with cargo, unless it is given (with `--device cuda` it has to be built with that feature).
PyTorch may use TF32 on a GPU, as its users let it. Networks are made by PyTorch with random weights and exported to ONNX with
their normalisations apart; all programs run the same file or module on random data, in turn, `--rounds` times with each number of
threads; each round's figure is the median of several passes, and medians of the rounds are compared. Networks:

- VGG11 on 3 x 32 x 32 images, without bias and normalisation, one linear layer, as in the paper; batch 100 forward, 128 in training;
- MLP 784-400-200-100-10 with biases, batch 100 forward (and 1 and 512), 64 in training;
- ResNet18 of CIFAR (first convolution 3 x 3, no pooling behind it), batch 50 forward, 64 in training;
- GPT-2 of the small size (12 layers of 768, 50,257 tokens), one window of 128 tokens.

A training step is forward, backward and an update by stochastic gradient descent with momentum 0.9.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNTIME = ROOT / "target" / "release" / "examples" / "runtime"
# Network, work, batch, passes.
WORK = [
    ("vgg11", "forward", 100, 5),
    ("vgg11", "train", 128, 3),
    ("mlp", "forward", 1, 500),
    ("mlp", "forward", 100, 200),
    ("mlp", "forward", 512, 50),
    ("mlp", "train", 64, 200),
    ("resnet18", "forward", 50, 3),
    ("resnet18", "train", 64, 2),
    ("gpt2", "forward", 1, 5),
]
TITLES = {"vgg11": "VGG11", "mlp": "MLP", "resnet18": "ResNet18", "gpt2": "GPT-2 small"}


# Networks --------------------------------------------------------------------------------------------------------------------------------


def vgg11():
    from torch import nn

    layers, channels = [], 3
    for width in [64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0]:
        if width == 0:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10, bias=False))


def mlp():
    from torch import nn

    return nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 200), nn.ReLU(), nn.Linear(200, 100), nn.ReLU(),
                         nn.Linear(100, 10))


def resnet18():
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
                                       nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
            self.shortcut = nn.Identity()
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

        def forward(self, x):
            return (self.first(x) + self.shortcut(x)).relu()

    layers, channels = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()], 64
    for width, stride in [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]:
        layers.append(Block(channels, width, stride))
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def gpt2(width=768, heads=12, layers=12, words=50257, length=1024):
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.before_attention, self.before_inner = nn.LayerNorm(width), nn.LayerNorm(width)
            self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

        def forward(self, x):
            split = [part.unflatten(-1, (heads, -1)).transpose(1, 2)
                     for part in self.query_key_value(self.before_attention(x)).split(width, -1)]
            found = nn.functional.scaled_dot_product_attention(*split, is_causal=True)
            x = x + self.out(found.transpose(1, 2).flatten(2))
            return x + self.inner(self.before_inner(x))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(words, width), nn.Parameter(0.02 * torch.randn(length, width))
            self.blocks, self.last = nn.Sequential(*(Block() for _ in range(layers))), nn.LayerNorm(width)

        def forward(self, tokens):
            x = self.words(tokens) + self.places[: tokens.shape[1]]
            return self.last(self.blocks(x)) @ self.words.weight.T

    return Network()


def made(name, device="cpu"):
    import torch

    torch.manual_seed(0)
    return {"vgg11": vgg11, "mlp": mlp, "resnet18": resnet18, "gpt2": gpt2}[name]().to(device)


def inputs_of(name, batch, device="cpu"):
    import torch

    if name == "gpt2":
        return torch.randint(0, 1000, (batch, 128), device=device)
    return torch.randn(batch, *([784] if name == "mlp" else [3, 32, 32]), device=device)


def exported(name, folder):
    """The network as an ONNX file whose first axis is open."""
    import torch

    path = folder / f"{name}.onnx"
    kept = {} if name == "gpt2" else {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    model = made(name).eval()
    torch.onnx.export(model, (inputs_of(name, 2),), str(path), dynamo=False, opset_version=17, input_names=["x"],
                      output_names=["y"], dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}}, **kept)
    return path


# One process each ------------------------------------------------------------------------------------------------------------------------


def timed(once, repeat):
    seconds = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def torch_peer(name, work, batch, repeat, threads, device):
    """What a process of its own measures with PyTorch: the median over `repeat` passes."""
    import torch

    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    model, inputs = made(name, device), inputs_of(name, batch, device)
    labels = torch.arange(batch, device=device) % 10
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    model.train(work == "train")

    def forward():
        with torch.inference_mode():
            model(inputs)
        wait()

    def train():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        wait()

    print(json.dumps({"seconds": timed(forward if work == "forward" else train, repeat), "version": torch.__version__}))


def onnx_peer(name, path, batch, repeat, threads):
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    if name == "gpt2":
        inputs = random.integers(0, 1000, (batch, 128))
    else:
        inputs = random.normal(size=(batch, *([784] if name == "mlp" else [3, 32, 32]))).astype("f4")
    print(json.dumps({"seconds": timed(lambda: session.run(None, {"x": inputs}), repeat), "version": onnxruntime.__version__}))


def run(command, threads):
    # Numbers of threads are set before the libraries start.
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    environment = {**os.environ, **{name: str(threads) for name in names}}
    done = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout)


def compared(program, path, row, threads, options):
    """Medians over the rounds: ours, PyTorch's, onnxruntime's or None."""
    name, work, batch, repeat = row
    size = ["--batch", batch, "--repeat", repeat, "--device", options.device]
    commands = [[program, path, work, *size],
                [sys.executable, __file__, "--torch", name, work, batch, repeat, threads, options.device]]
    if work == "forward" and options.device == "cpu" and importlib.util.find_spec("onnxruntime"):
        commands.append([sys.executable, __file__, "--onnxruntime", name, path, batch, repeat, threads])
    found = [[] for _ in commands]
    for round_ in range(options.rounds):
        for at in range(len(commands)):
            at = (at + round_) % len(commands)
            found[at].append(run(commands[at], threads))
    seconds = [statistics.median(entry["seconds"] for entry in entries) for entries in found]
    return [*seconds, *[None] * (3 - len(seconds))], [entries[0].get("version") for entries in found[1:]]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    arguments.add_argument("--only", nargs="+", choices=list(TITLES), default=list(TITLES))
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--program", help="the example, built already")
    arguments.add_argument("--torch", nargs=6, help=argparse.SUPPRESS)
    arguments.add_argument("--onnxruntime", nargs=5, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.torch:
        name, work, *numbers, device = options.torch
        return torch_peer(name, work, *map(int, numbers), device)
    if options.onnxruntime:
        name, path, *numbers = options.onnxruntime
        return onnx_peer(name, path, *map(int, numbers))
    if not options.program:
        build = ["cargo", "build", "--release", "-p", "otfuse-runtime", "--example", "runtime"]
        features = [] if options.device == "cpu" else ["--features", options.device.split(":")[0]]
        subprocess.run(build + features, cwd=ROOT, check=True)
    program = options.program or RUNTIME
    rows, versions = [], []
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: exported(name, pathlib.Path(folder)) for name in options.only}
        for threads in options.threads:
            for row in [row for row in WORK if row[0] in options.only]:
                seconds, found = compared(program, paths[row[0]], row, threads, options)
                versions = max(versions, found, key=len)
                rows.append((row, threads, seconds))
                print(rows[-1], file=sys.stderr, flush=True)
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        models = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    peers = ", ".join(f"{name} {version}" for name, version in zip(("PyTorch", "onnxruntime"), versions, strict=False))
    print(f"{models[0] if models else platform.processor()}, {len(models)} cores seen; {platform.system()}; device {options.device}; {peers}; "
          f"median of {options.rounds} rounds, in turn.\n")
    print("| network | work | batch | threads | samples/s | PyTorch | onnxruntime |")
    print("|---|---|---|---|---|---|---|")
    for (name, work, batch, _), threads, (ours, *theirs) in rows:
        ratios = " | ".join(f"{seconds / ours:.2f} x" if seconds else "-" for seconds in theirs)
        print(f"| {TITLES[name]} | {work} | {batch} | {threads} | {batch / ours:.{0 if batch / ours >= 10 else 2}f} | {ratios} |")
    return None


main()
