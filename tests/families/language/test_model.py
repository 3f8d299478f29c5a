"""Language models: late logits compared with upstream's, generation, saving, usage errors."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from usage_errors import usage_error

from potstill.families.language import model
from potstill.families.language.family import LanguageFamily
from potstill.families.language.model import LanguageModel
from potstill.families.load import load_language
from potstill.types import Logits, Request, Tokens


def tokens_of(rows: list[list[int]], answers: list[list[int]]) -> Tokens:
    """Tokens of rows of ids and rows of 0 and 1 (1: answer token); padded on the right."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    there = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]).bool()
    answer = torch.tensor([row + [0] * (width - len(row)) for row in answers]).bool()
    return Tokens(ids, there, answer, torch.arange(len(rows)))


def test_late_logits_equal_upstreams_at_the_answer(gpt2: LanguageModel):
    batch = tokens_of([[5, 6, 7, 8, 9], [10, 11, 12]], [[0, 0, 1, 1, 1], [0, 1, 0]])
    logits = gpt2.forward(batch, Request()).logits
    assert isinstance(logits, Logits)
    whole = gpt2.module(input_ids=batch.input_ids, attention_mask=batch.attention.long()).logits
    expected = torch.stack([whole[0, 1], whole[0, 2], whole[0, 3], whole[1, 0]])
    assert torch.allclose(logits.head(logits.states), expected, atol=1e-5)
    assert batch.targets.tolist() == [7, 8, 9, 11]


def test_padding_changes_nothing(gpt2: LanguageModel):
    alone, padded = (
        gpt2.forward(tokens_of(rows, [[0, 1, 1]] + [[0] * 9] * (len(rows) - 1)), Request()).logits.states
        for rows in ([[5, 6, 7]], [[5, 6, 7], list(range(1, 10))])
    )
    assert torch.allclose(alone, padded, atol=1e-5)


def test_greedy_generation_equals_upstreams(gpt2: LanguageModel):
    prompts = ["What is two", "Write"]
    actual = gpt2.generate(prompts, max_new_tokens=6)
    for prompt, continued in zip(prompts, actual, strict=True):
        ids = gpt2.tokenizer(prompt, return_tensors="pt").input_ids
        own = gpt2.module.generate(ids, max_new_tokens=6, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
        assert continued == gpt2.tokenizer.decode(own, skip_special_tokens=True)


def test_sampling_follows_the_seed(gpt2: LanguageModel):
    once, again, other = (gpt2.generate(["Write a"], 12, temperature=1.5, seed=s) for s in (1, 1, 2))
    assert once == again != other


def test_a_prompt_longer_than_the_model_reads_is_rejected(gpt2: LanguageModel):
    with usage_error("prompt.too_long", "64"):
        gpt2.generate(["word " * 100])


def test_it_saves_in_upstreams_layout(gpt2: LanguageModel, tmp_path: Path):
    gpt2.save(tmp_path)
    module = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("two").input_ids == gpt2.tokenizer("two").input_ids
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(module(ids).logits, gpt2.module(ids).logits)
    assert load_language(tmp_path).fingerprint == gpt2.fingerprint


def test_a_pad_token_beyond_the_embeddings_is_not_used(gpt2_folder: Path, tmp_path: Path):
    shutil.copytree(gpt2_folder, tmp_path, dirs_exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(tmp_path)
    assert load_language(tmp_path).tokenizer.pad_token == "<end>"


def test_forward_and_generation_run_without_cudnn(gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch):
    within = []
    monkeypatch.setattr(model, "without_cudnn", lambda device: within.append(device) or nullcontext())
    gpt2.forward(tokens_of([[5, 6, 7]], [[0, 1, 1]]), Request())
    gpt2.generate(["a"], max_new_tokens=1)
    assert within == [torch.device("cpu")] * 2


def test_greedy_ignores_the_generation_config(gpt2: LanguageModel):
    plain = gpt2.generate(["What"], 12)
    gpt2.module.generation_config.repetition_penalty = 50.0
    assert gpt2.generate(["What"], 12) == plain


def test_generation_ends_at_the_configs_end_tokens(gpt2: LanguageModel):
    (first,) = gpt2.generate(["What"], 12)
    ends = gpt2.tokenizer(first).input_ids[1]
    gpt2.module.generation_config.eos_token_id = [0, ends]
    assert len(gpt2.generate(["What"], 12)[0]) < len(first)


def test_without_a_pad_token_the_end_of_text_pads(gpt2: LanguageModel):
    assert gpt2.tokenizer.pad_token == gpt2.tokenizer.eos_token == "<end>"


def test_a_tokenizer_without_either_is_rejected(gpt2_folder: Path, tmp_path: Path):
    shutil.copytree(gpt2_folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config.pop("eos_token")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "special_tokens_map.json").unlink(missing_ok=True)
    with usage_error("model.no_pad_token", str(tmp_path), "tokenizer_config.json"):
        load_language(tmp_path)


def test_logits_that_change_after_the_output_layer_are_rejected(gpt2: LanguageModel):
    class Capped(nn.Module):
        def __init__(self, inner: nn.Module):
            super().__init__()
            self.inner = inner

        def forward(self, *args, **kwargs):
            out = self.inner(*args, **kwargs)
            out.logits = 0.1 * (out.logits / 0.1).tanh()
            return out

        def __getattr__(self, name):
            return super().__getattr__(name) if name == "inner" else getattr(self.inner, name)

    gpt2.module = Capped(gpt2.module)
    with usage_error("model.logits_changed", "Capped"):
        gpt2.check()


@pytest.mark.parametrize(
    ("damage", "key", "fact"),
    [
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "model.pickle", "pytorch_model.bin"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 40), "model.damaged_weights", "model.safetensors"),
        (lambda f: (f / "config.json").write_text("{"), "model.bad_config", "config.json"),
        (lambda f: (f / "config.json").write_text('{"model_type": "nothing"}'), "model.unknown_family", "nothing"),
        (lambda f: (f / "tokenizer.json").unlink(), "model.cannot_load", "tokenizer"),
    ],
)
def test_bad_checkpoints_are_usage_errors(gpt2_folder: Path, tmp_path: Path, damage, key: str, fact: str):
    shutil.copytree(gpt2_folder, tmp_path, dirs_exist_ok=True)
    damage(tmp_path)
    with usage_error(key, fact):
        load_language(tmp_path)


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("./nowhere", "model.no_such_folder"),
        ("a b", "model.no_such_folder"),
        ("gpt2-medium", "model.hub_unavailable"),
    ],
)
def test_sources_without_a_model_are_usage_errors(source: str, key: str):
    with usage_error(key, source):
        load_language(source)


def test_an_unknown_setting_is_rejected(gpt2_folder: Path):
    with usage_error("model.unknown_setting", "'layers'", "language"):
        load_language(f"{gpt2_folder}:layers=3")


def test_a_forecaster_is_not_loaded_as_a_language_model(tiny_teacher: Path):
    with usage_error("model.not_a_language_model", "chronos2", "potstill forecast"):
        load_language(tiny_teacher)


SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
EXPERTS = {**SIZES, "num_key_value_heads": 2, "num_local_experts": 8, "num_experts_per_tok": 2}


def built(teacher: LanguageModel, model_type: str, **sizes: int) -> LanguageModel:
    torch.manual_seed(1)
    family = LanguageFamily()
    student = family.build(family.design(teacher, {"model_type": model_type, **sizes}, 64, 0), 0.0, teacher)
    student.module.eval()
    return student


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [("gpt2", {"n_layer": 3, "n_embd": 32, "n_head": 4}), ("llama", {**SIZES, "num_key_value_heads": 2})],
)
def test_states_and_maps_equal_those_of_transformers(gpt2: LanguageModel, kind: str, sizes: dict[str, int]):
    model = built(gpt2, kind, **sizes)
    batch = tokens_of([[5, 6, 7, 8, 9], [10, 11, 12]], [[0, 0, 1, 1, 1], [0, 1, 0]])
    output = model.forward(batch, Request(hidden=(0, 1, 2), attention=(0, 2)))
    assert model.module.config._attn_implementation == "sdpa", "restored"
    model.module.set_attn_implementation("eager")
    expected = model.module(
        batch.input_ids, attention_mask=batch.attention.long(), output_hidden_states=True, output_attentions=True
    )
    for layer in (0, 1):
        torch.testing.assert_close(output.hidden[layer], expected.hidden_states[layer + 1])
    norm = model.module.transformer.ln_f if kind == "gpt2" else model.module.model.norm
    torch.testing.assert_close(
        norm(output.hidden[2]), expected.hidden_states[3], msg="the last state is before the norm"
    )
    assert not torch.allclose(output.hidden[2], expected.hidden_states[3])
    for layer in (0, 2):
        torch.testing.assert_close(output.attention[layer], expected.attentions[layer])
    assert output.token_mask is batch.attention


def test_a_plain_pass_has_no_hooks_and_uses_fused_attention(gpt2: LanguageModel, monkeypatch):
    used = []
    monkeypatch.setattr(nn.Module, "register_forward_hook", lambda *a, **k: pytest.fail("a hook"))
    attend = nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        nn.functional, "scaled_dot_product_attention", lambda *a, **k: used.append(1) or attend(*a, **k)
    )
    gpt2.forward(tokens_of([[5, 6, 7]], [[0, 1, 1]]), Request())
    assert len(used) == 2


def test_hooks_are_removed_after_every_pass(gpt2: LanguageModel):
    batch = tokens_of([[5, 6, 7]], [[0, 1, 1]])
    gpt2.forward(batch, Request(hidden=(1,), attention=(1,)))
    with pytest.raises(IndexError):
        gpt2.forward(tokens_of([[5, 6, 700]], [[0, 1, 1]]), Request(hidden=(1,), attention=(1,)))
    assert not any(part._forward_hooks for part in gpt2.module.modules())
    assert gpt2.module.config._attn_implementation == "sdpa"


def test_a_layer_without_attention_weights_is_rejected(gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch):
    """An attention that ignores the request and returns no weights must not lead to an empty output."""
    attention = gpt2.module.transformer.h[1].attn
    forward = attention.forward
    monkeypatch.setattr(attention, "forward", lambda *a, **k: (forward(*a, **k)[0], None))
    batch = tokens_of([[5, 6, 7]], [[0, 1, 1]])
    assert set(gpt2.forward(batch, Request(attention=(0,))).attention) == {0}
    with usage_error("model.no_attention_map", "layer 1"):
        gpt2.forward(batch, Request(attention=(0, 1)))


def test_active_parameters_count_the_experts_that_a_token_uses(gpt2: LanguageModel):
    whole, alone = (built(gpt2, "mixtral", **{**EXPERTS, "num_local_experts": n}) for n in (8, 2))
    router = 3 * 32 * (8 - 2)  # every token passes the whole router
    assert whole.info.active_parameters == alone.parameters + router
    assert whole.info.active_parameters < whole.info.parameters


def test_a_hub_id_offline_is_a_usage_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with usage_error("model.hub_unavailable", "gpt2-medium", "HF_HUB_OFFLINE"):
        load_language("gpt2-medium")


def test_weights_that_are_not_finite_are_rejected(gpt2_folder: Path, tmp_path: Path):
    folder = Path(shutil.copytree(gpt2_folder, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(weights) if name.endswith("mlp.c_fc.weight"))
    weights[name][0, 0] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with usage_error("model.weights_not_finite", str(folder), "c_fc.weight"):
        load_language(folder)


def test_only_settings_that_change_outputs_change_the_fingerprint(gpt2_folder: Path, tmp_path: Path):
    folder = Path(shutil.copytree(gpt2_folder, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    for changes, same in (({"transformers_version": "4.0.0", "attn_pdrop": 0.5}, True), ({"n_head": 1}, False)):
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        assert (load_language(folder).fingerprint == load_language(gpt2_folder).fingerprint) == same


def test_gradients_of_states_and_maps_do_not_depend_on_checkpointing(gpt2: LanguageModel):
    for part in gpt2.module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    gpt2.module.train().requires_grad_(True)

    def gradients() -> dict[str, torch.Tensor]:
        gpt2.module.zero_grad()
        output = gpt2.forward(tokens_of([[5, 6, 7]], [[0, 1, 1]]), Request(hidden=(0, 1), attention=(0, 1)))
        sum(tensor.square().sum() for tensor in (*output.hidden.values(), *output.attention.values())).backward()
        return {name: p.grad.clone() for name, p in gpt2.module.named_parameters() if p.grad is not None}

    plain = gradients()
    for reentrant in (False, True):
        gpt2.module.gradient_checkpointing_enable({"use_reentrant": reentrant})
        checkpointed = gradients()
        assert checkpointed.keys() == plain.keys()
        for name, gradient in plain.items():
            torch.testing.assert_close(checkpointed[name], gradient, msg=name)
        assert gpt2.module.is_gradient_checkpointing


def test_a_tied_output_layer_is_saved_once_and_tied_again(gpt2: LanguageModel, tmp_path: Path):
    gpt2.save(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert [name for name in saved if "wte" in name or "lm_head" in name] == ["transformer.wte.weight"]
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.get_output_embeddings().weight is again.get_input_embeddings().weight
    assert torch.equal(again.get_output_embeddings().weight, gpt2.module.get_output_embeddings().weight)
