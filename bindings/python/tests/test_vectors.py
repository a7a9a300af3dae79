"""Task vectors and adapters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import otfuse
import pytest

GOLDEN = Path(__file__).resolve().parents[3] / "crates/otfuse-cli/tests/golden/lora"


def command(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "otfuse", *map(str, words)], check=True, capture_output=True)


def test_a_task_vector_is_carried_as_the_command_carries_it(digits: tuple[Path, Path], tmp_path: Path) -> None:
    tuned = tmp_path / "tuned.onnx"
    command("finetune", digits[0], "--data", "digits", "--epochs", 1, "-o", tuned)
    for samples, words in ((None, ()), ("digits", ("--data", "digits", "--check", 0))):
        found = otfuse.transport_task_vector(digits[0], tuned, digits[1], samples=samples, check=0)
        found.save(tmp_path / "called.onnx")
        command("transport-task-vector", digits[0], tuned, digits[1], *words, "-o", tmp_path / "typed.onnx")
        assert (tmp_path / "called.onnx").read_bytes() == (tmp_path / "typed.onnx").read_bytes()
        assert (found.report.fitted_layers > 0) == (samples is not None)
    x = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    few = otfuse.transport_task_vector(digits[0], tuned, digits[1], samples=x, scale=0.5, follow=0.5)
    assert few.report.samples == 40 and few.report.scale == 0.5
    with pytest.raises(otfuse.InputError, match="follow"):
        otfuse.transport_task_vector(digits[0], tuned, digits[1], follow=2.0, samples=x)
    with pytest.raises(otfuse.InputError, match="no option"):
        otfuse.transport_task_vector(digits[0], tuned, digits[1], scales=2.0)


def test_adapters_go_in_and_out(tmp_path: Path) -> None:
    base, adapter = GOLDEN / "gpt2/base", GOLDEN / "gpt2/patterns"
    report = otfuse.merge_lora(base, adapter, tmp_path / "tuned")
    assert report.changed == 6
    report = otfuse.extract_lora(tmp_path / "tuned", base, tmp_path / "again", energy=1.0)
    assert [layer.rank for layer in report.layers] == [2, 2, 2, 1]
    carried = otfuse.transport_task_vector(base, tmp_path / "again", base)
    assert carried.report.difference > 0
    with pytest.raises(otfuse.InputError, match="rank"):
        otfuse.extract_lora(tmp_path / "tuned", base, tmp_path / "none", rank=0)
    with pytest.raises(otfuse.InputError, match="lm_head"):
        otfuse.merge_lora(base, [GOLDEN / "llama/embeddings"], tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.filterwarnings("ignore")
def test_peft_loads_what_is_extracted(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PEFT is of torch")
    transformers = pytest.importorskip("transformers", reason="PEFT adapts its models")
    peft = pytest.importorskip("peft", reason="loads adapters")
    torch.manual_seed(1)
    load = transformers.AutoModelForCausalLM.from_pretrained
    for family in ("gpt2", "llama"):
        base, tuned = GOLDEN / family / "base", tmp_path / f"{family}-tuned"
        model = load(base)
        with torch.no_grad():
            # Everything changes, embeddings and normalisations too.
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(tuned)
        tokens = torch.randint(0, 11, (2, 6))
        for kept in ({"energy": 1.0}, {"rank": 2}):
            folder = tmp_path / f"{family}-{next(iter(kept))}"
            otfuse.extract_lora(tuned, base, folder, **kept)
            merged = tmp_path / f"{folder.name}-merged"
            otfuse.merge_lora(base, folder, merged)
            with torch.no_grad():
                adapted = peft.PeftModel.from_pretrained(load(base), folder).eval()
                ours = load(merged).eval()(tokens).logits
                assert torch.allclose(adapted(tokens).logits, ours, atol=1e-5)
                assert torch.allclose(adapted.merge_and_unload()(tokens).logits, ours, atol=1e-5)
                if "energy" in kept:
                    assert torch.allclose(load(tuned).eval()(tokens).logits, ours, atol=1e-4)
