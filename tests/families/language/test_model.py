"""Language models: late logits against upstream's own, generation, saving, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from potstill.errors import UserError
from potstill.families.language.load import load_language
from potstill.families.language.model import LanguageModel
from potstill.types import Logits, Tokens


def tokens_of(rows: list[list[int]], answers: list[list[int]]) -> Tokens:
    """Rows of ids, and of 0 and 1 where the answer is; padded on the right."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    there = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]).bool()
    answer = torch.tensor([row + [0] * (width - len(row)) for row in answers]).bool()
    return Tokens(ids, there, answer, torch.arange(len(rows)))


def test_late_logits_are_upstreams_at_the_answer(gpt2: LanguageModel):
    batch = tokens_of([[5, 6, 7, 8, 9], [10, 11, 12]], [[0, 0, 1, 1, 1], [0, 1, 0]])
    logits = gpt2.forward(batch).logits
    assert isinstance(logits, Logits)
    whole = gpt2.module(input_ids=batch.input_ids, attention_mask=batch.attention.long()).logits
    expected = torch.stack([whole[0, 1], whole[0, 2], whole[0, 3], whole[1, 0]])
    assert torch.allclose(logits.head(logits.states), expected, atol=1e-5)
    assert batch.targets.tolist() == [7, 8, 9, 11]


def test_padding_changes_nothing(gpt2: LanguageModel):
    alone, padded = (
        gpt2.forward(tokens_of(rows, [[0, 1, 1]] + [[0] * 9] * (len(rows) - 1))).logits.states
        for rows in ([[5, 6, 7]], [[5, 6, 7], list(range(1, 10))])
    )
    assert torch.allclose(alone, padded, atol=1e-5)


def test_greedy_generation_is_upstreams(gpt2: LanguageModel):
    prompts = ["What is two", "Write"]
    ours = gpt2.generate(prompts, max_new_tokens=6)
    for prompt, continued in zip(prompts, ours, strict=True):
        ids = gpt2.tokenizer(prompt, return_tensors="pt").input_ids
        own = gpt2.module.generate(ids, max_new_tokens=6, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
        assert continued == gpt2.tokenizer.decode(own, skip_special_tokens=True)


def test_sampling_follows_the_seed(gpt2: LanguageModel):
    once, again, other = (gpt2.generate(["Write a"], 12, temperature=1.5, seed=s) for s in (1, 1, 2))
    assert once == again != other


def test_a_prompt_longer_than_the_model_reads_is_refused(gpt2: LanguageModel):
    with pytest.raises(UserError, match="the model reads 64"):
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


def test_greedy_is_greedy_whatever_the_generation_config_says(gpt2: LanguageModel):
    plain = gpt2.generate(["What"], 12)
    gpt2.module.generation_config.repetition_penalty = 50.0
    assert gpt2.generate(["What"], 12) == plain


def test_an_answer_ends_where_the_generation_config_says(gpt2: LanguageModel):
    (first,) = gpt2.generate(["What"], 12)
    ends = gpt2.tokenizer(first).input_ids[1]
    gpt2.module.generation_config.eos_token_id = [0, ends]
    assert len(gpt2.generate(["What"], 12)[0]) < len(first)


def test_without_a_pad_token_the_end_of_text_pads(gpt2: LanguageModel):
    assert gpt2.tokenizer.pad_token == gpt2.tokenizer.eos_token == "<end>"


def test_a_tokenizer_without_either_is_refused(gpt2_folder: Path, tmp_path: Path):
    shutil.copytree(gpt2_folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config.pop("eos_token")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(UserError, match="neither a pad nor an end-of-text token"):
        load_language(tmp_path)


def test_logits_that_are_changed_after_the_output_layer_are_refused(gpt2: LanguageModel):
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
    with pytest.raises(UserError, match="changes its logits after"):
        gpt2.check()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickle"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 40), "damaged"),
        (lambda f: (f / "config.json").write_text("{"), "no readable JSON"),
        (lambda f: (f / "config.json").write_text('{"model_type": "nothing"}'), "cannot be loaded"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer"),
    ],
)
def test_bad_checkpoints_get_one_sentence(gpt2_folder: Path, tmp_path: Path, spoil, said: str):
    shutil.copytree(gpt2_folder, tmp_path, dirs_exist_ok=True)
    spoil(tmp_path)
    with pytest.raises(UserError, match=said):
        load_language(tmp_path)


@pytest.mark.parametrize(
    ("source", "said"),
    [("./nowhere", "no such folder"), ("a b", "no hub id"), ("gpt2:layers=3", "known: gguf_file")],
)
def test_places_that_are_none(source: str, said: str):
    with pytest.raises(UserError, match=said):
        load_language(source)


def test_a_hub_id_offline_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="cannot be loaded as a causal language model"):
        load_language("gpt2-medium")
