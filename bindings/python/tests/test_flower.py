"""Federated rounds: the strategy on replies made here, and in Flower's simulation. Skipped where there is no Flower."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import otfuse
import pytest

pytest.importorskip("flwr", reason="federated rounds take Flower")
pytest.importorskip("onnx", reason="networks are made with onnx")

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from otfuse.flower import OTFusion

from conftest import perceptron

Arrays = dict[str, np.ndarray]
X = np.random.default_rng(9).standard_normal((200, 6)).astype(np.float32)


def record(arrays: Arrays) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def reply(node: int, arrays: Arrays, examples: float | None = 10, **others: object) -> SimpleNamespace:
    metrics = {"loss": 1.0} | ({} if examples is None else {"num-examples": examples})
    content = RecordDict({"arrays": record(arrays), "metrics": MetricRecord(metrics), **others})
    return SimpleNamespace(content=content, metadata=SimpleNamespace(src_node_id=node), has_error=lambda: False)


def weights_of(strategy: OTFusion) -> Arrays:
    return {name: array.numpy() for name, array in strategy.initial_arrays().items()}


def near(arrays: Arrays, seed: int, size: float = 0.01) -> Arrays:
    random = np.random.default_rng(seed)
    return {name: (array + size * random.standard_normal(array.shape)).astype(array.dtype) for name, array in arrays.items()}


def permuted(arrays: Arrays, seed: int = 0) -> Arrays:
    """The same function with its hidden neurons in another order."""
    order = np.random.default_rng(seed).permutation(len(arrays["b0"]))
    return {**arrays, "w0": arrays["w0"][order], "b0": arrays["b0"][order], "w1": arrays["w1"][:, order]}


class Sent:
    """What a strategy is told that it sent."""

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes

    def get_node_ids(self) -> list[int]:
        return list(range(1, self.nodes + 1))


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower's messages say whose they are."""
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def send(strategy: OTFusion, arrays: Arrays, turn: int = 1, nodes: int = 4) -> list[Message]:
    return list(strategy.configure_train(turn, record(arrays), ConfigRecord(), Sent(nodes)))


def run(strategy: OTFusion, turn: int, replies: list) -> tuple[Arrays, dict]:
    arrays, metrics = strategy.aggregate_train(turn, replies)
    return {name: array.numpy() for name, array in arrays.items()}, dict(metrics)


def assert_close(found: Arrays, expected: Arrays) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, atol=1e-5)


def test_clients_that_went_on_from_the_global_model_are_averaged_as_fedavg_does(tmp_path: Path) -> None:
    strategy = OTFusion(perceptron(tmp_path / "net.onnx"))
    start = weights_of(strategy)
    send(strategy, start)
    replies = [reply(node, near(start, node), 10 * node) for node in (1, 2, 3)]
    found, metrics = run(strategy, 1, replies)
    expected, _ = FedAvg().aggregate_train(1, replies)
    assert_close(found, {name: array.numpy().astype(np.float32) for name, array in expected.items()})
    assert metrics["clients-kept"] == 3 and metrics["clients-own-start"] == 0 and metrics["loss"] == pytest.approx(1)


@pytest.mark.parametrize("samples", [None, X])
def test_networks_whose_neurons_have_another_order_are_one_network(tmp_path: Path, samples: np.ndarray | None) -> None:
    strategy = OTFusion(perceptron(tmp_path / "net.onnx"), samples=samples, clients_start="own", repair="none")
    other = weights_of(OTFusion(perceptron(tmp_path / "other.onnx", seed=5)))
    assert send(strategy, weights_of(strategy))[0].content["config"]["start-from"] == "own"
    found, metrics = run(strategy, 1, [reply(1, permuted(other), 10), reply(2, other, 20), reply(3, permuted(other, 3), 10)])
    assert metrics["clients-own-start"] == 3
    assert_close(found, other)
    assert send(strategy, found, 2)[0].content["config"]["start-from"] == "global"


def test_neurons_that_changed_places_are_put_back(tmp_path: Path) -> None:
    strategy = OTFusion(perceptron(tmp_path / "net.onnx"), warm_start=False, repair="none")
    start = weights_of(strategy)
    send(strategy, start)
    found, _ = run(strategy, 1, [reply(1, near(start, 1, 0.001)), reply(2, permuted(near(start, 2, 0.001)))])
    np.testing.assert_allclose(found["w0"], start["w0"], atol=0.01)


def test_bad_replies_are_left_out_and_said(tmp_path: Path) -> None:
    start = weights_of(OTFusion(perceptron(tmp_path / "net.onnx")))
    good = [reply(node, near(start, node)) for node in (1, 2, 3)]
    unreadable = reply(11, start)
    array = unreadable.content["arrays"]["w0"]
    unreadable.content["arrays"]["w0"] = Array(array.dtype, array.shape, array.stype, array.data[:-7])
    failed = SimpleNamespace(
        metadata=SimpleNamespace(src_node_id=12), has_error=lambda: True, error=SimpleNamespace(reason="lost")
    )
    bad = {
        "not-finite": reply(4, {**start, "w0": start["w0"] * np.float32("nan")}),
        "huge": reply(5, {**start, "w0": start["w0"] * np.float32(1e6)}),
        "keys": reply(6, {name: array for name, array in start.items() if name != "b0"}),
        "shapes": reply(7, {**start, "w0": start["w0"][:3]}),
        "examples": reply(8, start, 0),
        "types": reply(10, {**start, "b0": start["b0"].astype(np.int64)}),
        "unreadable": unreadable,
        "error": failed,
    }
    swapped = reply(9, dict(zip(start, reversed(start.values()), strict=True)))
    for combine in ("mean", "median", "trimmed-mean", "krum"):
        strategy = OTFusion(tmp_path / "net.onnx", combine=combine, bad_clients=0, selected_clients=3)
        send(strategy, start)
        found, metrics = run(strategy, 1, [*bad.values(), swapped, *good, reply(13, start, None)])
        alone = OTFusion(tmp_path / "net.onnx", combine=combine, bad_clients=0, selected_clients=3)
        send(alone, start)
        assert_close(found, run(alone, 1, good)[0])
        assert metrics["clients-kept"] == 3 and metrics["clients-left-out"] == 10
        reasons = {one.node: one.reason for one in strategy.left_out[1]}
        expected = {one.metadata.src_node_id: reason for reason, one in bad.items()}
        assert reasons == {**expected, 9: "shapes", 13: "examples"}
        assert metrics["left-out-shapes"] == [7, 9]
    arrays, metrics = strategy.aggregate_train(2, [bad["keys"]])
    assert arrays is None and metrics["clients-left-out"] == 1


def test_a_client_of_noise_moves_robust_combinations_little(tmp_path: Path) -> None:
    start = weights_of(OTFusion(perceptron(tmp_path / "net.onnx")))
    good = [reply(node, near(start, node)) for node in range(1, 7)]
    replies = [*good, reply(7, {name: -array for name, array in start.items()})]
    moved = {}
    for combine, bound in (("mean", None), ("median", None), ("trimmed-mean", None), ("krum", None), ("mean", 1.5)):
        strategy = OTFusion(tmp_path / "net.onnx", combine=combine, norm_bound=bound)
        send(strategy, start)
        found, _ = run(strategy, 1, replies)
        moved[combine, bound] = float(np.abs(found["w0"] - start["w0"]).max())
    worst = moved.pop(("mean", None))
    assert all(value < worst / 2 for value in moved.values()), (worst, moved)


def test_importance_counts_entry_by_entry(tmp_path: Path) -> None:
    strategy = OTFusion(perceptron(tmp_path / "net.onnx"))
    start = weights_of(strategy)
    first, second = near(start, 1), near(start, 2)
    send(strategy, start)
    counts = np.zeros(len(start["b0"]), np.float32)
    counts[:3] = 1
    only = record({"w0": counts, "b0": 1 - counts})
    other = record({"w0": 1 - counts, "b0": counts})
    found, _ = run(strategy, 1, [reply(1, first, 10, importance=only), reply(2, second, 10, importance=other)])
    np.testing.assert_allclose(found["w0"], np.where(counts[:, None] > 0, first["w0"], second["w0"]), atol=1e-6)
    np.testing.assert_allclose(found["b0"], np.where(counts > 0, second["b0"], first["b0"]), atol=1e-6)
    np.testing.assert_allclose(found["w1"], (first["w1"] + second["w1"]) / 2, atol=1e-6)


def test_importance_moves_with_its_neurons(tmp_path: Path) -> None:
    strategy = OTFusion(perceptron(tmp_path / "net.onnx"), warm_start=False)
    start = weights_of(strategy)
    send(strategy, start)
    moved, fisher = permuted(start), {name: np.abs(array) + 1 for name, array in start.items()}
    replies = [
        reply(1, start, 10, importance=record(fisher)),
        reply(2, {**moved, "b1": moved["b1"] + 1}, 10, importance=record(permuted(fisher))),
    ]
    assert_close({**run(strategy, 1, replies)[0], "b1": start["b1"]}, start)


def test_clients_of_other_widths_get_their_own_back(tmp_path: Path) -> None:
    wide, small = perceptron(tmp_path / "wide.onnx", 16), perceptron(tmp_path / "small.onnx", 8, seed=1)
    strategy = OTFusion(
        wide, forms={"small": small}, samples=X, clients_start="own", align_every=2, state=tmp_path / "state"
    )
    big = weights_of(strategy)
    little = weights_of(OTFusion(small))
    messages = send(strategy, big, 1, 3)
    assert all(len(message.content["arrays"]) == 0 for message in messages)
    named, unknown = ConfigRecord({"form": "small"}), ConfigRecord({"form": "?"})
    replies = [
        reply(1, big),
        reply(2, little),
        reply(3, near(little, 1), form=named),
        reply(4, little, form=unknown),
    ]
    for turn in (1, 2):
        found, metrics = run(strategy, turn, replies)
        assert metrics["clients-kept"] == 3 and strategy.left_out[turn][0].node == 4
        assert {name: array.shape for name, array in found.items()} == {name: array.shape for name, array in big.items()}
        sent = {message.metadata.dst_node_id: message.content["arrays"] for message in send(strategy, found, turn + 1, 3)}
        assert sent[1]["w0"].shape == big["w0"].shape
        assert sent[2]["w0"].shape == little["w0"].shape and list(sent[3]) == list(little)
        assert np.isfinite(sent[2]["w1"].numpy()).all()


class Local:
    """Clients in this process, as Flower's grid has them."""

    def __init__(self) -> None:
        self.turns: list[int] = []

    def get_node_ids(self) -> list[int]:
        return [1, 2]

    def send_and_receive(self, messages, timeout=None):
        replies = []
        for message in messages:
            self.turns.append(message.content["config"]["server-round"])
            arrays = {name: array.numpy() for name, array in message.content["arrays"].items()}
            replies.append(reply(message.metadata.dst_node_id, near(arrays, self.turns[-1])))
        return replies


def test_a_server_that_is_started_again_goes_on(tmp_path: Path) -> None:
    path = perceptron(tmp_path / "net.onnx")

    def rounds(count: int, state: str) -> tuple[Arrays, list[int], list[int]]:
        strategy, grid = OTFusion(path, fraction_evaluate=0.0, state=tmp_path / state), Local()
        result = strategy.start(grid, strategy.initial_arrays(), count)
        return (
            {name: array.numpy() for name, array in result.arrays.items()},
            grid.turns,
            list(result.train_metrics_clientapp),
        )

    whole, _, _ = rounds(3, "whole")
    rounds(1, "parts")
    found, turns, numbers = rounds(3, "parts")
    assert turns == [2, 2, 3, 3] and numbers == [2, 3]
    assert_close(found, whole)
    assert rounds(3, "parts")[1] == []
    assert len(list((tmp_path / "parts").iterdir())) == 2
    (tmp_path / "parts/state.json").write_text("{}")
    with pytest.raises(otfuse.InputError, match="cannot be read"):
        rounds(3, "parts")


def test_alignment_on_the_client_leaves_sums_to_the_server(tmp_path: Path) -> None:
    from flwr.app import MessageType
    from otfuse.flower import AlignMod

    path = perceptron(tmp_path / "net.onnx")
    server = OTFusion(path, client_side=True)
    start = weights_of(server)
    mod = AlignMod(path, samples=lambda context: X, repair="none")
    replies = []
    for message in send(server, start, 1, 2):
        message.metadata.message_type = MessageType.TRAIN
        node = message.metadata.dst_node_id
        answered = mod(message, None, lambda message, context, node=node: reply(node, permuted(start, node)))
        replies.append(answered)
    found, _ = run(server, 1, replies)
    np.testing.assert_allclose(found["w0"], start["w0"], atol=1e-5)


def test_wrong_settings_are_said_before_the_first_round(tmp_path: Path) -> None:
    path = perceptron(tmp_path / "net.onnx")
    for options, expected in [
        ({"repare": "none"}, "did you mean repair"),
        ({"weights": [1.0]}, "decided by the strategy"),
        ({"combine": "best"}, "it is one of mean"),
        ({"trim": 0.5}, "below 0.5"),
        ({"align_every": 0}, "every round"),
        ({"repair": "least-squares"}, "samples"),
    ]:
        with pytest.raises(otfuse.InputError, match=expected):
            OTFusion(path, **options)
    with pytest.raises(otfuse.InputError, match="expected a network"):
        OTFusion(3)


def test_batch_normalisations_and_their_counters() -> None:
    torch = pytest.importorskip("torch", reason="modules take torch")
    nn = torch.nn
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))
    strategy = OTFusion(net, inputs=torch.ones(2, 3, 6, 6))
    start = weights_of(strategy)
    assert list(start) == list(net.state_dict())
    for own in (False, True):
        if not own:
            send(strategy, start)
        clients = []
        for node in (1, 2, 3):
            arrays = near({name: 0 * array for name, array in start.items()}, node, 1.0) if own else near(start, node)
            arrays.update({"1.running_var": np.abs(arrays["1.running_var"]), "1.num_batches_tracked": np.asarray(10 * node)})
            clients.append(reply(node, arrays, node))
        found, metrics = run(strategy, 1 + own, clients)
        assert metrics["clients-own-start"] == (3 if own else 0)
        assert found["1.num_batches_tracked"].dtype == np.int64 and found["1.num_batches_tracked"].shape == ()
        assert (found["1.running_var"] >= 0).all()
        net.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in found.items()}, strict=True)
        if not own:
            assert found["1.num_batches_tracked"] == round((10 + 40 + 90) / 6)


@pytest.mark.filterwarnings("ignore")
def test_a_simulation_of_flower(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="Flower's simulation takes Ray")
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp
    from flwr.simulation import run_simulation

    path = perceptron(tmp_path / "net.onnx")
    start = weights_of(OTFusion(path))
    client, server, seen = ClientApp(), ServerApp(), {}

    @client.train()
    def train(message, context):
        import numpy as np
        from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

        part = int(context.node_config["partition-id"])
        random = np.random.default_rng(50 + part)
        given = {name: array.numpy() for name, array in message.content["arrays"].items()}
        scale = 1.0 if message.content["config"]["start-from"] == "own" else 0.01
        made = {}
        for name, array in given.items():
            noise = (scale * random.standard_normal(array.shape)).astype(np.float32)
            made[name] = Array(noise if scale == 1.0 else array + noise)
        if part == 2:
            made["w0"] = Array(np.full(given["w0"].shape, np.nan, np.float32))
        metrics = MetricRecord({"num-examples": 10 + part})
        return Message(RecordDict({"arrays": ArrayRecord(made), "metrics": metrics}), reply_to=message)

    @server.main()
    def main(grid, context):
        strategy = OTFusion(path, samples=X, clients_start="own", fraction_evaluate=0.0)
        seen["result"] = strategy.start(grid, strategy.initial_arrays(), 2, timeout=200)
        seen["left"] = strategy.left_out

    resources = {"client_resources": {"num_cpus": 1}, "init_args": {"num_cpus": 2, "include_dashboard": False}}
    run_simulation(server, client, num_supernodes=3, backend_config=resources)
    result = seen["result"]
    assert [dict(result.train_metrics_clientapp[turn])["clients-own-start"] for turn in (1, 2)] == [2, 0]
    assert [[one.reason for one in seen["left"][turn]] for turn in (1, 2)] == [["not-finite"]] * 2
    assert {name: array.shape for name, array in result.arrays.items()} == {
        name: array.shape for name, array in start.items()
    }
    assert not ray.is_initialized()


def test_the_app_is_whole_and_settings_are_its_own() -> None:
    tomllib = pytest.importorskip("tomllib", reason="settings of apps are TOML")
    folder = Path(__file__).resolve().parents[3] / "examples/flower"
    app = tomllib.loads((folder / "mnist/pyproject.toml").read_text(encoding="utf-8"))["tool"]["flwr"]["app"]
    assert app["components"]["serverapp"] == "fusing.server:app"
    for path in (folder / "mnist/fusing").glob("*.py"):
        compile(path.read_text(encoding="utf-8"), path.name, "exec")
    for name in ("cifar10", "one-shot", "unequal"):
        settings = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
        assert {key: type(value) for key, value in settings.items()}.items() <= {
            key: type(value) for key, value in app["config"].items()
        }.items()
