#!/usr/bin/env python3
"""Modules of PyTorch, timm and transformers in two lines each: ``otfuse.align`` and ``otfuse.fuse``.

A network is brought into the order of another one (a moved copy), and the copy is brought back and fused with the
original. All have to compute what the original does (columns: the largest difference of an output), and the fused module has
the class, keys, shapes and types of its anchor. The networks of ``otfuse-cli/tests/golden/exports.py`` are among them.

usage: modules.py [NAME ...]
needs otfuse, torch, torchvision, timm, transformers, onnx, onnxscript; prints a table in Markdown
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
import warnings
from pathlib import Path

import otfuse
import torch
import torchvision.models as vision
from torch import nn

ROOT = Path(__file__).resolve().parents[4]


def networks_of_exports() -> dict:
    path = ROOT / "crates/otfuse-cli/tests/golden/exports.py"
    spec = importlib.util.spec_from_file_location("exports", path)
    exports = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(exports)
    return exports.NETWORKS, exports.trained


class Tied(nn.Module):
    """The same table at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.body = nn.Embedding(13, 8), nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 13, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        return self.head(self.body(self.table(tokens)))


def image(size: int = 64):
    return lambda: (torch.randn(1, 3, size, size),)


def of_timm(name: str, **options: object):
    import timm

    return lambda: timm.create_model(name, pretrained=False, num_classes=10, **options)


def of_transformers() -> dict:
    import transformers as hf

    small = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 50}

    def tokens():
        return {"input_ids": torch.arange(8)[None]}

    def pixels():
        return {"pixel_values": torch.randn(1, 3, 32, 32)}

    def both():
        return {"input_ids": torch.arange(8)[None], "decoder_input_ids": torch.arange(5)[None]}

    eyes = {key: value for key, value in small.items() if key != "vocab_size"} | {"image_size": 32, "patch_size": 8}
    gpt2 = {"n_layer": 2, "n_embd": 32, "n_head": 4, "vocab_size": 50}
    t5 = {"num_layers": 2, "d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64, "vocab_size": 50}
    heads = {"num_key_value_heads": 2}
    return {
        "GPT-2": (lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**gpt2)), tokens),
        "BERT": (lambda: hf.BertForSequenceClassification(hf.BertConfig(**small)), tokens),
        "DistilBERT": (
            lambda: hf.DistilBertForSequenceClassification(
                hf.DistilBertConfig(dim=32, n_heads=4, n_layers=2, hidden_dim=64, vocab_size=50)
            ),
            tokens,
        ),
        "RoBERTa": (lambda: hf.RobertaForSequenceClassification(hf.RobertaConfig(**small, pad_token_id=1)), tokens),
        "Llama": (lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**small, **heads)), tokens),
        "Qwen2": (lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**small, **heads)), tokens),
        "Mistral": (lambda: hf.MistralForCausalLM(hf.MistralConfig(**small, **heads)), tokens),
        "OPT": (
            lambda: hf.OPTForCausalLM(
                hf.OPTConfig(
                    num_hidden_layers=2,
                    hidden_size=32,
                    num_attention_heads=4,
                    ffn_dim=64,
                    vocab_size=50,
                    word_embed_proj_dim=32,
                    max_position_embeddings=32,
                )
            ),
            tokens,
        ),
        "T5": (lambda: hf.T5ForConditionalGeneration(hf.T5Config(**t5)), both),
        "ViT (transformers)": (lambda: hf.ViTForImageClassification(hf.ViTConfig(**eyes)), pixels),
    }


def numbers(found: object) -> list:
    if hasattr(found, "logits"):
        return [found.logits]
    return list(found) if isinstance(found, (tuple, list)) else [found]


def outputs(net: nn.Module, inputs: object) -> list:
    net.eval()
    with torch.no_grad():
        return numbers(net(**inputs) if isinstance(inputs, dict) else net(*inputs))


def difference(net: nn.Module, inputs: object, wanted: list) -> float:
    """The largest difference of an output, relative to the largest output where that is above 1."""
    pairs = zip(outputs(net, inputs), wanted, strict=True)
    return max(float((a - b).abs().max() / max(1.0, float(b.abs().max()))) for a, b in pairs)


def tried(make, inputs, trained) -> tuple[str, bool]:
    a, b = trained(make, 1), trained(make, 2)
    torch.manual_seed(5)
    x = inputs()
    wanted = outputs(a, x)
    begun = time.monotonic()
    moved = otfuse.align(a, to=b, inputs=x).module
    back = otfuse.align(moved, to=a, inputs=x).module
    fused = otfuse.fuse([moved, a], inputs=x)
    seconds = time.monotonic() - begun
    errors = [difference(net, x, wanted) for net in (moved, back, fused.module)]
    described = [[(key, value.shape, value.dtype) for key, value in net.state_dict().items()] for net in (fused.module, a)]
    alike = type(fused.module) is type(a) and described[0] == described[1]
    cells = " | ".join(f"{error:.0e}" for error in errors)
    groups = len(fused.report.groups)
    return f"{groups} | {cells} | {'yes' if alike else 'NO'} | {seconds:.1f}", alike and max(errors) < 1e-4


def main(*chosen: str) -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)
    known, trained = networks_of_exports()
    known |= {
        "tied embedding": (Tied, lambda: (torch.randint(0, 13, (2, 6)),)),
        "resnet50": (lambda: vision.resnet50(num_classes=10), image()),
        "timm resnet18": (of_timm("resnet18"), image()),
        "timm vit_tiny": (of_timm("vit_tiny_patch16_224", img_size=64), image()),
        "timm efficientnet_lite0": (of_timm("efficientnet_lite0"), image()),
        **of_transformers(),
    }
    print("| network | groups | moved | back | fused | keys, shapes, types | seconds |")
    print("|---|---|---|---|---|---|---|")
    held = total = 0
    for name, (make, inputs) in known.items():
        if chosen and name not in chosen:
            continue
        total += 1
        try:
            cells, ok = tried(make, inputs, trained)
        except otfuse.Error as error:
            cells, ok = f"{type(error).__name__} | | | | |", False
            print(f"{name}: {error}", file=sys.stderr)
        held += ok
        print(f"| {name} | {cells} |", flush=True)
    print(f"\n{held} of {total} networks")


if __name__ == "__main__":
    main(*sys.argv[1:])
