"""Two ResNet18 of torchvision become one module. Here they are random; give your own weights as arguments.

usage: resnets.py [A.pth B.pth]      state dicts of torchvision.models.resnet18
"""

import sys

import otfuse
import torch
import torchvision


def network(seed: int, path: str | None) -> torch.nn.Module:
    torch.manual_seed(seed)
    net = torchvision.models.resnet18()
    if path is not None:
        net.load_state_dict(torch.load(path, weights_only=True))
    return net.eval()


def main() -> None:
    paths = sys.argv[1:3] or [None, None]
    a, b = (network(seed, path) for seed, path in enumerate(paths))
    images = torch.randn(2, 3, 64, 64)
    print("groups proved:", otfuse.verify(a, inputs=images).free_groups)
    aligned = otfuse.align(a, to=b, inputs=images).module
    with torch.no_grad():
        print("moving neurons changes outputs by", float((aligned.eval()(images) - a(images)).abs().max()))
    fused = otfuse.fuse([a, b], inputs=images, samples=torch.randn(64, 3, 64, 64))
    print(type(fused.module).__name__, "of", fused.report.coverage.parameters, "parameters")


if __name__ == "__main__":
    main()
