"""Small networks of Hugging Face families, checked against the `transformers` library from end to end.

For each family: random weights are saved with `save_pretrained`; a permuted copy of them is made, and fused with them by
the command line; what `from_pretrained` loads from the result computes what the network computed. Prints one table.

    python hf_families.py OTFUSE                 # the path of the command; all families
    python hf_families.py OTFUSE gemma2 opt      # some of them
    python hf_families.py OTFUSE --more          # other classes and settings of them
    python hf_families.py --golden [FAMILY ..]   # writes the files of `families/`, for the tests in Rust

Needs transformers (written with 5.24), torch, numpy, safetensors.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy
import torch
import transformers as t
from safetensors import safe_open
from safetensors.torch import save_file

from transformers_golden import values

HERE = pathlib.Path(__file__).parent / "families"
WORDS = dict(vocab_size=29, pad_token_id=0, bos_token_id=1, eos_token_id=2)
SIZES = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=20)
LONG = dict(max_position_embeddings=32)
TEXT = WORDS | SIZES | LONG
SHARED = TEXT | dict(num_key_value_heads=2)
IMAGE = SIZES | dict(image_size=12, patch_size=4)


def bart(**more):
    return dict(
        vocab_size=29, max_position_embeddings=32, d_model=24, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=3, encoder_ffn_dim=20, decoder_ffn_dim=28, pad_token_id=1,
        bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
    ) | more


def clip(text, vision, **more):
    tower = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=20)
    return dict(
        text_config=WORDS | tower | dict(max_position_embeddings=16) | text,
        vision_config=tower | dict(hidden_size=32, image_size=12, patch_size=4) | vision,
    ) | more


# The class, the settings, and what differs in the inputs.
FAMILIES = {
    "bert": (t.BertForMaskedLM, t.BertConfig, TEXT),
    "distilbert": (
        t.DistilBertForSequenceClassification, t.DistilBertConfig,
        dict(vocab_size=29, max_position_embeddings=32, dim=24, n_layers=2, n_heads=4, hidden_dim=20, num_labels=3),
    ),
    "roberta": (t.RobertaForMaskedLM, t.RobertaConfig, TEXT | dict(pad_token_id=1)),
    "vit": (t.ViTForImageClassification, t.ViTConfig, IMAGE | dict(num_labels=3)),
    "gpt2": (
        t.GPT2LMHeadModel, t.GPT2Config, dict(WORDS, n_positions=32, n_embd=24, n_layer=2, n_head=4),
    ),
    "llama": (t.LlamaForCausalLM, t.LlamaConfig, SHARED),
    "mistral": (t.MistralForCausalLM, t.MistralConfig, SHARED | dict(sliding_window=3)),
    "qwen2": (t.Qwen2ForCausalLM, t.Qwen2Config, SHARED),
    "qwen3": (t.Qwen3ForCausalLM, t.Qwen3Config, SHARED | dict(head_dim=8)),
    "t5": (
        t.T5ForConditionalGeneration, t.T5Config,
        dict(vocab_size=29, d_model=24, num_layers=2, num_heads=4, d_ff=20, d_kv=6, decoder_start_token_id=0),
    ),
    # Decoders.
    "gemma": (t.GemmaForCausalLM, t.GemmaConfig, SHARED | dict(head_dim=8)),
    "gemma2": (
        t.Gemma2ForCausalLM, t.Gemma2Config,
        SHARED | dict(head_dim=8, sliding_window=3, query_pre_attn_scalar=16, attn_logit_softcapping=2.0,
                      final_logit_softcapping=3.0),
    ),
    "gemma3_text": (
        t.Gemma3ForCausalLM, t.Gemma3TextConfig,
        SHARED | dict(head_dim=8, num_hidden_layers=3, sliding_window=3, query_pre_attn_scalar=16,
                      layer_types=["sliding_attention", "sliding_attention", "full_attention"]),
    ),
    "phi3": (t.Phi3ForCausalLM, t.Phi3Config, SHARED | dict(sliding_window=4)),
    "mixtral": (
        t.MixtralForCausalLM, t.MixtralConfig, SHARED | dict(num_local_experts=4, num_experts_per_tok=2),
    ),
    "qwen2_moe": (
        t.Qwen2MoeForCausalLM, t.Qwen2MoeConfig,
        SHARED | dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12, shared_expert_intermediate_size=16),
    ),
    "qwen3_moe": (
        t.Qwen3MoeForCausalLM, t.Qwen3MoeConfig,
        SHARED | dict(head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12, norm_topk_prob=True),
    ),
    "olmoe": (t.OlmoeForCausalLM, t.OlmoeConfig, SHARED | dict(num_experts=4, num_experts_per_tok=2)),
    "opt": (
        t.OPTForCausalLM, t.OPTConfig,
        dict(WORDS, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, ffn_dim=20, word_embed_proj_dim=16, **LONG),
    ),
    "gpt_neox": (t.GPTNeoXForCausalLM, t.GPTNeoXConfig, TEXT | dict(rotary_pct=0.5, num_attention_heads=3)),
    "gpt_neo": (
        t.GPTNeoForCausalLM, t.GPTNeoConfig,
        dict(WORDS, hidden_size=24, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]],
             window_size=3, **LONG),
    ),
    "gptj": (t.GPTJForCausalLM, t.GPTJConfig, dict(WORDS, n_positions=32, n_embd=24, n_layer=2, n_head=3, rotary_dim=4)),
    "bloom": (t.BloomForCausalLM, t.BloomConfig, dict(WORDS, hidden_size=24, n_layer=2, n_head=3)),
    "falcon": (
        t.FalconForCausalLM, t.FalconConfig,
        dict(WORDS, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, num_kv_heads=2,
             new_decoder_architecture=True, **LONG),
    ),
    "phi": (t.PhiForCausalLM, t.PhiConfig, SHARED | dict(hidden_size=32)),
    "stablelm": (t.StableLmForCausalLM, t.StableLmConfig, SHARED | dict(use_qkv_bias=True, hidden_size=32)),
    "starcoder2": (t.Starcoder2ForCausalLM, t.Starcoder2Config, SHARED | dict(sliding_window=3)),
    "olmo": (t.OlmoForCausalLM, t.OlmoConfig, SHARED),
    "olmo2": (t.Olmo2ForCausalLM, t.Olmo2Config, SHARED),
    "cohere": (t.CohereForCausalLM, t.CohereConfig, SHARED),
    "granite": (
        t.GraniteForCausalLM, t.GraniteConfig,
        SHARED | dict(embedding_multiplier=2.0, logits_scaling=1.5, residual_multiplier=0.7, attention_multiplier=0.3),
    ),
    "smollm3": (t.SmolLM3ForCausalLM, t.SmolLM3Config, SHARED | dict(no_rope_layers=[1, 0])),
    # Encoders.
    "xlm-roberta": (t.XLMRobertaForMaskedLM, t.XLMRobertaConfig, TEXT | dict(pad_token_id=1)),
    "camembert": (t.CamembertForMaskedLM, t.CamembertConfig, TEXT | dict(pad_token_id=1)),
    "electra": (t.ElectraForSequenceClassification, t.ElectraConfig, TEXT | dict(embedding_size=16, num_labels=3)),
    "albert": (
        t.AlbertForMaskedLM, t.AlbertConfig, TEXT | dict(embedding_size=16, num_hidden_layers=3, num_hidden_groups=2,
                                                         inner_group_num=1),
    ),
    "mpnet": (t.MPNetForMaskedLM, t.MPNetConfig, TEXT | dict(pad_token_id=1)),
    "modernbert": (
        t.ModernBertForMaskedLM, t.ModernBertConfig,
        TEXT | dict(num_hidden_layers=3, local_attention=4, global_attn_every_n_layers=2, cls_token_id=1, sep_token_id=2),
    ),
    "deberta-v2": (
        t.DebertaV2ForSequenceClassification, t.DebertaV2Config,
        TEXT | dict(relative_attention=True, position_buckets=4, max_relative_positions=-1, norm_rel_ebd="layer_norm",
                    share_att_key=True, pos_att_type="p2c|c2p", position_biased_input=False, type_vocab_size=0,
                    num_labels=3, pooler_hidden_size=24),
    ),
    "ernie": (t.ErnieForMaskedLM, t.ErnieConfig, TEXT),
    # Vision.
    "deit": (t.DeiTForImageClassification, t.DeiTConfig, IMAGE | dict(num_labels=3)),
    "dinov2": (t.Dinov2ForImageClassification, t.Dinov2Config, IMAGE | dict(num_labels=3)),
    "dinov2_with_registers": (
        t.Dinov2WithRegistersForImageClassification, t.Dinov2WithRegistersConfig,
        IMAGE | dict(num_labels=3, num_register_tokens=2),
    ),
    "vit_msn": (t.ViTMSNForImageClassification, t.ViTMSNConfig, IMAGE | dict(num_labels=3)),
    "ijepa": (t.IJepaForImageClassification, t.IJepaConfig, IMAGE | dict(num_labels=3)),
    "resnet": (
        t.ResNetForImageClassification, t.ResNetConfig,
        dict(embedding_size=8, hidden_sizes=[16, 24], depths=[2, 1], num_labels=3, layer_type="bottleneck"),
    ),
    "convnext": (
        t.ConvNextForImageClassification, t.ConvNextConfig,
        dict(hidden_sizes=[8, 12], depths=[1, 2], num_stages=2, patch_size=2, image_size=16, num_labels=3),
    ),
    "convnextv2": (
        t.ConvNextV2ForImageClassification, t.ConvNextV2Config,
        dict(hidden_sizes=[8, 12], depths=[1, 2], num_stages=2, patch_size=2, image_size=16, num_labels=3),
    ),
    "swin": (
        t.SwinForImageClassification, t.SwinConfig,
        dict(image_size=16, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 4], window_size=4, num_labels=3),
    ),
    "regnet": (
        t.RegNetForImageClassification, t.RegNetConfig,
        dict(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 2], groups_width=8, num_labels=3),
    ),
    # Encoders with decoders.
    "bart": (t.BartForConditionalGeneration, t.BartConfig, bart()),
    "mbart": (t.MBartForConditionalGeneration, t.MBartConfig, bart(scale_embedding=True)),
    "pegasus": (t.PegasusForConditionalGeneration, t.PegasusConfig, bart(pad_token_id=0)),
    "marian": (t.MarianMTModel, t.MarianConfig, bart(pad_token_id=0, decoder_vocab_size=29)),
    "blenderbot": (t.BlenderbotForConditionalGeneration, t.BlenderbotConfig, bart(pad_token_id=0)),
    "m2m_100": (t.M2M100ForConditionalGeneration, t.M2M100Config, bart()),
    "mt5": (
        t.MT5ForConditionalGeneration, t.MT5Config,
        dict(vocab_size=29, d_model=24, num_layers=2, num_heads=4, d_ff=20, d_kv=6, decoder_start_token_id=0),
    ),
    "whisper": (
        t.WhisperForConditionalGeneration, t.WhisperConfig,
        bart(num_mel_bins=6, max_source_positions=10, max_target_positions=16, begin_suppress_tokens=None,
             suppress_tokens=None),
    ),
    # Two towers.
    "clip": (t.CLIPModel, t.CLIPConfig, clip(dict(eos_token_id=2), {}, projection_dim=12)),
    "siglip": (t.SiglipModel, t.SiglipConfig, clip(dict(projection_size=32), {})),
}


# Other classes and settings of these families, checked with `--more`.
NEO = dict(WORDS, hidden_size=24, num_layers=4, num_heads=4, attention_types=[[["global", "local"], 2]], window_size=3)
OPT = dict(WORDS, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, ffn_dim=20, word_embed_proj_dim=24, **LONG)
FALCON = dict(WORDS, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, new_decoder_architecture=False, **LONG)
MODERN = TEXT | dict(num_hidden_layers=4, local_attention=4, cls_token_id=1, sep_token_id=2)
TOWER = WORDS | dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=20)
SPECTRA = dict(num_mel_bins=6, max_source_positions=10, max_target_positions=16, begin_suppress_tokens=None, suppress_tokens=None)
CONV = dict(embedding_size=8, hidden_sizes=[16, 24], depths=[1, 2])
MORE = {
    "gemma, base": (t.GemmaModel, t.GemmaConfig, SHARED | dict(head_dim=8)),
    "gemma2, classes": (t.Gemma2ForSequenceClassification, t.Gemma2Config, SHARED | dict(head_dim=8, num_labels=3)),
    "gemma3_text, base": (
        t.Gemma3TextModel, t.Gemma3TextConfig, SHARED | dict(head_dim=8, num_hidden_layers=7, sliding_window=3),
    ),
    "phi3, partly rotated": (t.Phi3Model, t.Phi3Config, SHARED | dict(hidden_size=32, partial_rotary_factor=0.5)),
    "mixtral, one of three": (
        t.MixtralModel, t.MixtralConfig, SHARED | dict(num_local_experts=3, num_experts_per_tok=1, sliding_window=4),
    ),
    "mixtral, all": (t.MixtralForCausalLM, t.MixtralConfig, SHARED | dict(num_local_experts=3, num_experts_per_tok=3)),
    "qwen3_moe, a dense layer": (
        t.Qwen3MoeForCausalLM, t.Qwen3MoeConfig,
        SHARED | dict(head_dim=8, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=12, mlp_only_layers=[1],
                      num_hidden_layers=3),
    ),
    "qwen2_moe, each second layer": (
        t.Qwen2MoeForCausalLM, t.Qwen2MoeConfig,
        SHARED | dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12, decoder_sparse_step=2,
                      shared_expert_intermediate_size=16),
    ),
    "opt, normalised behind": (t.OPTForCausalLM, t.OPTConfig, OPT | dict(do_layer_norm_before=False)),
    "opt, base": (t.OPTModel, t.OPTConfig, OPT),
    "gpt_neox, in turn": (
        t.GPTNeoXForCausalLM, t.GPTNeoXConfig,
        TEXT | dict(use_parallel_residual=False, hidden_size=32, attention_bias=False),
    ),
    "gpt_neox, base": (t.GPTNeoXModel, t.GPTNeoXConfig, TEXT | dict(hidden_size=32)),
    "gpt_neo, base": (t.GPTNeoModel, t.GPTNeoConfig, NEO | LONG),
    "bloom, base": (t.BloomModel, t.BloomConfig, dict(WORDS, hidden_size=24, n_layer=2, n_head=4)),
    "falcon, one head of keys": (t.FalconForCausalLM, t.FalconConfig, FALCON | dict(multi_query=True)),
    "falcon, in turn": (
        t.FalconForCausalLM, t.FalconConfig, FALCON | dict(multi_query=False, parallel_attn=False, bias=True),
    ),
    "stablelm, parallel": (t.StableLmForCausalLM, t.StableLmConfig, SHARED | dict(hidden_size=32, use_parallel_residual=True)),
    "olmo2, base": (t.Olmo2Model, t.Olmo2Config, TEXT | dict(num_key_value_heads=4)),
    "cohere, base": (t.CohereModel, t.CohereConfig, SHARED),
    "llama, tokens": (t.LlamaForTokenClassification, t.LlamaConfig, SHARED | dict(num_labels=3)),
    "electra, masked": (t.ElectraForMaskedLM, t.ElectraConfig, TEXT | dict(embedding_size=16)),
    "electra, pretrained": (t.ElectraForPreTraining, t.ElectraConfig, TEXT | dict(embedding_size=16)),
    "electra, base": (t.ElectraModel, t.ElectraConfig, TEXT | dict(embedding_size=24)),
    "albert, classes": (
        t.AlbertForSequenceClassification, t.AlbertConfig, TEXT | dict(embedding_size=16, num_labels=3, inner_group_num=2),
    ),
    "albert, base": (t.AlbertModel, t.AlbertConfig, TEXT | dict(embedding_size=16)),
    "mpnet, base": (t.MPNetModel, t.MPNetConfig, TEXT | dict(pad_token_id=1)),
    "mpnet, classes": (t.MPNetForSequenceClassification, t.MPNetConfig, TEXT | dict(pad_token_id=1, num_labels=3)),
    "modernbert, classes": (
        t.ModernBertForSequenceClassification, t.ModernBertConfig,
        MODERN | dict(classifier_pooling="mean", norm_bias=True, attention_bias=True, mlp_bias=True, num_labels=3),
    ),
    "modernbert, base": (t.ModernBertModel, t.ModernBertConfig, MODERN),
    "deberta-v2, masked": (
        t.DebertaV2ForMaskedLM, t.DebertaV2Config,
        TEXT | dict(relative_attention=True, position_buckets=-1, max_relative_positions=8, norm_rel_ebd="none",
                    share_att_key=False, pos_att_type="c2p|p2c", position_biased_input=True, type_vocab_size=2),
    ),
    "deberta-v2, absolute": (t.DebertaV2ForTokenClassification, t.DebertaV2Config, TEXT | dict(num_labels=3)),
    "deberta-v2, base": (
        t.DebertaV2Model, t.DebertaV2Config,
        TEXT | dict(relative_attention=True, position_buckets=6, pos_att_type=["c2p"], share_att_key=True,
                    norm_rel_ebd="layer_norm", position_biased_input=False),
    ),
    "dinov2, gated": (t.Dinov2Model, t.Dinov2Config, IMAGE | dict(use_swiglu_ffn=True)),
    "deit, base": (t.DeiTModel, t.DeiTConfig, IMAGE),
    "resnet, basic": (
        t.ResNetForImageClassification, t.ResNetConfig,
        CONV | dict(hidden_sizes=[8, 12], num_labels=3, layer_type="basic", downsample_in_first_stage=True),
    ),
    "resnet, base": (t.ResNetModel, t.ResNetConfig, CONV | dict(downsample_in_bottleneck=True)),
    "regnet, x": (
        t.RegNetForImageClassification, t.RegNetConfig, CONV | dict(groups_width=8, num_labels=3, layer_type="x"),
    ),
    "convnext, base": (
        t.ConvNextModel, t.ConvNextConfig,
        dict(hidden_sizes=[8, 12], depths=[1, 2], num_stages=2, patch_size=2, image_size=16),
    ),
    "swin, filled up": (
        t.SwinModel, t.SwinConfig,
        dict(image_size=20, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 4], window_size=4),
    ),
    "swin, odd": (
        t.SwinForImageClassification, t.SwinConfig,
        dict(image_size=18, patch_size=2, embed_dim=8, depths=[2, 2, 1], num_heads=[2, 4, 4], window_size=3, num_labels=3),
    ),
    "bart, base": (t.BartModel, t.BartConfig, bart(scale_embedding=True)),
    "marian, base": (t.MarianModel, t.MarianConfig, bart(pad_token_id=0)),
    "whisper, base": (t.WhisperModel, t.WhisperConfig, bart(**SPECTRA)),
    "mt5, encoder": (
        t.MT5EncoderModel, t.MT5Config, dict(vocab_size=29, d_model=24, num_layers=2, num_heads=4, d_ff=20, d_kv=6),
    ),
    "clip_text_model": (t.CLIPTextModel, t.CLIPTextConfig, TOWER | dict(max_position_embeddings=16, eos_token_id=5)),
    "clip_vision_model": (t.CLIPVisionModel, t.CLIPVisionConfig, IMAGE),
    "siglip_text_model": (t.SiglipTextModel, t.SiglipTextConfig, TOWER | dict(max_position_embeddings=16)),
    "siglip_vision_model": (t.SiglipVisionModel, t.SiglipVisionConfig, IMAGE),
    "siglip_vision_model, no head": (t.SiglipVisionModel, t.SiglipVisionConfig, IMAGE | dict(vision_use_head=False)),
}


def inputs(config):
    """Two sequences, the second of which is padded; an image each, or a sound."""
    kind, given = config.model_type, {}
    if hasattr(config, "vision_config"):
        given = inputs(config.text_config) | inputs(config.vision_config)
        return given
    if kind == "whisper":
        sound = values("sound", [2, config.num_mel_bins, 2 * config.max_source_positions])
        return {"input_features": sound, "decoder_input_ids": (torch.arange(2 * 9).reshape(2, 9) * 7 + 3) % 26 + 3}
    if hasattr(config, "num_channels"):
        size = getattr(config, "image_size", 12)
        size = 12 if kind in ("resnet", "regnet") else size
        return {"pixel_values": values("pixels", [2, config.num_channels, size, size])}
    length = 9
    tokens = (torch.arange(2 * length).reshape(2, length) * 11 + 5) % 26 + 3
    mask = torch.ones(2, length, dtype=torch.long)
    tokens[1, -2:], mask[1, -2:] = config.pad_token_id, 0
    if kind in ("clip_text_model", "siglip_text_model"):
        tokens[:, -3] = config.eos_token_id
    given = {"input_ids": tokens, "attention_mask": mask}
    if kind == "siglip_text_model":
        del given["attention_mask"]
    if config.is_encoder_decoder:
        given["decoder_input_ids"] = (torch.arange(2 * 7).reshape(2, 7) * 7 + 3) % 26 + 3
    return given


def save(name, folder, seed=""):
    """A network of a family with weights that follow from the names in its file, and a seed."""
    cls, settings, arguments = FAMILIES[name]
    torch.manual_seed(0)
    cls(settings(**arguments)).save_pretrained(folder)
    path = pathlib.Path(folder) / "model.safetensors"
    tensors = {}
    with safe_open(path, "pt") as file:
        for key in file.keys():
            tensor = file.get_tensor(key)
            tensors[key] = values(seed + key, list(tensor.shape)) if tensor.is_floating_point() else tensor
    save_file(tensors, path, {"format": "pt"})
    return tensors


def load(name, folder):
    model, report = FAMILIES[name][0].from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    wrong = {key: value for key, value in report.items() if value}
    assert not wrong, f"{folder}: {wrong}"
    return model.eval()


KEYS = ("logits", "logits_per_image", "last_hidden_state", "pooler_output", "image_embeds", "text_embeds")


def outputs(model, given):
    with torch.no_grad():
        found = model(**given)
    return {key: found[key] for key in KEYS if key in found and found[key] is not None}


def error(expected, found):
    """The largest difference, relative to the largest value where that is above 1."""
    worst = 0.0
    for key, value in expected.items():
        difference = (found[key] - value).abs().max() / max(1.0, value.abs().max())
        worst = max(worst, float(difference) if difference == difference else float("inf"))
    return worst


def call(*arguments):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError((done.stderr or done.stdout).strip())
    return done.stdout


def check(otfuse, name, folder):
    """What the table says of a family."""
    folder = pathlib.Path(folder)
    saved = save(name, folder / "a")
    model = load(name, folder / "a")
    given = inputs(model.config)
    expected = outputs(model, given)
    numpy.savez(folder / "given.npz", **{key: value.numpy() for key, value in given.items()})
    call(otfuse, "run", folder / "a", "--inputs", folder / "given.npz", "-o", folder / "found.npz")
    arrays = numpy.load(folder / "found.npz")
    found = {key: torch.from_numpy(arrays[key]) for key in arrays.files if key in expected}
    assert found, f"no output of {list(expected)} in {arrays.files}"
    forward = error({key: expected[key] for key in found}, found)
    proof = json.loads(call(otfuse, "verify", folder / "a", "--json"))
    assert proof["ok"], proof
    # The neurons of this network in the order of those of an unrelated one: a permuted copy.
    save(name, folder / "other", "other:")
    aligned = call(otfuse, "align", folder / "a", folder / "other", "-o", folder / "copy", "--json")
    call(otfuse, "fuse", folder / "copy", folder / "a", "-o", folder / "fused")
    network = json.loads(call(otfuse, "inspect", folder / "a", "--json"))
    copied = error(expected, outputs(load(name, folder / "copy"), given))
    fused = error(expected, outputs(load(name, folder / "fused"), given))
    files = [safe_open(folder / kind / "model.safetensors", "pt") for kind in ("copy", "fused")]
    for file in files:
        assert sorted(file.keys()) == sorted(saved), "other tensors"
    moved = [key for key, tensor in saved.items() if not torch.equal(files[0].get_tensor(key), tensor)]
    share = sum(saved[key].numel() for key in moved) / sum(tensor.numel() for tensor in saved.values())
    return dict(
        groups=proof["free_groups"], forward=forward, copied=copied, fused=fused, moved=share,
        parameters=sum(tensor.numel() for tensor in saved.values()),
    )


def golden(name):
    with tempfile.TemporaryDirectory() as folder:
        tensors = save(name, folder)
        model = load(name, folder)
        given = inputs(model.config)
        expected = outputs(model, given)
        config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    as_json = lambda tensors: {
        key: {"shape": list(tensor.shape), "values": [round(v, 5) for v in tensor.flatten().tolist()]}
        for key, tensor in tensors.items()
    }
    names = {key: {"shape": list(tensor.shape)} for key, tensor in tensors.items()}
    file = {"config": config, "tensors": names, "inputs": as_json(given), "outputs": as_json(expected)}
    HERE.mkdir(exist_ok=True)
    (HERE / f"{name}.json").write_text(json.dumps(file, separators=(",", ":"), sort_keys=True) + "\n")


def main(otfuse, names):
    print("| `model_type` | class | groups | aligned | error of the forward pass | error after fusing |")
    print("|---|---|---|---|---|---|")
    failed = []
    for name in names or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = check(otfuse, name, folder)
            except Exception as failure:
                failed.append(f"{name}: {type(failure).__name__}: {failure}")
                continue
        worst = max(found["copied"], found["fused"])
        print(
            f"| `{name}` | {FAMILIES[name][0].__name__} | {found['groups']} | {found['moved']:.1%} "
            f"| {found['forward']:.0e} | {worst:.0e} |",
            flush=True,
        )
        if max(found["forward"], worst) > 1e-4:
            failed.append(f"{name}: {found}")
    for line in failed:
        print(line, file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    if sys.argv[1] == "--golden":
        known = {file.stem.split("_")[0] for file in HERE.with_name("transformers").glob("*.json")}
        for family in sys.argv[2:] or [family for family in FAMILIES if family not in known]:
            golden(family)
    else:
        chosen = sys.argv[2:]
        if chosen[:1] == ["--more"]:
            chosen = chosen[1:] or list(MORE)
            FAMILIES.update(MORE)
        sys.exit(main(sys.argv[1], chosen))
