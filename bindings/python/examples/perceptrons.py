"""Four perceptrons trained apart on the embedded digits become one."""

import otfuse
import torch
from torch import nn


def trained(seed: int, x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(150):
        batch = torch.randint(0, len(x), (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
    return net


def main() -> None:
    data = otfuse.Dataset("digits")
    x, y = (torch.from_numpy(array) for array in data.arrays("train"))
    nets = [otfuse.open(trained(seed, x, y), inputs=x[:2]) for seed in range(4)]
    for name, options in {
        "plain average": {"method": "average"},
        "aligned, no data": {},
        "aligned, 500 unlabelled samples": {"samples": x[:500]},
    }.items():
        fused = otfuse.fuse(nets, **options)
        print(f"{name:32} {fused.evaluate(data).models[0].accuracy:.3f}")
    measured = otfuse.evaluate(nets, data, ensemble=True)
    print(f"{'parents':32} {', '.join(f'{one.accuracy:.3f}' for one in measured.models)}")
    print(f"{'ensemble of four':32} {measured.ensemble.accuracy:.3f}")


if __name__ == "__main__":
    main()
