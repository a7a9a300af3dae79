#!/usr/bin/env python3
"""Merges small random models by mergekit 0.1.5, as golden files.

usage: mergekit.py [CASE ...]      needs mergekit 0.1.5, torch, transformers, tokenizers, safetensors, numpy; nothing is downloaded

Writes beside itself
    mergekit/models/NAME/              the inputs: Hugging Face folders (without CASE: all of them anew)
    mergekit/CASE/config.yml           the configuration; folders are named relative to it
    mergekit/CASE/expected.safetensors the merged tensors
    mergekit/CASE/expected.json        what config.json says of the result; seed; vocabulary and chat template where there is a tokenizer

What is random or left open in mergekit is fixed here, from outside:

Random numbers. Methods that drop elements at random call `torch.bernoulli(p)`. In its place element i (row-major) is kept where u_i < p_i, both
as 64-bit floats; p_i is the probability as mergekit computed it: 32-bit, or bfloat16 where the tensors are merged in bfloat16. With G =
0x9E3779B97F4A7C15, mix(x) the finaliser of SplitMix64 of x + G, h the 64-bit FNV-1a hash of the name of the output's tensor (UTF-8), and m the place of
the model among the models of the file (the sources of the slice), counted from 0, the base model with them only if it is listed:
    key = mix(seed ^ mix(h + m G)),   u_i = (mix(key + i G) >> 11) 2^-53       integers modulo 2^64; seed 0 unless expected.json has another

Order. Sorts are stable, so that of equal magnitudes the first is the smaller in rising order and the greater in falling order. Models come in the order of
the file, the base model first, where mergekit goes through a set of them; tokens of a vocabulary by their numbers.
"""
import json
import logging
import os
import pathlib
import shutil
import sys
import tempfile

# This file and the folder beside it bear the package's name.
HERE = pathlib.Path(__file__).resolve().parent
sys.path = [path for path in sys.path if pathlib.Path(path or ".").resolve() != HERE]
os.environ["HF_HUB_OFFLINE"] = "1"

import mergekit.merge_methods.generalized_task_arithmetic as task_arithmetic
import numpy as np
import tokenizers
import torch
import transformers
import yaml
from mergekit.config import MergeConfiguration
from mergekit.io.tasks import LoaderCache
from mergekit.merge import run_merge
from mergekit.merge_methods.task_adapter import ExecuteMergeMethodTask
from mergekit.options import MergeOptions
from mergekit.scripts import multimerge
from safetensors.torch import load_file, save_file

ROOT = HERE / "mergekit"
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


# Random numbers --------------------------------------------------------------------------------------------------------------------------


def mix(x):
    """SplitMix64's finaliser of x + G, on numbers or arrays of uint64."""
    if isinstance(x, int):
        return int(mix(np.array([x & MASK], dtype=np.uint64))[0])
    z = x + np.uint64(GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def fnv(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def uniform(seed, name, model, count):
    key = mix(seed ^ mix((fnv(name) + model * GOLDEN) & MASK))
    with np.errstate(over="ignore"):
        steps = np.uint64(key) + np.arange(count, dtype=np.uint64) * np.uint64(GOLDEN)
        return (mix(steps) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Draws:
    """Which tensor of which model mergekit draws for."""

    def __init__(self):
        self.seed, self.name, self.models, self.place = 0, None, [], 0

    def bernoulli(self, probabilities):
        numbers = uniform(self.seed, self.name, self.models[self.place], probabilities.numel())
        keep = torch.from_numpy(numbers).reshape(probabilities.shape) < probabilities.double()
        return keep.to(probabilities.dtype)


def fix_what_is_open(draws):
    execute, sparsify = ExecuteMergeMethodTask.execute, task_arithmetic.sparsify

    def named(self, tensors, **further):
        draws.name, draws.place = self.output_weight.name, -1
        draws.models = [i for i, m in enumerate(self.model_order) if m != self.base_model and tensors.get(m) is not None]
        return execute(self, tensors, **further)

    def counted(*arguments, **further):
        draws.place += 1
        return sparsify(*arguments, **further)

    ExecuteMergeMethodTask.execute = named
    task_arithmetic.sparsify = counted
    torch.bernoulli = draws.bernoulli

    argsort, sort = torch.argsort, torch.sort
    torch.argsort = lambda x, dim=-1, descending=False: argsort(x, dim=dim, descending=descending, stable=True)
    torch.sort = lambda x, dim=-1, descending=False: sort(x, dim=dim, descending=descending, stable=True)

    def topk(x, k, largest=True):
        values, indices = sort(x, descending=largest, stable=True)
        return values[:k], indices[:k]

    torch.topk = topk

    def in_order(config):
        models = [config.base_model] if config.base_model else []
        models += [model.model for model in config.models or []]
        slices = list(config.slices or [])
        for module in (config.modules or {}).values():
            models += [model.model for model in module.models or []]
            slices += module.slices or []
        models += [source.model for piece in slices for source in piece.sources]
        return list(dict.fromkeys(models))

    MergeConfiguration.referenced_models = in_order
    vocabulary = transformers.PreTrainedTokenizerFast.get_vocab
    by_number = lambda self: dict(sorted(vocabulary(self).items(), key=lambda token: token[1]))
    transformers.PreTrainedTokenizerFast.get_vocab = by_number


# Models ----------------------------------------------------------------------------------------------------------------------------------


def llama(architecture="LlamaForCausalLM", model="llama", *, hidden=6, inner=8, heads=3, groups=1, layers=3, words=12, tied=False, biases=False):
    """config.json and the shapes of a network of the family."""
    size = hidden // heads
    config = {
        "architectures": [architecture], "model_type": model, "hidden_size": hidden, "intermediate_size": inner, "num_attention_heads": heads,
        "num_key_value_heads": groups, "num_hidden_layers": layers, "vocab_size": words, "max_position_embeddings": 32, "hidden_act": "silu",
        "rms_norm_eps": 1e-6, "tie_word_embeddings": tied, "bos_token_id": 0, "eos_token_id": 1,
    }  # fmt: skip
    shapes = {"model.embed_tokens.weight": [words, hidden]}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        attention = {"q": heads * size, "k": groups * size, "v": groups * size}
        for name, rows in attention.items():
            shapes[f"{prefix}self_attn.{name}_proj.weight"] = [rows, hidden]
            if biases:
                shapes[f"{prefix}self_attn.{name}_proj.bias"] = [rows]
        shapes[prefix + "self_attn.o_proj.weight"] = [hidden, heads * size]
        shapes[prefix + "mlp.gate_proj.weight"] = shapes[prefix + "mlp.up_proj.weight"] = [inner, hidden]
        shapes[prefix + "mlp.down_proj.weight"] = [hidden, inner]
        shapes[prefix + "input_layernorm.weight"] = shapes[prefix + "post_attention_layernorm.weight"] = [hidden]
    shapes["model.norm.weight"] = [hidden]
    if not tied:
        shapes["lm_head.weight"] = [words, hidden]
    return config, shapes


def gpt2(*, hidden=8, heads=2, layers=2, words=12, positions=4):
    config = {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": hidden, "n_head": heads, "n_layer": layers, "vocab_size": words,
        "n_positions": positions, "n_inner": hidden, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True,
        "bos_token_id": 0, "eos_token_id": 1,
    }  # fmt: skip
    shapes = {"wte.weight": [words, hidden], "wpe.weight": [positions, hidden]}
    for layer in range(layers):
        for name, (rows, columns) in {
            "attn.c_attn": (hidden, 3 * hidden), "attn.c_proj": (hidden, hidden), "mlp.c_fc": (hidden, hidden), "mlp.c_proj": (hidden, hidden)
        }.items():  # fmt: skip
            shapes[f"h.{layer}.{name}.weight"], shapes[f"h.{layer}.{name}.bias"] = [rows, columns], [columns]
        for name in ("ln_1", "ln_2"):
            shapes[f"h.{layer}.{name}.weight"] = shapes[f"h.{layer}.{name}.bias"] = [hidden]
    shapes["ln_f.weight"] = shapes["ln_f.bias"] = [hidden]
    return config, {"transformer." + name: shape for name, shape in shapes.items()}


def bert(*, hidden=6, heads=2, layers=2, words=12, positions=4):
    config = {
        "architectures": ["BertForSequenceClassification"], "model_type": "bert", "hidden_size": hidden, "intermediate_size": 2 * hidden, "num_attention_heads": heads,
        "num_hidden_layers": layers, "vocab_size": words, "max_position_embeddings": positions, "type_vocab_size": 2, "hidden_act": "gelu",
        "layer_norm_eps": 1e-12, "pad_token_id": 0,
    }  # fmt: skip
    shapes = {f"embeddings.{name}_embeddings.weight": [rows, hidden] for name, rows in (("word", words), ("position", positions), ("token_type", 2))}

    def add(name, rows, columns=None):
        shapes[name + ".weight"], shapes[name + ".bias"] = [rows] if columns is None else [rows, columns], [rows]

    add("embeddings.LayerNorm", hidden)
    for layer in range(layers):
        prefix = f"encoder.layer.{layer}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            add(prefix + name, hidden, hidden)
        add(prefix + "attention.output.LayerNorm", hidden)
        add(prefix + "intermediate.dense", 2 * hidden, hidden)
        add(prefix + "output.dense", hidden, 2 * hidden)
        add(prefix + "output.LayerNorm", hidden)
    add("pooler.dense", hidden, hidden)
    shapes = {"bert." + name: shape for name, shape in shapes.items()}
    add("classifier", 2, hidden)
    return config, shapes


def numbers(name):
    return np.random.Generator(np.random.PCG64(fnv(name)))


def fresh(name, shapes):
    """Random weights; those of normalisations near one."""
    source = numbers(name)
    state = {}
    for key, shape in shapes.items():
        norm = "norm" in key.lower() or ".ln_" in key
        values = source.standard_normal(shape) * (0.1 if norm or key.endswith("bias") else 0.4)
        state[key] = values + 1 if norm and key.endswith("weight") else values
    return state


def tuned(name, base, size=0.08):
    """The weights moved a little: differences of unequal size, a third of them next to nothing."""
    source = numbers(name)
    state = {}
    for key, values in base.items():
        change = source.standard_normal(values.shape) * np.exp(0.7 * source.standard_normal(values.shape))
        state[key] = values + size * change * np.where(source.random(values.shape) < 0.3, 0.01, 1.0)
    return state


def wordlevel(tokens, special=(), template=None):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=tokens[0]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([token for token in (tokens[0], *special)])
    return tokenizer, {"unk_token": tokens[0]}, template


def bpe(tokens, merges, special=()):
    model = tokenizers.models.BPE({token: i for i, token in enumerate(tokens)}, [tuple(merge.split()) for merge in merges], unk_token=tokens[0])
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([tokens[0], *special])
    return tokenizer, {"unk_token": tokens[0]}, None


def write(name, network, state, *, dtype="float32", shards=1, tokenizer=None, rename=lambda key: key, extra=None):
    folder = ROOT / "models" / name
    folder.mkdir(parents=True)
    config = {**network[0], "dtype": dtype, "torch_dtype": dtype}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tensors = {rename(key): torch.from_numpy(values).to(TYPES[dtype]).contiguous() for key, values in state.items()}
    tensors.update(extra or {})
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        places = {}
        for shard in range(shards):
            file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
            part = {key: tensor for i, (key, tensor) in enumerate(tensors.items()) if i * shards // len(tensors) == shard}
            places.update({key: file for key in part})
            save_file(part, folder / file, metadata={"format": "pt"})
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=0) + "\n")
    if tokenizer:
        fast, special, template = tokenizer
        (folder / "tokenizer.json").write_text(json.dumps(json.loads(fast.to_str()), ensure_ascii=False, indent=0) + "\n")
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
        if template:
            settings["chat_template"] = template
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")


def family(names, network, *, size=0.08, special=None, **options):
    """The first name: random weights; the others: those moved a little. `special`: further options of single models."""
    base = fresh(names[0], network[1])
    for name in names:
        state = base if name == names[0] else tuned(name, base, size)
        write(name, network, state, **options, **(special or {}).get(name, {}))


def write_models():
    shutil.rmtree(ROOT / "models", ignore_errors=True)
    plain = llama()
    family(["llama", "llama-a", "llama-b", "llama-c"], plain, special={"llama-b": {"shards": 3}})
    write("llama-far", plain, fresh("llama-far", plain[1]))
    family(["llama16", "llama16-a", "llama16-b", "llama16-c"], plain, dtype="bfloat16", special={"llama16-a": {"shards": 2}})
    write("llama16-far", plain, fresh("llama16-far", plain[1]), dtype="bfloat16")
    write("llama-half", plain, tuned("llama-half", fresh("llama", plain[1])), dtype="float16")
    mistral = llama("MistralForCausalLM", "mistral", layers=4, groups=3)
    family(["mistral", "mistral-a", "mistral-b"], mistral, dtype="float16", special={"mistral": {"shards": 2}})
    tied = llama("Qwen2ForCausalLM", "qwen2", tied=True, biases=True)
    family(["qwen", "qwen-a", "qwen-b"], tied, dtype="bfloat16")
    untied = llama("Qwen2ForCausalLM", "qwen2", biases=True)
    family(["qwen-untied", "qwen-untied-a", "qwen-untied-b"], untied, special={"qwen-untied-a": {"shards": 2}})
    small = gpt2()
    masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 4, 4).tril() for layer in range(2)}
    other = {"rename": lambda key: key.removeprefix("transformer."), "extra": masks}
    family(["gpt2", "gpt2-a", "gpt2-b", "gpt2-c"], small, special={"gpt2-b": other})
    family(["bert", "bert-a", "bert-b"], bert())
    write_vocabularies()
    write_examples()


BASE_WORDS = ["<unk>", "the", "a", "cat", "dog", "runs", "sleeps", "</s>"]
TEMPLATES = [
    "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}",
    "{% for message in messages %}<|im_start|>{{ message['role'] }}: {{ message['content'] }}<|im_end|>\n{% endfor %}",
]


def write_vocabularies():
    """Networks that differ in their vocabularies."""

    def network(words, tied=False):
        return llama(layers=2, words=words, tied=tied)

    base = fresh("words", network(16)[1])

    def copy(name, tokens, tokenizer, *, rows=None, first=0, **options):
        """Words that the base has too have rows near the base's."""
        rows = rows or len(tokens)
        state, own = tuned(name, base), fresh(name, network(rows)[1])
        for key in ("model.embed_tokens.weight", "lm_head.weight"):
            matrix = own[key]
            for row, token in enumerate(tokens):
                if token in BASE_WORDS:
                    matrix[row] = state[key][BASE_WORDS.index(token)]
            state[key] = matrix
        if options.pop("tied", False):
            del state["lm_head.weight"]
            return write(name, network(rows, True), state, tokenizer=tokenizer, **options)
        return write(name, network(rows), state, tokenizer=tokenizer, **options)

    words = BASE_WORDS
    more = ["<unk>", "a", "the", "dog", "cat", "bird", "</s>", "flies", "<|im_start|>", "<|im_end|>"]
    other = ["<unk>", "the", "bird", "fish", "swims", "cat", "</s>"]
    copy("words", words, wordlevel(words, ["</s>"], TEMPLATES[0]))
    copy("words-more", more, wordlevel(more, ["</s>", "<|im_start|>", "<|im_end|>"], TEMPLATES[1]))
    copy("words-other", other, wordlevel(other, ["</s>"], TEMPLATES[1]))
    copy("words-padded", words, wordlevel(words, ["</s>"]), rows=12)
    copy("words-same", words, None)
    copy("words16", words, wordlevel(words, ["</s>"]), dtype="bfloat16")
    copy("words16-more", more, wordlevel(more, ["</s>", "<|im_start|>", "<|im_end|>"]), dtype="bfloat16")
    copy("words-tied", words, wordlevel(words, ["</s>"]), tied=True)
    copy("words-tied-more", more, wordlevel(more, ["</s>", "<|im_start|>", "<|im_end|>"]), tied=True)
    letters = ["<unk>", "a", "b", "c", "d", "e", "ab", "cd", "abe", "</s>"]
    further = ["<unk>", "a", "b", "c", "d", "e", "f", "ab", "ef", "abc", "</s>", "<pad>"]
    copy("letters", letters, bpe(letters, ["a b", "c d", "ab e"], ["</s>"]))
    copy("letters-more", further, bpe(further, ["a b", "e f", "ab c"], ["</s>", "<pad>"]), shards=2)


def write_examples():
    """For the examples of mergekit's repository: the families and, where layers are counted, their number."""
    tall = llama(hidden=2, inner=2, heads=1, layers=40, words=4)
    family(["orca-mini-40", "platypus-40"], tall, dtype="float16", size=0.3)
    short = llama(layers=5, groups=3)
    family(["llama-2", "orca-mini", "wizardlm", "platypus", "wizardmath"], short, dtype="float16")


# Cases -----------------------------------------------------------------------------------------------------------------------------------

CASES = {}


def place(name):
    return "../models/" + name


def case(name, method, models=None, *, base=None, seed=0, parameters=None, **rest):
    """`models`: names, or name: parameters of the model."""
    config = {"merge_method": method}
    if models is not None:
        models = models if isinstance(models, dict) else {model: None for model in models}
        config["models"] = [{"model": place(m), **({"parameters": own} if own else {})} for m, own in models.items()]
    if base:
        config["base_model"] = place(base)
    config.update(rest)
    if parameters:
        config["parameters"] = parameters
    text(name, yaml.safe_dump(config, sort_keys=False, width=120), seed)


def text(name, content, seed=0):
    assert name not in CASES, name
    CASES[name] = content, seed


def source(name, first, last, **parameters):
    return {"model": place(name), "layer_range": [first, last], **({"parameters": parameters} if parameters else {})}


def piece(*sources, **further):
    return {"sources": list(sources), **further}


def weights(*names, start=0.6, step=-0.2, **further):
    return {name: {"weight": round(start + step * i, 3), **further} for i, name in enumerate(names)}


def linear_cases():
    case("linear", "linear", weights("llama-a", "llama-b"))
    case("linear-not-normalized", "linear", weights("llama-a", "llama-b", "llama-c"), parameters={"normalize": False})
    case("linear-negative", "linear", {"llama-a": {"weight": 1.5}, "llama-b": {"weight": -0.4}, "llama": {"weight": 0.2}})
    by_layer = {"llama-a": {"weight": [0, 1]}, "llama-b": {"weight": [1, 0.5, 0.25, 0.125]}}
    case("linear-gradient", "linear", by_layer)
    by_name = [{"filter": "self_attn", "value": 0.3}, {"filter": "layers.1.mlp", "value": [0.1, 0.9]}, {"value": 0.5}]
    case("linear-filter", "linear", {"llama-a": {"weight": by_name}, "llama-b": {"weight": [{"filter": "*", "value": 0.4}]}})
    falls = {"llama-a": {"weight": {"filter": "mlp", "value": 2.0}}, "llama-b": {"weight": 1.0}}
    case("linear-filter-falls-through", "linear", falls, parameters={"weight": 0.25})
    case("linear-bf16", "linear", weights("llama16-a", "llama16-b", "llama16-c"), dtype="bfloat16")
    case("linear-f16", "linear", weights("mistral-a", "mistral-b", "mistral"), dtype="float16")
    case("linear-mixed-types", "linear", weights("llama16-a", "llama-a"))
    case("linear-two-halves", "linear", weights("llama16-a", "llama-half"))
    case("linear-to-bf16", "linear", weights("llama-a", "llama-b"), dtype="float32", out_dtype="bfloat16")
    case("linear-f32-in-bf16", "linear", weights("llama-a", "llama-b"), dtype="bfloat16")
    case("linear-gpt2", "linear", weights("gpt2-a", "gpt2-b"))
    case("linear-bert", "linear", weights("bert-a", "bert-b"))
    case("linear-qwen-tied", "linear", weights("qwen-a", "qwen-b"))
    case("linear-qwen-half-tied", "linear", weights("qwen-a", "qwen-untied-a"), dtype="float32")
    case("linear-base-listed", "linear", weights("llama", "llama-a"), base="llama-a")
    case("linear-base-added", "linear", ["llama-a", "llama-b"], base="llama", parameters={"weight": 1.0})
    ramp = piece(source("llama-a", 0, 2, weight=[0.2, 0.8]), source("llama-b", 0, 2, weight=1))
    swap = piece(source("llama-b", 1, 3, weight=0.7), source("llama-c", 1, 3), parameters={"weight": [0.1, 0.6]})
    case("linear-slices", "linear", slices=[ramp, swap])


def spherical_cases():
    pair, far = ["llama-a", "llama-b"], ["llama-a", "llama-far"]
    case("slerp-near", "slerp", pair, base="llama-a", parameters={"t": 0.3})
    case("slerp", "slerp", far, base="llama-a", parameters={"t": 0.3})
    case("slerp-base-second", "slerp", far, base="llama-far", parameters={"t": 0.3})
    case("slerp-gradient", "slerp", far, base="llama-a", parameters={"t": [0, 0.5, 0.3, 0.7, 1]})
    by_name = [{"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]}, {"filter": "mlp", "value": [1, 0.5, 0.7, 0.3, 0]}, {"value": 0.5}]
    case("slerp-filter", "slerp", far, base="llama-a", parameters={"t": by_name})
    case("slerp-one-layer", "slerp", far, base="llama-a", parameters={"t": [{"filter": "layers.1.", "value": 0.9}, {"value": 0.1}]})
    ends = [{"filter": "embed_tokens", "value": 0.2}, {"filter": "lm_head", "value": 0.8}, {"filter": "norm", "value": [0.4, 0.6]}, {"value": 0.5}]
    case("slerp-embeddings", "slerp", far, base="llama-a", parameters={"t": ends})
    case("slerp-bf16", "slerp", ["llama16-a", "llama16-far"], base="llama16-a", parameters={"t": 0.6}, dtype="bfloat16")
    case("slerp-f16", "slerp", ["mistral-a", "mistral-b"], base="mistral-b", parameters={"t": [0.2, 0.9]}, dtype="float16")
    first = piece(source("llama-a", 0, 2), source("llama-far", 1, 3), parameters={"t": [0.25, 0.75]})
    case("slerp-slices", "slerp", base="llama-a", slices=[first, piece(source("llama-a", 2, 3), source("llama-far", 0, 1))], parameters={"t": [0.2, 0.6]})
    bases = [piece(source("llama-a", 0, 1), source("llama-far", 0, 1), base_model=place("llama-a"))]
    bases += [piece(source("llama-a", 1, 3), source("llama-far", 1, 3), base_model=place("llama-far"))]
    case("slerp-base-of-slice", "slerp", slices=bases, parameters={"t": 0.2})
    case("slerp-gpt2", "slerp", ["gpt2-a", "gpt2-b"], base="gpt2-a", parameters={"t": 0.5})
    case("slerp-bert", "slerp", ["bert-a", "bert-b"], base="bert-a", parameters={"t": [{"filter": "attention", "value": [0, 1]}, {"value": 0.4}]})
    case("slerp-qwen-tied", "slerp", ["qwen-a", "qwen-b"], base="qwen-a", parameters={"t": 0.4}, dtype="bfloat16")
    case("slerp-half-tied", "slerp", ["qwen-a", "qwen-untied-a"], base="qwen-untied-a", parameters={"t": 0.4}, dtype="float32")

    case("nuslerp", "nuslerp", weights("llama-a", "llama-far"))
    case("nuslerp-rows", "nuslerp", weights("llama-a", "llama-far"), parameters={"nuslerp_flatten": False, "nuslerp_row_wise": False})
    case("nuslerp-columns", "nuslerp", weights("llama-a", "llama-far"), parameters={"nuslerp_flatten": False, "nuslerp_row_wise": True})
    case("nuslerp-base", "nuslerp", weights("llama-a", "llama-b"), base="llama")
    case("nuslerp-base-rows", "nuslerp", weights("llama-a", "llama-b"), base="llama", parameters={"nuslerp_flatten": False})
    case("nuslerp-bf16", "nuslerp", weights("llama16-a", "llama16-far"), dtype="bfloat16")
    case("nuslerp-no-weight", "nuslerp", {"gpt2-a": {"weight": 0.5}, "gpt2-b": {"weight": -0.5}})

    case("multislerp", "multislerp", weights("llama-a", "llama-b", "llama-far"))
    case("multislerp-base", "multislerp", weights("llama-a", "llama-b", "llama-c"), base="llama")
    case("multislerp-not-normalized", "multislerp", weights("llama-a", "llama-far"), parameters={"normalize_weights": False, "eps": 1.0e-6})
    case("multislerp-bf16", "multislerp", weights("llama16-a", "llama16-far", "llama16-b"), dtype="bfloat16")
    case("multislerp-one", "multislerp", {"llama-a": {"weight": 1.0}}, base="llama")

    case("karcher", "karcher", ["llama-a", "llama-b", "llama-far"])
    case("karcher-one-step", "karcher", ["llama-a", "llama-far"], parameters={"max_iter": 1, "tol": "1e-4"})
    case("karcher-base-added", "karcher", ["gpt2-a", "gpt2-b"], base="gpt2-c")
    case("karcher-bf16", "karcher", ["llama16-a", "llama16-b", "llama16-far"], dtype="bfloat16")


def task_vector_cases():
    pair, three = ("llama-a", "llama-b"), ("llama-a", "llama-b", "llama-c")
    half = ("llama16-a", "llama16-b", "llama16-c")
    case("task-arithmetic", "task_arithmetic", weights(*pair), base="llama")
    case("task-arithmetic-lambda", "task_arithmetic", weights(*three), base="llama", parameters={"lambda": 0.7})
    case("task-arithmetic-normalized", "task_arithmetic", weights(*pair), base="llama", parameters={"normalize": True})
    case("task-arithmetic-bf16", "task_arithmetic", weights(*half), base="llama16", dtype="bfloat16")
    case("task-arithmetic-base-listed", "task_arithmetic", {"llama": None, **weights(*pair)}, base="llama")
    case("task-arithmetic-negative", "task_arithmetic", {"gpt2-a": {"weight": 1}, "gpt2-b": {"weight": -1}}, base="gpt2")
    case("task-arithmetic-qwen", "task_arithmetic", weights("qwen-a", "qwen-b"), base="qwen", dtype="bfloat16")
    case("task-arithmetic-gradient", "task_arithmetic", {"bert-a": {"weight": [0, 1]}, "bert-b": {"weight": [{"filter": "dense", "value": 1}, {"value": 0}]}}, base="bert")

    case("ties", "ties", weights(*three, density=0.5), base="llama")
    case("ties-densities", "ties", {"llama-a": {"weight": 1, "density": [1, 0.7, 0.1]}, "llama-b": {"weight": [0, 0.3, 0.7, 1], "density": 0.33}}, base="llama")
    case("ties-not-normalized", "ties", weights(*three, density=0.5), base="llama", parameters={"normalize": False, "int8_mask": True})
    case("ties-lambda", "ties", weights(*three, density=0.7), base="llama", parameters={"lambda": 1.5})
    case("ties-ends", "ties", {"llama-a": {"weight": 0.5, "density": 1}, "llama-b": {"weight": 0.5, "density": 0}, "llama-c": {"weight": 0.4, "density": 0.0001}}, base="llama")
    case("ties-rescaled", "ties", weights(*pair, density=0.4), base="llama", parameters={"rescale": True})
    case("ties-bf16", "ties", weights(*half, density=0.5), base="llama16", dtype="bfloat16", parameters={"int8_mask": True})
    case("ties-f16", "ties", weights("mistral-a", "mistral-b", density=0.6), base="mistral", dtype="float16")
    case("ties-f32-of-bf16", "ties", weights(*half, density=0.5), base="llama16", dtype="float32", out_dtype="bfloat16")
    case("ties-qwen", "ties", weights("qwen-untied-a", "qwen-untied-b", density=0.5), base="qwen-untied")
    case("ties-negative", "ties", {"gpt2-a": {"weight": -0.5, "density": 0.8}, "gpt2-b": {"weight": 0.9, "density": 0.8}}, base="gpt2")

    for method in ("dare_linear", "dare_ties"):
        name = method.replace("_", "-")
        case(f"{name}-dense", method, weights(*pair, density=1.0), base="llama")
        case(name, method, weights(*three, density=0.5), base="llama")
        case(f"{name}-not-rescaled", method, weights(*pair, density=0.7), base="llama", parameters={"rescale": False})
        case(f"{name}-bf16", method, weights(*half, density=0.3), base="llama16", dtype="bfloat16")
    case("dare-ties-f16", "dare_ties", weights("mistral-a", "mistral-b", density=0.6), base="mistral", dtype="float16")
    case("dare-ties-normalized", "dare_ties", weights(*three, density=[0.2, 0.9]), base="llama", parameters={"normalize": True, "lambda": 1.2})
    case("dare-linear-seed", "dare_linear", {"gpt2": None, **weights("gpt2-a", "gpt2-b", density=0.5)}, base="gpt2", seed=7)

    case("della", "della", weights(*three, density=0.5), base="llama")
    case("della-epsilon", "della", weights(*pair, density=0.7, epsilon=0.2), base="llama", parameters={"lambda": 1.1})
    case("della-bf16", "della", weights(*half, density=0.6, epsilon=0.3), base="llama16", dtype="bfloat16")
    case("della-linear", "della_linear", weights(*pair, density=0.5, epsilon=0.1), base="llama")
    case("della-linear-not-rescaled", "della_linear", weights("bert-a", "bert-b", density=0.4), base="bert", parameters={"rescale": False})
    case("della-linear-f16", "della_linear", weights("mistral-a", "mistral-b", density=[0.3, 0.6]), base="mistral", dtype="float16", seed=11)

    case("breadcrumbs", "breadcrumbs", weights(*pair, density=0.7, gamma=0.1), base="llama")
    case("breadcrumbs-defaults", "breadcrumbs", weights(*pair), base="llama")
    case("breadcrumbs-large-gamma", "breadcrumbs", weights(*pair, density=0.8, gamma=0.5), base="llama")
    case("breadcrumbs-bf16", "breadcrumbs", weights(*half, density=0.6, gamma=0.05), base="llama16", dtype="bfloat16")
    case("breadcrumbs-ties", "breadcrumbs_ties", weights(*three, density=0.6), base="llama", parameters={"gamma": [0.0, 0.2]})
    case("breadcrumbs-ties-rescaled", "breadcrumbs_ties", weights("gpt2-a", "gpt2-b", density=0.9, gamma=0.05), base="gpt2", parameters={"rescale": True, "normalize": True})

    case("sce", "sce", three, base="llama")
    case("sce-half", "sce", three, base="llama", parameters={"select_topk": 0.5, "int8_mask": True})
    case("sce-few", "sce", ["gpt2-a", "gpt2-b"], base="gpt2", parameters={"select_topk": [0.1, 0.9]})
    case("sce-bf16", "sce", half, base="llama16", dtype="bfloat16", parameters={"select_topk": 0.6})


def other_cases():
    three, half = ["llama-a", "llama-b", "llama-c"], ["llama16-a", "llama16-b", "llama16-c"]
    case("model-stock", "model_stock", three, base="llama")
    case("model-stock-rows", "model_stock", three, base="llama", parameters={"filter_wise": True})
    case("model-stock-bf16", "model_stock", half, base="llama16", dtype="bfloat16")
    case("model-stock-rows-bf16", "model_stock", half, base="llama16", dtype="bfloat16", parameters={"filter_wise": True})
    case("model-stock-gpt2", "model_stock", ["gpt2", "gpt2-a", "gpt2-b", "gpt2-c"], base="gpt2")
    case("model-stock-bert", "model_stock", ["bert-a", "bert-b"], base="bert", parameters={"filter_wise": True})

    case("nearswap", "nearswap", ["llama-a", "llama-b"], base="llama-a", parameters={"t": 0.02})
    case("nearswap-gradient", "nearswap", ["gpt2-a"], base="gpt2", parameters={"t": [0.001, 0.1]})
    case("nearswap-bf16", "nearswap", ["llama16-a"], base="llama16", parameters={"t": 0.01}, dtype="bfloat16")

    case("arcee-fusion", "arcee_fusion", ["llama", "llama-a"], base="llama")
    case("arcee-fusion-bf16", "arcee_fusion", ["llama16", "llama16-a"], base="llama16", dtype="bfloat16")
    case("arcee-fusion-to-f16", "arcee_fusion", ["mistral-a"], base="mistral", dtype="float32", out_dtype="float16")

    case("passthrough", "passthrough", ["llama-b"])
    case("passthrough-bf16", "passthrough", ["llama-b"], dtype="bfloat16")
    case("passthrough-slices", "passthrough", slices=[piece(source("llama-a", 0, 2)), piece(source("llama-b", 1, 3))])
    case("passthrough-stack", "passthrough", slices=[piece(source("mistral-a", 0, 3)), piece(source("mistral-a", 1, 4)), piece(source("mistral-b", 2, 4))], dtype="float16")
    zero = [{"filter": "o_proj", "value": 0.0}, {"filter": "down_proj", "value": 0.0}, {"value": 1.0}]
    case("passthrough-scale", "passthrough", slices=[piece(source("llama16-a", 0, 2)), piece(source("llama16-a", 1, 2, scale=zero)), piece(source("llama16-a", 2, 3))], dtype="bfloat16")
    case("passthrough-scale-gradient", "passthrough", {"gpt2-b": {"scale": [1.0, 0.5]}})
    case("passthrough-gpt2", "passthrough", slices=[piece(source("gpt2-a", 0, 1)), piece(source("gpt2-b", 0, 1))])
    case("passthrough-qwen", "passthrough", slices=[piece(source("qwen-a", 0, 1)), piece(source("qwen-b", 0, 2))], dtype="bfloat16")
    case("passthrough-fewer", "passthrough", slices=[piece(source("bert-a", 1, 2))])


def tokenizer_cases():
    two = weights("words", "words-more")
    case("tokenizer-base", "linear", two, base="words", tokenizer_source="base", parameters={"weight": 1})
    case("tokenizer-union", "linear", weights("words", "words-more", "words-other"), tokenizer_source="union")
    case("tokenizer-union-base", "linear", weights("words-other", "words-more"), base="words", tokenizer_source="union", parameters={"weight": 0.5})
    case("tokenizer-path", "linear", two, tokenizer_source=place("words-more"))
    case("tokenizer-elsewhere", "linear", weights("words", "words-other"), tokenizer={"source": place("words-more")})
    case("tokenizer-default", "linear", two, tokenizer={"pad_to_multiple_of": 8})
    tokens = {
        "<|im_start|>": {"source": place("words-more"), "force": True},
        "fish": {"source": {"kind": "zero"}},
        "bird": {"source": place("words-other"), "force": True},
        "<new>": {"source": {"kind": "model_token", "model": place("words-more"), "token": "<|im_end|>"}},
        "<newer>": {"source": {"kind": "model_token", "model": place("words"), "token_id": 3}, "force": True},
    }
    case("tokenizer-tokens", "linear", weights("words", "words-more", "words-other"), tokenizer={"source": "union", "tokens": tokens})
    case("tokenizer-padded", "slerp", ["words", "words-padded"], base="words", tokenizer={"source": "base", "pad_to_multiple_of": 16}, parameters={"t": 0.4})
    case("tokenizer-ties", "ties", weights("words-more", "words-other", density=0.6), base="words", tokenizer={"source": "union"})
    case("tokenizer-slerp-bf16", "slerp", ["words16", "words16-more"], base="words16", tokenizer_source="union", dtype="bfloat16", parameters={"t": 0.5})
    case("tokenizer-tied", "linear", weights("words-tied", "words-tied-more"), tokenizer_source="union")
    case("tokenizer-letters", "linear", weights("letters", "letters-more"), tokenizer_source="union")
    case("tokenizer-missing", "linear", weights("words", "words-same"), base="words", tokenizer_source="base")
    case("tokenizer-passthrough", "passthrough", slices=[piece(source("words", 0, 1)), piece(source("words-more", 0, 2))], tokenizer_source="union")
    case("chat-template-named", "linear", weights("words", "words-same"), base="words", chat_template="chatml")
    case("chat-template-own", "linear", weights("words", "words-same"), base="words", tokenizer_source="base", chat_template=TEMPLATES[1] + "done")
    case("chat-template-auto", "linear", weights("words", "words-more", "words-other"), tokenizer_source="union", chat_template="auto")


def document(name=None, **config):
    return {**({"name": name} if name else {}), **config}


def several(name, *documents):
    text(name, yaml.safe_dump_all(documents, sort_keys=False, width=120))


def multi_cases():
    def models(*names, weight=0.5):
        return [{"model": name if name in ("first", "second") else place(name), "parameters": {"weight": weight}} for name in names]

    first = document("first", merge_method="linear", models=models("llama-a", "llama-b"), dtype="bfloat16")
    several("multi", first, document(merge_method="slerp", models=models("first", "llama-far"), base_model="first", parameters={"t": 0.4}))
    second = document("second", merge_method="passthrough", slices=[piece(source("gpt2-a", 0, 1)), piece(source("gpt2-b", 0, 1))])
    first = document("first", merge_method="passthrough", slices=[piece(source("gpt2-c", 1, 2)), piece(source("gpt2", 0, 1))])
    several("multi-any-order", document(merge_method="linear", models=models("first", "second")), second, first)
    first = document("first", merge_method="ties", base_model=place("llama16"), models=models("llama16-a", "llama16-b"), parameters={"density": 0.5}, dtype="bfloat16")
    second = document("second", merge_method="task_arithmetic", base_model="first", models=models("llama16-c"), dtype="bfloat16")
    last = document(merge_method="model_stock", base_model=place("llama16"), models=[{"model": "first"}, {"model": "second"}], dtype="bfloat16")
    several("multi-three", first, second, last)


def example_cases():
    """The files of mergekit's `examples` by what they ask for; the ids are folders."""
    folder = os.environ.get("MERGEKIT_EXAMPLES")
    ids = {
        "psmathur/orca_mini_v3_13b": "orca-mini", "WizardLM/WizardLM-13B-V1.2": "wizardlm", "garage-bAInd/Platypus2-13B": "platypus",
        "WizardLM/WizardMath-13B-V1.0": "wizardmath", "TheBloke/Llama-2-13B-fp16": "llama-2", "mistralai/Mistral-7B-Instruct-v0.2": "mistral-a",
        "BioMistral/BioMistral-7B": "mistral-b", "mistralai/Mistral-7B-v0.1": "mistral", "model_a": "llama16-a", "model_b": "llama16-b",
    }  # fmt: skip
    for name in ("arcee_fusion", "bio-merge", "gradient-slerp", "linear", "orcamini-platy-44layer", "ties"):
        target = "example-" + name.replace("_", "-")
        stored = ROOT / target / "config.yml"
        if folder:
            content = (pathlib.Path(folder) / f"{name}.yml").read_text()
            tall = "-40" if "layer_range" in content else ""
            for old, new in ids.items():
                content = content.replace(old, place(new + tall))
        else:
            content = stored.read_text()
        text(target, content)


# Running ---------------------------------------------------------------------------------------------------------------------------------


def options(config):
    return MergeOptions(write_model_card=False, quiet=True, copy_tokenizer="chat_template" in config)


def merge(config, out):
    documents = list(yaml.safe_load_all(config))
    if len(documents) == 1:
        run_merge(MergeConfiguration.model_validate(documents[0]), str(out), options(config))
        return
    work = out.parent / "intermediate"
    configs, needs = multimerge.load_config(config, str(work))
    for task in multimerge.make_tasks(configs, needs, options(config), str(work), str(out), False):
        run(task)


def run(task, done={}):
    for needed in task.arguments().values():
        run(needed)
    if done.get(task.out_path) is None:
        done[task.out_path] = task.execute()


def summary(out, config, seed):
    """What is compared beside the tensors."""
    written = json.loads((out / "config.json").read_text())
    keys = ("num_hidden_layers", "n_layer", "vocab_size", "dtype", "tie_word_embeddings", "architectures")
    result = {"config": {key: written[key] for key in keys if key in written}}
    if written["model_type"] == "bert":
        del result["config"]["tie_word_embeddings"]  # a default of transformers; the inputs do not say it
    if seed:
        result["seed"] = seed
    if "tokenizer" in config or "chat_template" in config:
        tokenizer = transformers.AutoTokenizer.from_pretrained(out)
        result["tokens"] = list(tokenizer.get_vocab())
        if tokenizer.chat_template:
            result["chat_template"] = tokenizer.chat_template
    return result


def main(names):
    logging.disable(logging.WARNING)
    draws = Draws()
    fix_what_is_open(draws)
    if not names:
        write_models()
    for cases in (linear_cases, spherical_cases, task_vector_cases, other_cases, tokenizer_cases, multi_cases, example_cases):
        cases()
    failed = []
    for name, (config, draws.seed) in CASES.items():
        if names and name not in names:
            continue
        folder = ROOT / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "config.yml").write_text(config)
        os.chdir(folder)
        LoaderCache().loaders.clear()
        with tempfile.TemporaryDirectory() as temporary:
            out = pathlib.Path(temporary) / "merged"
            try:
                merge(config, out)
                save_file(load_file(out / "model.safetensors"), folder / "expected.safetensors", metadata={"format": "pt"})
                (folder / "expected.json").write_text(json.dumps(summary(out, config, draws.seed), indent=1, ensure_ascii=False) + "\n")
            except Exception as error:
                failed.append(name)
                print(f"{name}: {type(error).__name__}: {str(error)[:300]}")
    print(f"{len(CASES) if not names else len(names)} cases, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
