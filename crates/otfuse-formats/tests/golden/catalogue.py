"""Small networks of the catalogue's families: state dicts, inputs and PyTorch's outputs.

    python catalogue.py                 writes catalogue/NAME.pt and catalogue/NAME.npz (input, logits)
    python catalogue.py check FOLDER    runs the ONNX files that the tests wrote for them, with onnxruntime:
                                        OTFUSE_WRITTEN=FOLDER cargo test -p otfuse-formats --test catalogue_golden
"""

import pathlib
import sys

import numpy
import torch
from torch import nn
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent / "catalogue"


class Mlp(nn.Module):
    def __init__(self, bias):
        super().__init__()
        sizes = [12, 16, 9, 7, 5]
        for number, (inputs, outputs) in enumerate(zip(sizes, sizes[1:]), 1):
            setattr(self, f"fc{number}", nn.Linear(inputs, outputs, bias=bias))

    def forward(self, x):
        for number in range(1, 4):
            x = functional.relu(getattr(self, f"fc{number}")(x))
        return self.fc4(x)


class NormedMlp(nn.Module):
    """Normalisations written down behind all linear layers."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 5)
        self.bn1, self.bn2 = nn.BatchNorm1d(16), nn.BatchNorm1d(16)

    def forward(self, x):
        x = functional.relu(self.bn1(self.fc1(x)))
        return self.fc3(functional.relu(self.bn2(self.fc2(x))))


class Batched(nn.Module):
    """Applied to three axes, so that the exporter transposes the weights for MatMul."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class Vgg(nn.Module):
    def __init__(self, plan, norm, bias, head):
        super().__init__()
        layers, channels = [], 3
        for entry in plan:
            if entry == "M":
                layers.append(nn.MaxPool2d(2))
                continue
            layers.append(nn.Conv2d(channels, entry, 3, padding=1, bias=bias))
            layers.extend([nn.BatchNorm2d(entry)] if norm else [])
            layers.append(nn.ReLU())
            channels = entry
        self.features, self.classifier = nn.Sequential(*layers), head

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


class Block(nn.Module):
    def __init__(self, inputs, width, stride, expansion, option, norm):
        super().__init__()
        outputs = width * expansion
        self.norm, self.bottleneck = norm, expansion > 1
        shapes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
        if not self.bottleneck:
            shapes = [(inputs, width, 3, stride), (width, width, 3, 1)]
        for number, (ins, outs, kernel, step) in enumerate(shapes, 1):
            conv = nn.Conv2d(ins, outs, kernel, step, kernel // 2, bias=not norm)
            setattr(self, f"conv{number}", conv)
            if norm:
                setattr(self, f"bn{number}", nn.BatchNorm2d(outs))
        self.count, self.added, self.step = len(shapes), (outputs - inputs) // 2, stride
        self.projected = option != "A" and (stride > 1 or inputs != outputs)
        if self.projected:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=not norm)
            self.add_module(option, nn.Sequential(conv, *([nn.BatchNorm2d(outputs)] if norm else [])))
        self.option = option

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"conv{number}")(y)
            y = getattr(self, f"bn{number}")(y) if self.norm else y
            y = functional.relu(y) if number < self.count else y
        if self.projected:
            x = getattr(self, self.option)(x)
        elif self.step > 1:
            x = functional.pad(x[:, :, :: self.step, :: self.step], (0, 0, 0, 0, self.added, self.added))
        return functional.relu(y + x)


class ResNet(nn.Module):
    def __init__(self, widths, blocks, option, expansion=1, norm=True, imagenet=False, head="linear"):
        super().__init__()
        kernel, stride = (7, 2) if imagenet else (3, 1)
        self.conv1 = nn.Conv2d(3, widths[0], kernel, stride, kernel // 2, bias=not norm)
        if norm:
            self.bn1 = nn.BatchNorm2d(widths[0])
        channels = widths[0]
        for depth, (width, count) in enumerate(zip(widths, blocks), 1):
            layer = []
            for block in range(count):
                step = 2 if depth > 1 and block == 0 else 1
                layer.append(Block(channels, width, step, expansion, option, norm))
                channels = width * expansion
            setattr(self, f"layer{depth}", nn.Sequential(*layer))
        self.depth, self.norm, self.imagenet, self.head = len(widths), norm, imagenet, head
        setattr(self, head, nn.Linear(channels, 5))

    def forward(self, x):
        x = self.conv1(x)
        x = functional.relu(self.bn1(x) if self.norm else x)
        x = functional.max_pool2d(x, 3, 2, 1) if self.imagenet else x
        for depth in range(1, self.depth + 1):
            x = getattr(self, f"layer{depth}")(x)
        return getattr(self, self.head)(x.mean((2, 3)))


class LeNet(nn.Module):
    def __init__(self, channels, padding):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, 3, 5, padding=padding), nn.Conv2d(3, 4, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(100, 12), nn.Linear(12, 8), nn.Linear(8, 5)

    def forward(self, x):
        for conv in (self.conv1, self.conv2):
            x = functional.max_pool2d(functional.relu(conv(x)), 2)
        x = functional.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(functional.relu(self.fc2(x)))


class LateNorms(nn.Module):
    """Normalisations behind the ReLU, and behind the last layer; no pools."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 2, 15), nn.Conv2d(2, 16, 9)
        self.norm1 = nn.BatchNorm2d(16)
        self.fc1, self.fc2, self.norm2 = nn.Linear(16 * 6 * 6, 4), nn.Linear(4, 5), nn.BatchNorm1d(5)

    def forward(self, x):
        x = self.norm1(functional.relu(self.conv2(functional.relu(self.conv1(x)))))
        return self.norm2(self.fc2(functional.relu(self.fc1(torch.flatten(x, 1)))))


def plain():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(6 * 25, 8), nn.ReLU(), nn.Linear(8, 5),
    )  # fmt: skip


def normed_plain():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
        nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(5 * 64, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 5),
    )  # fmt: skip


def networks():
    pools = [4, "M", 5, "M", 6, 6, "M", 7, 7, "M", 8, 8, "M"]
    head = nn.Sequential(nn.Linear(8 * 49, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 5))
    return {
        "mlp": (Mlp(False), (3, 12)),
        "mlp_bias": (Mlp(True), (3, 12)),
        "mlp_norm": (NormedMlp(), (3, 12)),
        "vgg": (Vgg(pools, False, False, nn.Linear(8, 5)), (2, 3, 32, 32)),
        "vgg_bn": (Vgg(pools, True, True, nn.Linear(8, 5)), (2, 3, 32, 32)),
        "vgg_imagenet": (Vgg(pools, False, True, head), (1, 3, 224, 224)),
        "resnet_a": (ResNet([4, 8, 16], [1, 2, 1], "A"), (2, 3, 32, 32)),
        "resnet_b": (ResNet([4, 6, 8], [2, 1, 1], "shortcut"), (2, 3, 32, 32)),
        "resnet_plain": (ResNet([4, 6], [1, 1], "downsample", norm=False, head="fc"), (2, 3, 32, 32)),
        "resnet_bottleneck": (
            ResNet([3, 4], [1, 2], "downsample", expansion=4, imagenet=True, head="fc"),
            (1, 3, 224, 224),
        ),
        "lenet": (LeNet(3, 0), (2, 3, 32, 32)),
        "lenet_mnist": (LeNet(1, 2), (2, 1, 28, 28)),
        "sequential": (plain(), (2, 1, 28, 28)),
        "sequential_norm": (normed_plain(), (2, 3, 32, 32)),
        "sequential_late": (LateNorms(), (2, 1, 28, 28)),
    }


def randomise(network, generator):
    late = isinstance(network, LateNorms)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.weight.data.uniform_(-0.5, 1.5, generator=generator)
            module.bias.data.normal_(generator=generator)
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            if late:
                module.running_mean.abs_()
        elif hasattr(module, "weight"):
            fan = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.3, generator=generator)


def image(shape, generator):
    """Few values in blocks, which compress well."""
    blocks = [max(1, length // 14) if axis > 1 else 1 for axis, length in enumerate(shape)]
    coarse = [-(-length // block) for length, block in zip(shape, blocks)]
    values = torch.randint(-4, 5, coarse, generator=generator).float() / 4
    for axis, block in enumerate(blocks):
        values = values.repeat_interleave(block, axis).narrow(axis, 0, shape[axis])
    return values


def write():
    HERE.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(1)
    for name, (network, shape) in networks().items():
        randomise(network, generator)
        network.eval()
        x = image(shape, generator)
        with torch.no_grad():
            logits = network(x)
        state = network.state_dict()
        if name == "resnet_a":
            state = {f"module.{key}": value for key, value in state.items()}
        # The old container takes fewer bytes for small tensors.
        new = not name.startswith(("resnet", "sequential"))
        torch.save(state, HERE / f"{name}.pt", _use_new_zipfile_serialization=new)
        numpy.savez_compressed(HERE / f"{name}.npz", input=x.numpy(), logits=logits.numpy())
    network, other = Batched(), Batched()
    randomise(network, generator)
    x = image((2, 3, 6), generator)
    torch.save(network.state_dict(), HERE / "batched.pt")
    numpy.savez_compressed(HERE / "batched.npz", input=x.numpy(), logits=network(x).detach().numpy())
    torch.onnx.export(
        other, (x,), HERE / "batched.onnx", dynamo=False, input_names=["input"], output_names=["logits"]
    )


def check(folder):
    import onnxruntime

    worst = 0.0
    names = [*networks(), "batched"]
    for name in names:
        session = onnxruntime.InferenceSession(pathlib.Path(folder) / f"{name}.onnx")
        golden = numpy.load(HERE / f"{name}.npz")
        (found,) = session.run(["logits"], {"input": golden["input"]})
        error = numpy.abs(found - golden["logits"]).max() / numpy.abs(golden["logits"]).max()
        print(f"{name}: relative error {error:.1e}")
        worst = max(worst, error)
    assert worst < 1e-5, worst
    for name in [*networks(), "batched"]:
        original = torch.load(HERE / f"{name}.pt", weights_only=True)
        written = torch.load(pathlib.Path(folder) / f"{name}.pt", weights_only=True)
        assert list(original) == list(written), name
        for key, tensor in original.items():
            assert tensor.dtype == written[key].dtype and torch.equal(tensor, written[key]), (name, key)
    print(f"{len(names)} networks agree")


if __name__ == "__main__":
    if sys.argv[1:2] == ["check"]:
        check(sys.argv[2])
    else:
        write()
