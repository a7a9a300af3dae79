"""Two BERT classifiers of transformers become one folder that ``from_pretrained`` loads. Here they are small and random;
give your own folders as arguments.

usage: berts.py [FOLDER_A FOLDER_B OUT]      needs transformers
"""

import sys
import tempfile
from pathlib import Path

import otfuse
import torch
import transformers


def network(seed: int) -> transformers.PreTrainedModel:
    torch.manual_seed(seed)
    sizes = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}
    return transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=100, **sizes)).eval()


def main() -> None:
    models = sys.argv[1:3] or [network(0), network(1)]
    fused = otfuse.fuse(models)
    print(fused.report.coverage.aligned, "of", fused.report.coverage.parameters, "parameters aligned")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(folder) / "fused"
        fused.save(out)
        loaded = transformers.AutoModelForSequenceClassification.from_pretrained(out)
        print(type(loaded).__name__, "in", sorted(path.name for path in out.iterdir()))


if __name__ == "__main__":
    main()
