"""Steps of AdamW on tiny transformers, by PyTorch and `transformers`: writes transformers_training.json beside itself.

Weights and tokens follow from formulas that the test (tests/transformers/training.rs) has as well.
"""

import json
import math
import pathlib

import torch
from transformers import (BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, LlamaConfig,
                          LlamaForCausalLM)

WORDS, LENGTH, SAMPLES, CLASSES, STEPS = 11, 6, 4, 3, 5

plain = dict(vocab_size=WORDS, pad_token_id=None, bos_token_id=None, eos_token_id=None, initializer_range=0.02)
MODELS = {
    "gpt2:1,8,2": GPT2LMHeadModel(GPT2Config(
        n_layer=1, n_embd=8, n_head=2, n_inner=32, n_positions=LENGTH, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0,
        **plain)),
    "llama:1,8,2/1": LlamaForCausalLM(LlamaConfig(
        num_hidden_layers=1, hidden_size=8, num_attention_heads=2, num_key_value_heads=1, head_dim=4,
        intermediate_size=24, max_position_embeddings=LENGTH, **plain)),
    "bert:1,8,2": BertForSequenceClassification(BertConfig(
        num_hidden_layers=1, hidden_size=8, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=LENGTH, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        num_labels=CLASSES, **{**plain, "pad_token_id": 0})),
}


def fill(model):
    """Sines, around 1 for the scales of normalisations; the same for tied weights."""
    for at, (name, weight) in enumerate(sorted(model.named_parameters())):
        is_norm = weight.dim() == 1 and name.endswith("weight")
        values = [(1.0 if is_norm else 0.0) + 0.3 * math.sin(12.9898 * at + 0.618 * k) for k in range(weight.numel())]
        weight.data = torch.tensor(values, dtype=torch.float32).reshape(weight.shape)


def token(k):
    return (7 * k * k + 3 * k) % (WORDS - 1) + 1


def main():
    golden = {}
    for name, model in MODELS.items():
        fill(model)
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
        losses = []
        for _ in range(STEPS):
            if name.startswith("bert"):
                rows = [[token(LENGTH * i + j) if j < 3 + i else 0 for j in range(LENGTH)] for i in range(SAMPLES)]
                ids = torch.tensor(rows)
                labels = torch.tensor([i % CLASSES for i in range(SAMPLES)])
                logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
            else:
                stream = [token(k) for k in range(SAMPLES * LENGTH + 1)]
                ids = torch.tensor(stream[:-1]).reshape(SAMPLES, LENGTH)
                labels = torch.tensor(stream[1:])
                logits = model(input_ids=ids).logits.reshape(-1, WORDS)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        weights = {}
        for key, weight in sorted(model.named_parameters()):
            flat = weight.detach().flatten()
            step = max(1, flat.numel() // 8)
            weights[key] = {"norm": flat.norm().item(), "values": [round(v, 7) for v in flat[::step].tolist()]}
        golden[name] = {"losses": losses, "weights": weights}
    path = pathlib.Path(__file__).with_name("transformers_training.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
