"""The server: strategies one after the other from the same beginning, their curves as JSON and as a chart."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, FedProx
from otfuse.flower import OTFusion

from fusing import task
from fusing.chart import chart

app = ServerApp()

NAMES = {"fedavg": "FedAvg", "fedprox": "FedProx", "fedma": "matched once", "otfusion": "OTFusion"}


def strategy(name: str, config, net: torch.nn.Module, samples: torch.Tensor):
    known = task.widths(config)
    common = {"fraction_evaluate": 1.0 if len(known) > 1 else 0.0, "min_train_nodes": 2}
    start = str(config["start"])
    if name == "fedavg":
        return FedAvg(**common)
    if name == "fedprox":
        return FedProx(proximal_mu=float(config["proximal-mu"]), **common)
    given = {"inputs": samples[:2], "clients_start": start, "threads": 1, **common}
    if name == "fedma":
        # Neurons are matched by weights in the first round and averaged; from then on it is FedAvg. (FedMA proper goes
        # on layer by layer, with further training in between.)
        return OTFusion(net, align_every=10**6, repair="none", **given)
    if name != "otfusion":
        raise ValueError(f"methods: {name} is none of {', '.join(NAMES)}")
    forms = {f"width {width:g}": task.network(config, width) for width in known if width != max(known)}
    return OTFusion(net, forms=forms, samples=samples if int(config["samples"]) else None, **given)


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    print(f"data: {task.spec(config)}", flush=True)
    samples, (x, y) = task.server_data(config)
    widest, rounds = max(task.widths(config)), int(config["num-server-rounds"])
    curves, found = {}, {}
    for name in str(config["methods"]).split(","):
        torch.manual_seed(7000 + int(config["seed"]))
        net = task.network(config, widest)
        curve: list[float] = []

        def measured(at: int, arrays: ArrayRecord, net=net, curve=curve) -> MetricRecord:
            net.load_state_dict(arrays.to_torch_state_dict())
            curve.append(100 * task.accuracy(net, x, y))
            return MetricRecord({"accuracy": curve[-1]})

        began = time.monotonic()
        one = strategy(name, config, net, samples)
        # FedAvg and FedProx pass this on; OTFusion says it itself, in the first round.
        settings = ConfigRecord({"start-from": "global"})
        if name in ("fedavg", "fedprox") and config["start"] == "own":
            one = own_start(one)
        arrays = ArrayRecord(net.state_dict())
        result = one.start(grid, arrays, rounds, train_config=settings, evaluate_fn=measured)
        curves[NAMES[name]] = curve
        evaluated = {at: dict(metrics) for at, metrics in result.evaluate_metrics_clientapp.items()}
        found[name] = {"accuracy": curve, "clients": evaluated, "seconds": time.monotonic() - began}
        print(f"{NAMES[name]}: " + " ".join(f"{value:.2f}" for value in curve), flush=True)
    folder = Path(str(config["output"])).expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "curves.json").write_text(json.dumps({"config": dict(config), "found": found}, indent=1) + "\n")
    (folder / "curves.svg").write_text(chart(curves, f"{task.spec(config).split(':')[0]}, alpha {config['alpha']}"))
    print(f"written: {folder / 'curves.json'}, {folder / 'curves.svg'}", flush=True)


def own_start(one: FedAvg) -> FedAvg:
    """A strategy of Flower's whose clients begin from weights of their own in the first round."""
    configure = one.configure_train

    def configure_train(server_round, arrays, config, grid):
        config["start-from"] = "own" if server_round == 1 else "global"
        return configure(server_round, arrays, config, grid)

    one.configure_train = configure_train
    return one
