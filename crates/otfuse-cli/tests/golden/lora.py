"""Small bases with adapters of PEFT, and what PEFT makes of them: golden/lora. Needs torch, transformers and peft.

    python lora.py
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent / "lora"


def gpt2():
    sizes = dict(n_layer=1, n_embd=8, n_head=2, n_positions=8, vocab_size=11, bos_token_id=0, eos_token_id=0)
    return GPT2LMHeadModel(GPT2Config(**sizes))


def llama():
    sizes = dict(num_hidden_layers=1, hidden_size=8, num_attention_heads=2, intermediate_size=12, vocab_size=11)
    return LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=False))


CASES = {
    "gpt2": {
        "patterns": dict(
            r=2,
            lora_alpha=6,
            target_modules=["c_attn", "c_proj", "c_fc"],
            rank_pattern={"h.0.mlp.c_proj": 1},
            alpha_pattern={"h.0.attn.c_attn": 5},
            modules_to_save=["ln_f"],
            fan_in_fan_out=True,
        ),
        "stabilised": dict(
            r=3, lora_alpha=4, target_modules=["c_fc"], use_rslora=True, bias="all", fan_in_fan_out=True
        ),
    },
    "llama": {
        "embeddings": dict(r=2, lora_alpha=3, target_modules=["q_proj", "v_proj", "down_proj", "embed_tokens", "lm_head"]),
    },
}


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    torch.manual_seed(0)
    for family, adapters in CASES.items():
        base = {"gpt2": gpt2, "llama": llama}[family]()
        folder = HERE / family
        base.save_pretrained(folder / "base")
        for name, settings in adapters.items():
            model = type(base).from_pretrained(folder / "base")
            adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings))
            with torch.no_grad():
                for parameter in adapted.parameters():
                    if parameter.requires_grad:
                        parameter.normal_(0.0, 0.3)
            adapted.save_pretrained(folder / name, save_embedding_layers=False)
            (folder / name / "README.md").unlink()
            path = folder / name / "adapter_config.json"
            settings = json.loads(path.read_text())
            path.write_text(json.dumps(settings | {"base_model_name_or_path": "base"}, indent=2) + "\n")
            again = PeftModel.from_pretrained(type(base).from_pretrained(folder / "base"), folder / name)
            merged = again.merge_and_unload().state_dict()
            merged = {key: value.contiguous() for key, value in merged.items() if family != "gpt2" or key != "lm_head.weight"}
            save_file(merged, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main()
