"""What a client does: it trains what it got, or, where it is told so, a network of its own."""

from __future__ import annotations

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fusing import task

app = ClientApp()


def received(message: Message, context: Context) -> torch.nn.Module:
    config, part = context.run_config, int(context.node_config["partition-id"])
    known = task.widths(config)
    torch.manual_seed(1000 * int(config["seed"]) + part)
    net = task.network(config, known[part % len(known)])
    if message.content["config"].get("start-from") != "own":
        net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    return net


@app.train()
def train(message: Message, context: Context) -> Message:
    config, settings = context.run_config, message.content["config"]
    part, parts = int(context.node_config["partition-id"]), int(context.node_config["num-partitions"])
    net = received(message, context)
    x, y = task.client_data(config, part, parts)
    seed = 100 * int(settings["server-round"]) + part
    loss = task.train(net, x, y, int(config["epochs"]), float(config["rate"]), seed, float(settings.get("proximal-mu", 0.0)))
    metrics = MetricRecord({"num-examples": len(x), "loss": loss})
    content = RecordDict({"arrays": ArrayRecord(net.state_dict()), "metrics": metrics})
    if len(task.widths(config)) > 1:
        content["form"] = ConfigRecord({"form": form(part, task.widths(config))})
    return Message(content=content, reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """What the client got, in its own width, on the test set."""
    net = received(message, context)
    _, (x, y) = task.server_data(context.run_config)
    metrics = MetricRecord({"num-examples": len(x), "accuracy": task.accuracy(net, x, y)})
    return Message(content=RecordDict({"metrics": metrics}), reply_to=message)


def form(part: int, widths: list[float]) -> str:
    """What the server calls this client's network."""
    width = widths[part % len(widths)]
    return "global" if width == max(widths) else f"width {width:g}"
