"""Tiny transformers and what the `transformers` library computes with them.

Writes one JSON file per network: its config.json, the names and shapes of its tensors, inputs and expected outputs. The
weights themselves follow from a tensor's name and shape (`values`), so that they are not kept; the test in
`../transformers` makes the same ones.

    python transformers_golden.py     # needs transformers (written with 5.23), torch, numpy
"""

import json
import pathlib
import tempfile

import numpy
import torch
import transformers as t
from safetensors import safe_open

HERE = pathlib.Path(__file__).parent / "transformers"
MASK = (1 << 64) - 1


def values(name, shape):
    """Deterministic weights: SplitMix64 seeded by FNV-1a of the name, 24 bits each, scaled by the fan-in."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & MASK
    count = int(numpy.prod(shape))
    with numpy.errstate(over="ignore"):
        state = numpy.uint64(seed) + numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        state = state ^ (state >> numpy.uint64(31))
    unit = (state >> numpy.uint64(40)).astype(numpy.float32) / numpy.float32(1 << 23) - numpy.float32(1)
    is_scale = len(shape) == 1 and name.endswith(("weight", "running_var"))
    result = numpy.float32(1) + numpy.float32(0.25) * unit if is_scale else numpy.float32(0.5) * unit
    return torch.from_numpy(result.reshape(tuple(shape)).copy())


BERT = dict(vocab_size=29, max_position_embeddings=24, type_vocab_size=2, pad_token_id=0)
LLAMA = dict(vocab_size=29, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2)


def sizes(hidden, layers, heads, inner, **more):
    return dict(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=inner, **more
    )


def gpt2(width, layers, heads, **more):
    return t.GPT2Config(
        vocab_size=29, n_positions=24, n_embd=width, n_layer=layers, n_head=heads, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, **more,
    )


def distil(width, layers, heads, inner, **more):
    return t.DistilBertConfig(
        vocab_size=29, max_position_embeddings=24, dim=width, n_layers=layers, n_heads=heads, hidden_dim=inner, **more
    )


def t5(width, layers, heads, inner, d_kv, **more):
    return t.T5Config(
        vocab_size=29, d_model=width, num_layers=layers, num_heads=heads, d_ff=inner, d_kv=d_kv,
        decoder_start_token_id=0, **more,
    )


SMALL, LARGE = sizes(24, 2, 3, 40), sizes(32, 3, 4, 56)
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
NETWORKS = {
    "bert_base": (t.BertModel, t.BertConfig(**BERT, **SMALL)),
    "bert_masked": (t.BertForMaskedLM, t.BertConfig(**BERT, **LARGE, hidden_act="gelu_new")),
    "bert_classes": (t.BertForSequenceClassification, t.BertConfig(**BERT, **SMALL, num_labels=3)),
    "bert_tokens": (t.BertForTokenClassification, t.BertConfig(**BERT, **LARGE, num_labels=5, hidden_act="relu")),
    "distilbert_base": (t.DistilBertModel, distil(24, 2, 3, 40)),
    "distilbert_masked": (t.DistilBertForMaskedLM, distil(32, 3, 4, 56)),
    "distilbert_classes": (t.DistilBertForSequenceClassification, distil(24, 2, 2, 40, num_labels=3)),
    "roberta_base": (t.RobertaModel, t.RobertaConfig(**(BERT | dict(pad_token_id=1)), **SMALL)),
    "roberta_masked": (t.RobertaForMaskedLM, t.RobertaConfig(**(BERT | dict(pad_token_id=1)), **LARGE)),
    "roberta_classes": (
        t.RobertaForSequenceClassification,
        t.RobertaConfig(**(BERT | dict(pad_token_id=1)), **SMALL, num_labels=3),
    ),
    "vit_base": (t.ViTModel, t.ViTConfig(**SMALL, image_size=12, patch_size=4)),
    "vit_classes": (
        t.ViTForImageClassification,
        t.ViTConfig(**LARGE, image_size=[8, 12], patch_size=4, num_channels=1, num_labels=5, qkv_bias=False),
    ),
    "gpt2_base": (t.GPT2Model, gpt2(24, 2, 3)),
    "gpt2_causal": (t.GPT2LMHeadModel, gpt2(32, 3, 4, scale_attn_by_inverse_layer_idx=True, n_inner=48)),
    "gpt2_classes": (t.GPT2ForSequenceClassification, gpt2(24, 2, 2, num_labels=3)),
    "llama_base": (t.LlamaModel, t.LlamaConfig(**LLAMA, **SMALL)),
    "llama_causal": (t.LlamaForCausalLM, t.LlamaConfig(**LLAMA, **LARGE, num_key_value_heads=2)),
    "llama_tied": (
        t.LlamaForCausalLM,
        t.LlamaConfig(
            **LLAMA, **LARGE, num_key_value_heads=1, tie_word_embeddings=True, rope_parameters=LLAMA3,
            attention_bias=True, mlp_bias=True,
        ),
    ),
    "llama_classes": (t.LlamaForSequenceClassification, t.LlamaConfig(**LLAMA, **SMALL, head_dim=4, num_labels=3)),
    "mistral_causal": (
        t.MistralForCausalLM,
        t.MistralConfig(**LLAMA, **LARGE, num_key_value_heads=2, sliding_window=3),
    ),
    "mistral_base": (
        t.MistralModel,
        t.MistralConfig(**LLAMA, **SMALL, num_key_value_heads=3, sliding_window=None),
    ),
    "qwen2_causal": (
        t.Qwen2ForCausalLM,
        t.Qwen2Config(
            **LLAMA, **LARGE, num_key_value_heads=2, use_sliding_window=True, sliding_window=3, max_window_layers=1
        ),
    ),
    "qwen2_classes": (
        t.Qwen2ForSequenceClassification,
        t.Qwen2Config(**LLAMA, **SMALL, num_key_value_heads=1, num_labels=3),
    ),
    "qwen3_causal": (t.Qwen3ForCausalLM, t.Qwen3Config(**LLAMA, **LARGE, num_key_value_heads=2, head_dim=6)),
    "qwen3_base": (t.Qwen3Model, t.Qwen3Config(**LLAMA, **SMALL, num_key_value_heads=3, head_dim=8)),
    "t5_generation": (t.T5ForConditionalGeneration, t5(24, 2, 3, 40, 8)),
    "t5_gated": (
        t.T5ForConditionalGeneration,
        t5(
            32, 2, 4, 56, 6, num_decoder_layers=3, feed_forward_proj="gated-gelu", relative_attention_num_buckets=8,
            relative_attention_max_distance=12, tie_word_embeddings=False,
        ),
    ),
    "t5_encoder": (t.T5EncoderModel, t5(24, 2, 3, 40, 8)),
}


def inputs(name, config):
    """Two sequences, the second of which is padded."""
    if name.startswith("vit"):
        size = config.image_size if isinstance(config.image_size, list) else [config.image_size] * 2
        return {"pixel_values": values("pixels", [2, config.num_channels, *size])}
    padding = config.pad_token_id
    length = 15 if name.startswith("t5") else 7
    tokens = (torch.arange(2 * length).reshape(2, length) * 11 + 5) % 26 + 3
    mask = torch.ones(2, length, dtype=torch.long)
    tokens[1, -2:], mask[1, -2:] = padding, 0
    given = {"input_ids": tokens, "attention_mask": mask}
    if name in ("t5_generation", "t5_gated"):
        given["decoder_input_ids"] = (torch.arange(2 * 13).reshape(2, 13) * 7 + 3) % 26 + 3
    return given


def main():
    HERE.mkdir(exist_ok=True)
    for name, (cls, config) in NETWORKS.items():
        model = cls(config).eval()
        model.config.architectures = [cls.__name__]
        model.set_attn_implementation("eager")
        stored = {}
        seen = set()
        state = model.state_dict()
        for key, tensor in state.items():
            if tensor.data_ptr() not in seen:
                stored[key] = list(tensor.shape)
            seen.add(tensor.data_ptr())
        with torch.no_grad():
            for key in stored:
                state[key].copy_(values(key, stored[key]))
            given = inputs(name, config)
            found = model(**given)
        outputs = {
            key: found[key]
            for key in ("last_hidden_state", "pooler_output", "logits")
            if key in found and found[key] is not None
        }
        as_json = lambda tensors: {
            key: {"shape": list(tensor.shape), "values": [round(v, 6) for v in tensor.flatten().tolist()]}
            for key, tensor in tensors.items()
        }
        # The names in files differ from those of modules in some families.
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            with safe_open(folder + "/model.safetensors", "pt") as file:
                names = {}
                for key in file.keys():
                    tensor = file.get_tensor(key)
                    match = [k for k in stored if torch.equal(state[k], tensor)]
                    names[key] = {"shape": list(tensor.shape), "seed": match[0]}
            saved = json.loads((pathlib.Path(folder) / "config.json").read_text())
        golden = {"config": saved, "tensors": names, "inputs": as_json(given), "outputs": as_json(outputs)}
        (HERE / f"{name}.json").write_text(json.dumps(golden, separators=(",", ":"), sort_keys=True) + "\n")
        print(name, {key: tuple(v.shape) for key, v in outputs.items()})


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
