"""Two LSTMs that were trained apart to tell which of two tokens stands more often in a sequence become one."""

import otfuse
import torch
from torch import nn


class Classifier(nn.Module):
    """Embedding, a bidirectional LSTM, and a layer on the mean of its states."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(8, 16)
        self.layer = nn.LSTM(16, 32, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.table(tokens))[0].mean(1))


def sequences(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, 8, (count, 15))
    return tokens, ((tokens == 1).sum(1) > (tokens == 2).sum(1)).long()


def trained(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = Classifier()
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(200):
        tokens, classes = sequences(64)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(tokens), classes).backward()
        optimizer.step()
    return net


def main() -> None:
    a, b = trained(0), trained(1)
    tokens, classes = sequences(1000)
    unlabelled, _ = sequences(500)
    fused = otfuse.fuse([a, b], inputs=tokens[:2], samples=unlabelled)
    plain = otfuse.fuse([a, b], inputs=tokens[:2], method="average")
    for name, net in {"a": a, "b": b, "plain average": plain.module, "fused": fused.module}.items():
        with torch.no_grad():
            accuracy = (net.eval()(tokens).argmax(1) == classes).double().mean()
        print(f"{name:14} {accuracy:.3f}")
    print(fused.report.coverage.aligned, "of", fused.report.coverage.parameters, "parameters aligned")


if __name__ == "__main__":
    main()
