"""Folders of one family in two number types, and one whose last layer is tied to the embeddings.

    python hf-bf16-with-f32.py FOLDER     # needs transformers, torch
"""

import pathlib
import sys

import torch
from transformers import GemmaConfig, GemmaForCausalLM, LlamaConfig, LlamaForCausalLM

SIZES = dict(
    vocab_size=19, hidden_size=8, intermediate_size=10, num_hidden_layers=1, num_attention_heads=2, head_dim=4,
    num_key_value_heads=1, max_position_embeddings=16, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)


def main(folder):
    networks = {
        "llama-f32": (LlamaForCausalLM, LlamaConfig, torch.float32, dict(tie_word_embeddings=False)),
        "llama-bf16": (LlamaForCausalLM, LlamaConfig, torch.bfloat16, dict(tie_word_embeddings=False)),
        "llama-tied": (LlamaForCausalLM, LlamaConfig, torch.float32, dict(tie_word_embeddings=True)),
        "gemma-f16": (GemmaForCausalLM, GemmaConfig, torch.float16, {}),
        "gemma-bf16": (GemmaForCausalLM, GemmaConfig, torch.bfloat16, {}),
    }
    for seed, (name, (cls, settings, kind, more)) in enumerate(networks.items()):
        torch.manual_seed(seed)
        cls(settings(**SIZES, **more)).to(kind).save_pretrained(folder / name)
        (folder / name / "generation_config.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
