"""Adapters in place of networks, as the library peft saves them.

    python lora-folder.py FOLDER     # needs safetensors, torch
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file


def main(folder):
    for name, kind in (("first", "LORA"), ("second", "LORA"), ("other", "IA3")):
        path = folder / name
        path.mkdir(parents=True)
        layer = "base_model.model.model.layers.0.self_attn.v_proj."
        tensors = {layer + "lora_A.weight": torch.randn(2, 6), layer + "lora_B.weight": torch.randn(6, 2)}
        if kind == "IA3":
            tensors = {layer + "ia3_l": torch.randn(6, 1)}
        save_file(tensors, path / "adapter_model.safetensors")
        settings = dict(peft_type=kind, base_model_name_or_path="somebody/small", target_modules=["v_proj"])
        (path / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")


if __name__ == "__main__":
    torch.manual_seed(0)
    main(pathlib.Path(sys.argv[1]))
