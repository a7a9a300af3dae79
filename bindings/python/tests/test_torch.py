"""Networks of torch, in memory. Skipped where there is no torch."""

from __future__ import annotations

import copy
import gc

import numpy as np
import otfuse
import pytest

torch = pytest.importorskip("torch", reason="modules take torch")
pytest.importorskip("onnx", reason="exporting takes onnx")
nn = torch.nn


class Convolutions(nn.Module):
    """Convolutions with batch normalisation and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        return self.head((x + self.block(x)).mean((2, 3)))


class Recurrent(nn.Module):
    """A recurrent layer over embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6)
        self.layer = nn.LSTM(6, 7, batch_first=True)
        self.head = nn.Linear(7, 3)

    def forward(self, tokens):
        return self.head(self.layer(self.table(tokens))[0][:, -1])


class Tied(nn.Module):
    """The same table at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(13, 8)
        self.middle = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 13, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        return self.head(self.middle(self.table(tokens)))


class TwoInputs(nn.Module):
    """Two inputs of other shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, 9), nn.Linear(6, 9), nn.Linear(9, 2)

    def forward(self, first, second):
        return self.head(torch.relu(self.left(first) + self.right(second)))


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 10), nn.Tanh(), nn.Linear(10, 3))


TOKENS = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])
MODULES = {
    "perceptron": (perceptron, torch.ones(2, 6)),
    "convolutions": (Convolutions, torch.ones(2, 3, 8, 8)),
    "recurrent": (Recurrent, TOKENS),
    "tied": (Tied, TOKENS),
    "two inputs": (TwoInputs, {"first": torch.ones(2, 4), "second": torch.ones(2, 6)}),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 9)), nn.ReLU(), nn.Linear(9, 3)),
        torch.ones(2, 6),
    ),
}


def outputs(module: nn.Module, inputs: object):
    module = copy.deepcopy(module).eval()
    with torch.no_grad():
        return module(**inputs) if isinstance(inputs, dict) else module(inputs)


def random_like(inputs: object):
    if isinstance(inputs, dict):
        return {name: torch.randn_like(value) for name, value in inputs.items()}
    return torch.randn_like(inputs) if inputs.is_floating_point() else inputs


@pytest.mark.parametrize("name", MODULES)
def test_a_network_aligned_to_another_computes_what_it_did(name: str) -> None:
    make, inputs = MODULES[name]
    torch.manual_seed(0)
    a, b = make(), make()
    aligned = otfuse.align(a, to=b, inputs=inputs)
    x = random_like(inputs)
    torch.testing.assert_close(outputs(aligned.module, x), outputs(a, x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MODULES)
def test_a_fused_module_is_like_its_anchor(name: str) -> None:
    make, inputs = MODULES[name]
    torch.manual_seed(1)
    a, b = make().train(), make().eval()
    first = next(b.parameters())
    first.requires_grad_(False)
    before = [{key: value.clone() for key, value in net.state_dict().items()} for net in (a, b)]
    fused = otfuse.fuse([a, b], inputs=inputs)
    module = fused.module
    assert type(module) is type(b) and module is not b
    assert [(key, value.shape, value.dtype) for key, value in module.state_dict().items()] == [
        (key, value.shape, value.dtype) for key, value in b.state_dict().items()
    ]
    assert [p.requires_grad for p in module.parameters()] == [p.requires_grad for p in b.parameters()]
    assert a.training and not b.training and all(part.training for part in a.modules())
    for net, state in zip((a, b), before, strict=True):
        for key, value in net.state_dict().items():
            torch.testing.assert_close(value, state[key], rtol=0, atol=0)
    b.load_state_dict(fused.state_dict(), strict=True)
    if name == "tied":
        assert module.head.weight is module.table.weight


def test_state_dicts_of_a_module() -> None:
    make, inputs = MODULES["convolutions"]
    torch.manual_seed(2)
    a, b = make(), make()
    of_modules = otfuse.fuse([a, b], inputs=inputs).state_dict()
    fused = otfuse.fuse([a.state_dict(), b.state_dict()], model=a, inputs=inputs)
    for key, value in fused.state_dict().items():
        torch.testing.assert_close(value, of_modules[key], rtol=0, atol=0)
    assert isinstance(fused.module, Convolutions)


def test_samples_of_all_kinds() -> None:
    torch.manual_seed(3)
    a, b = perceptron(), perceptron()
    x, y = torch.randn(30, 6), torch.randint(0, 3, (30,))
    options = {"inputs": x[:2], "n_samples": 30}
    expected = otfuse.fuse([a, b], samples=x.numpy(), **options).onnx()
    data = torch.utils.data.TensorDataset(x, y)
    for samples in (x, [x[:7], x[7:]], torch.utils.data.DataLoader(data, batch_size=8), data, {"input": x}):
        assert otfuse.fuse([a, b], samples=samples, **options).onnx() == expected
    found = otfuse.evaluate([a, b], torch.utils.data.DataLoader(data, batch_size=8), inputs=x[:2])
    right = (outputs(a, x).argmax(1) == y).double().mean().item()
    assert found.models[0].accuracy == pytest.approx(right)


def test_half_precision_and_dtype() -> None:
    make, inputs = MODULES["perceptron"]
    a, b = make().bfloat16(), make().bfloat16()
    fused = otfuse.fuse([a, b], inputs=inputs.bfloat16())
    assert {p.dtype for p in fused.module.parameters()} == {torch.bfloat16}
    wide = otfuse.fuse([a, b], inputs=inputs.bfloat16(), dtype=torch.float32)
    assert {p.dtype for p in wide.module.parameters()} == {torch.float32}


class Branching(nn.Module):
    """Goes where its input says."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x):
        if x.sum().item() > 0:
            return self.layer(x)
        return self.layer(self.layer(x) * int(x.max().item()))


def test_modules_without_a_graph() -> None:
    net = perceptron()
    x = torch.ones(2, 6)
    for bad, inputs, expected in [
        (net, None, "`inputs` is missing"),
        (net, torch.ones(2, 7), "forward fails"),
        (torch.jit.trace(net, x), x, "scripted"),
        (perceptron().to("meta"), x, "meta"),
        (nn.Sequential(nn.LazyLinear(4)), x, "no shape yet"),
        (Convolutions(), torch.ones(2, 3, 8, 8), "architecture|network"),
    ]:
        with pytest.raises(otfuse.InputError, match=expected) as found:
            otfuse.fuse([net, bad], inputs=inputs) if expected != "architecture|network" else otfuse.fuse(
                [otfuse.open(net, inputs=x), otfuse.open(bad, inputs=inputs)]
            )
        assert found.value.hint


def test_a_way_that_depends_on_values_is_named_with_its_line() -> None:
    with pytest.raises(otfuse.InputError, match=r"Branching: the graph cannot be found.*test_torch\.py:\d+") as found:
        otfuse.fuse([Branching(), Branching()], inputs=torch.ones(2, 6))
    assert "torch.where" in found.value.hint


def test_memory_stays_flat() -> None:
    import resource

    net = otfuse.open(perceptron(), inputs=torch.ones(2, 6))

    def measured(calls: int) -> int:
        for _ in range(calls):
            otfuse.fuse([net, net]).state_dict()
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = measured(50)
    assert measured(100) - before < 5 * 1024


def test_onnx_models_in_memory() -> None:
    onnx = pytest.importorskip("onnx")
    torch.manual_seed(4)
    nets = [otfuse.open(perceptron(), inputs=torch.ones(2, 6)) for _ in range(2)]
    protos = [onnx.load_from_string(otfuse.fuse([net, net]).onnx()) for net in nets]
    found = onnx.load_from_string(otfuse.fuse(protos).onnx())
    expected = onnx.load_from_string(otfuse.fuse(nets).onnx())
    weights = [{one.name: onnx.numpy_helper.to_array(one) for one in proto.graph.initializer} for proto in (found, expected)]
    for name, array in weights[0].items():
        np.testing.assert_allclose(array, weights[1][name], atol=1e-6)


class OneOutput(nn.Module):
    """Layers of one output and one input, which are products where the input has three axes."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Linear(1, 7, bias=False)
        self.middle = nn.Linear(7, 6)
        self.score = nn.Linear(6, 1)

    def forward(self, x):
        return self.score(torch.tanh(self.middle(torch.relu(self.lift(x)))))


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("method", ["ot", "average"])
def test_layers_of_one_output_keep_their_shapes(tmp_path, dynamo: bool, method: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 1)
    torch.onnx.export(OneOutput().eval(), (x,), str(tmp_path / "net.onnx"), dynamo=dynamo)
    paths = [tmp_path / name for name in ("a.pt", "b.pt")]
    for path in paths:
        torch.save(OneOutput().state_dict(), path)
    fused = otfuse.fuse(paths, architecture=str(tmp_path / "net.onnx"), method=method)
    fused.save(tmp_path / "fused.pt")
    OneOutput().load_state_dict(torch.load(tmp_path / "fused.pt"))


@pytest.mark.parametrize("name", ["checkpoint_best_model.pt", "m.pt", "epoch=19-step=1000000.ckpt"])
def test_files_of_torch_are_read_whatever_their_names(tmp_path, name: str) -> None:
    x = torch.randn(2, 3, 1)
    torch.onnx.export(OneOutput().eval(), (x,), str(tmp_path / "net.onnx"), dynamo=False)
    torch.save(OneOutput().state_dict(), tmp_path / name)
    otfuse.open(tmp_path / name, architecture=str(tmp_path / "net.onnx"))
