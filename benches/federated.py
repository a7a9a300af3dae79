"""Federated learning with and without alignment: the figures of docs/federated.md.

    python benches/federated.py rounds mnist:DIR --epochs 5 --seeds 0 1 2 -o FILE.json
    python benches/federated.py one-shot|unequal|garbage mnist:DIR -o FILE.json
    python benches/federated.py server -o FILE.json
    python benches/federated.py chart FILE.json -o FILE.svg

Strategies are those of Flower and of the package, with their own rounds; clients are trained in this process in place of
Flower's simulation, so that a run needs one core. Needs torch and `pip install 'otfuse[flower]'`.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import otfuse
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity
from otfuse.flower import OTFusion
from torch import nn

torch.set_num_threads(1)
warnings.simplefilter("ignore", otfuse.NetworkWarning)
TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1

RATE, MOMENTUM, BATCH = 0.02, 0.9, 64


class Data:
    """Images for clients, unlabelled ones for the server, and the test set."""

    def __init__(self, spec: str, train: int, server: int) -> None:
        data = otfuse.Dataset(spec)
        x, y = (torch.from_numpy(np.array(array)) for array in data.arrays("train"))
        self.x, self.y = x[:train].flatten(1), y[:train].long()
        self.server = x[len(x) - server :].flatten(1)
        x, y = (torch.from_numpy(np.array(array)) for array in data.arrays("test"))
        self.test_x, self.test_y = x.flatten(1), y.long()

    def parts(self, clients: int, alpha: float | None, seed: int) -> list[torch.Tensor]:
        random, labels = np.random.default_rng(seed), self.y.numpy()
        if alpha is None:
            return [torch.from_numpy(part) for part in np.array_split(random.permutation(len(labels)), clients)]
        while True:
            shares: list[list[np.ndarray]] = [[] for _ in range(clients)]
            for label in range(10):
                of_label = random.permutation(np.flatnonzero(labels == label))
                cuts = (np.cumsum(random.dirichlet([alpha] * clients))[:-1] * len(of_label)).astype(int)
                for share, part in zip(shares, np.split(of_label, cuts), strict=True):
                    share.append(part)
            parts = [np.concatenate(share) for share in shares]
            if min(map(len, parts)) >= 10:
                return [torch.from_numpy(part) for part in parts]

    def accuracy(self, *nets: nn.Module) -> float:
        """Of one network, or of the mean of the probabilities of several, in percent."""
        with torch.no_grad():
            mean = sum(net(self.test_x).softmax(1) for net in nets)
        return round(100 * (mean.argmax(1) == self.test_y).double().mean().item(), 2)


def perceptron(width: int = 128) -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, 10)
    )


def trained(net: nn.Module, data: Data, part: torch.Tensor, epochs: int, seed: int) -> nn.Module:
    random, x, y = torch.Generator().manual_seed(seed), data.x[part], data.y[part]
    optimiser, loss = torch.optim.SGD(net.parameters(), RATE, momentum=MOMENTUM), nn.CrossEntropyLoss()
    for _ in range(epochs):
        for batch in torch.randperm(len(part), generator=random).split(BATCH):
            optimiser.zero_grad()
            loss(net(x[batch]), y[batch]).backward()
            optimiser.step()
    return net


def loaded(net: nn.Module, arrays: ArrayRecord) -> nn.Module:
    net.load_state_dict({name: torch.from_numpy(array.numpy().copy()) for name, array in arrays.items()})
    return net


class Here(Grid):
    """Clients in this process; `spoil` may change what one of them sends."""

    def __init__(
        self, nets: list[Callable[[], nn.Module]], data: Data, parts: list[torch.Tensor], epochs: int, seed: int
    ) -> None:
        self.nets, self.data, self.parts, self.epochs, self.seed = nets, data, parts, epochs, seed
        self.spoil: Callable[[int, dict], dict] = lambda node, arrays: arrays
        self.trained: dict[int, nn.Module] = {}
        self.received: dict[int, nn.Module] = {}

    def set_run(self, run_id: int) -> None:
        pass

    @property
    def run(self):
        return None

    def create_message(self, *args, **kwargs):
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return range(1, len(self.parts) + 1)

    def push_messages(self, messages):
        raise NotImplementedError

    def pull_messages(self, message_ids):
        raise NotImplementedError

    def send_and_receive(self, messages, *, timeout=None):
        return [self.reply(message) for message in sorted(messages, key=lambda one: one.metadata.dst_node_id)]

    def reply(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        config, arrays = message.content["config"], message.content["arrays"]
        turn = int(config["server-round"])
        torch.manual_seed(1000 * self.seed + node)
        net = self.nets[node - 1]()
        if config.get("start-from") != "own":
            net = loaded(net, arrays)
            self.received[node] = copy.deepcopy(net)
        net = trained(net, self.data, self.parts[node - 1], self.epochs, 100 * turn + node)
        self.trained[node] = net
        held = self.spoil(node, {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()})
        record = ArrayRecord({name: Array(array) for name, array in held.items()})
        content = RecordDict({"arrays": record, "metrics": MetricRecord({"num-examples": len(self.parts[node - 1])})})
        reply = Message(content, reply_to=message)
        reply.metadata.__dict__["_src_node_id"] = node
        return reply


class OwnStart(FedAvg):
    """FedAvg whose clients begin from weights of their own."""

    def configure_train(self, server_round, arrays, config, grid):
        config["start-from"] = "own" if server_round == 1 else "global"
        return super().configure_train(server_round, arrays, config, grid)


def strategy(name: str, start: str, net: nn.Module, data: Data, **options):
    common = {"fraction_evaluate": 0.0, "min_train_nodes": 2}
    if name == "fedavg":
        return (OwnStart if start == "own" else FedAvg)(**common)
    samples = data.server if len(data.server) else None
    return OTFusion(net, inputs=data.test_x[:2], samples=samples, clients_start=start, threads=1, **common, **options)


def rounds(options: argparse.Namespace, data: Data) -> list[dict]:
    found = []
    for seed in options.seeds:
        parts = data.parts(options.clients, options.alpha, seed)
        for start in ("own", "common"):
            for name in ("fedavg", "otfusion"):
                torch.manual_seed(7000 + seed)
                net = perceptron()
                here = Here([perceptron] * len(parts), data, parts, options.epochs, seed)
                curve, seconds = {}, []

                def measured(at: int, arrays: ArrayRecord, curve=curve, seconds=seconds) -> MetricRecord:
                    curve[at] = data.accuracy(loaded(perceptron(), arrays))
                    seconds.append(time.monotonic())
                    return MetricRecord({"accuracy": curve[at]})

                one = strategy(name, start, net, data)
                arrays = ArrayRecord(net.state_dict())
                result = one.start(here, arrays, options.rounds, evaluate_fn=measured)
                server = [dict(m).get("fuse-seconds") for m in result.train_metrics_clientapp.values()]
                found.append(
                    {
                        "seed": seed,
                        "epochs": options.epochs,
                        "alpha": options.alpha,
                        "start": start,
                        "strategy": name,
                        "accuracy": curve,
                        "server-seconds": server,
                    }
                )
                print(json.dumps(found[-1]), flush=True)
                if options.output:
                    Path(options.output).write_text(json.dumps(found, indent=1) + "\n")
    return found


def one_shot(options: argparse.Namespace, data: Data) -> list[dict]:
    found = []
    for seed in options.seeds:
        for clients in (4, 10):
            for alpha in (None, 0.5, 0.1):
                parts = data.parts(clients, alpha, seed)
                row: dict = {"seed": seed, "clients": clients, "alpha": alpha, "epochs": options.epochs}
                for name, kept in (("with samples", True), ("without samples", False)):
                    here = Here([perceptron] * clients, data, parts, options.epochs, seed)
                    known = copy.copy(data)
                    known.server = data.server if kept else data.server[:0]
                    net = perceptron()
                    one = strategy("otfusion", "own", net, known)
                    result = one.start(here, ArrayRecord(net.state_dict()), 1)
                    row[name] = data.accuracy(loaded(perceptron(), result.arrays))
                nets = list(here.trained.values())
                row["ensemble"] = data.accuracy(*nets)
                row["clients best"] = max(data.accuracy(one) for one in nets)
                counts = torch.tensor([float(len(part)) for part in parts])
                counts /= counts.sum()
                states = [one.state_dict() for one in nets]
                mean = {name: sum(w * state[name] for w, state in zip(counts, states, strict=True)) for name in states[0]}
                plain = perceptron()
                plain.load_state_dict(mean)
                row["plain average"] = data.accuracy(plain)
                found.append(row)
                print(json.dumps(row), flush=True)
    return found


def unequal(options: argparse.Namespace, data: Data) -> list[dict]:
    found, widths = [], [256, 256, 128, 128, 64, 64]
    for seed in options.seeds:
        for alpha in (None, 0.5):
            parts = data.parts(len(widths), alpha, seed)
            nets = [lambda width=width: perceptron(width) for width in widths]
            here = Here(nets, data, parts, options.epochs, seed)
            torch.manual_seed(7000 + seed)
            forms = {"half": perceptron(128), "quarter": perceptron(64)}
            one = strategy("otfusion", "own", perceptron(256), data, forms=forms)
            rows: dict = {}

            def measured(at: int, arrays: ArrayRecord, here=here, rows=rows, one=one, nets=nets) -> MetricRecord:
                if at:
                    own = [data.accuracy(here.trained[node]) for node in sorted(here.trained)]
                    whole = data.accuracy(loaded(perceptron(256), arrays))
                    back = [
                        data.accuracy(load_arrays(nets[node - 1](), one.arrays_of(node))) if node > 2 else whole
                        for node in sorted(here.trained)
                    ]
                    rows[at] = {"own": own, "back": back, "global": whole}
                return MetricRecord({"at": at})

            one.start(here, one.initial_arrays(), options.rounds, evaluate_fn=measured)
            found.append({"seed": seed, "alpha": alpha, "epochs": options.epochs, "widths": widths, "rounds": rows})
            print(json.dumps(found[-1]), flush=True)
    return found


def load_arrays(net: nn.Module, arrays: dict) -> nn.Module:
    net.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    return net


def garbage(options: argparse.Namespace, data: Data) -> list[dict]:
    found, clients = [], 10
    bad = (2, 5, 9)

    def not_a_number(arrays: dict) -> dict:
        return {**arrays, "0.weight": arrays["0.weight"] * np.float32("nan")}

    def huge(arrays: dict) -> dict:
        return {name: array * np.float32(1e6) for name, array in arrays.items()}

    def shuffled(arrays: dict) -> dict:
        return dict(zip(arrays, reversed(arrays.values()), strict=True))

    def shapes(arrays: dict) -> dict:
        return {name: array[..., :5] for name, array in arrays.items()}

    def truncated(arrays: dict) -> dict:
        return dict(list(arrays.items())[:3])

    def noise(arrays: dict) -> dict:
        random = np.random.default_rng(0)
        return {
            name: (array.std() * random.standard_normal(array.shape)).astype(np.float32) for name, array in arrays.items()
        }

    def turned(arrays: dict) -> dict:
        return {name: -array for name, array in arrays.items()}

    for seed in options.seeds:
        for start in ("own", "common"):
            parts = data.parts(clients, None, seed)
            for kind in ("nobody", not_a_number, huge, shuffled, shapes, truncated, noise, turned):
                for combine in ("mean", "krum", "trimmed-mean") if kind in ("nobody", noise, turned) else ("mean",):
                    here = Here([perceptron] * clients, data, parts, options.epochs, seed)
                    if kind == "nobody":
                        here.nets = [perceptron] * clients
                        here.get_node_ids = lambda: [at for at in range(1, clients + 1) if at not in bad]
                    else:
                        here.spoil = lambda node, arrays, kind=kind: kind(arrays) if node in bad else arrays
                    torch.manual_seed(7000 + seed)
                    one = strategy("otfusion", start, perceptron(), data, combine=combine)
                    result = one.start(here, one.initial_arrays(), 2)
                    row = {
                        "seed": seed,
                        "start": start,
                        "bad": kind if kind == "nobody" else kind.__name__,
                        "combine": combine,
                        "accuracy": data.accuracy(loaded(perceptron(), result.arrays)),
                        "left out": {at: [(one.node, one.reason) for one in left] for at, left in one.left_out.items()},
                    }
                    found.append(row)
                    print(json.dumps(row), flush=True)
    return found


def server(options: argparse.Namespace, data: Data | None) -> list[dict]:
    import timm

    net = timm.create_model("resnet18", num_classes=10)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    one = OTFusion(net, inputs=torch.randn(2, 3, 64, 64), fraction_evaluate=0.0)
    arrays = one.initial_arrays()
    state = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    found = []
    for turn in (1, 2, 3):
        random = np.random.default_rng(turn)
        replies = []
        for node in range(1, 11):
            near = {
                name: array + (0.01 * random.standard_normal(array.shape)).astype(array.dtype)
                for name, array in state.items()
            }
            content = RecordDict(
                {
                    "arrays": ArrayRecord({name: Array(np.asarray(array)) for name, array in near.items()}),
                    "metrics": MetricRecord({"num-examples": 10}),
                }
            )
            replies.append(
                SimpleNamespace(content=content, metadata=SimpleNamespace(src_node_id=node), has_error=lambda: False)
            )
        one._sent = {name: array.numpy() for name, array in arrays.items()}
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, cpu = time.monotonic(), time.process_time()
        arrays, _ = one.aggregate_train(turn, replies)
        found.append(
            {
                "round": turn,
                "seconds": time.monotonic() - began,
                "cpu-seconds": time.process_time() - cpu,
                "peak-MB-before": held / 1e3,
                "peak-MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
                "start-MB": before / 1e3,
                "network-MB": sum(array.nbytes for array in state.values()) / 1e6,
            }
        )
        print(json.dumps(found[-1]), flush=True)
    return found


def charted(path: str, output: str) -> None:
    """The means over the seeds of what `rounds` wrote."""
    import sys

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples/flower/mnist"))
    from fusing.chart import chart

    rows = json.loads(Path(path).read_text())
    names = {"fedavg": "FedAvg", "otfusion": "OTFusion"}
    curves = {}
    for start in ("own", "common"):
        for name, said in names.items():
            these = [row["accuracy"].values() for row in rows if (row["start"], row["strategy"]) == (start, name)]
            curves[f"{said}, {start}"] = [float(np.mean(values)) for values in zip(*these, strict=True)]
    epochs, alpha = rows[0]["epochs"], rows[0]["alpha"]
    Path(output).write_text(chart(curves, f"MNIST, 10 clients, Dirichlet {alpha}, {epochs} local epochs"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rounds", "one-shot", "unequal", "garbage", "server", "chart"])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--alpha", type=float, default=0.1)
    parser.add_argument("--train", type=int, default=20000, help="so many training images for all clients together")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("-o", "--output")
    options = parser.parse_args()
    if options.what == "chart":
        charted(options.data, options.output)
        return
    data = None if options.what == "server" else Data(options.data, options.train, 1000)
    done = {"rounds": rounds, "one-shot": one_shot, "unequal": unequal, "garbage": garbage, "server": server}[options.what]
    found = done(options, data)
    if options.output:
        Path(options.output).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
