"""The exported graph against PyTorch: logits, cache, padding, generation; and a process without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from usage_errors import usage_error

from potstill.exporting.language import OnnxLanguageModel

PROMPTS = ["What is two", "Below is an instruction that describes", "W", "answers it. Four, of course, and two"]


def tokens(seed: int, texts: int, length: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 290, (texts, length))


@pytest.fixture(scope="session")
def runner(exported: Any, kind: str) -> OnnxLanguageModel:
    return OnnxLanguageModel.load(exported(kind).folder)


def expected(model: Any, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    positions = torch.from_numpy(mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        out = model.module(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), position_ids=positions
        )
    return out.logits.numpy()


@pytest.mark.parametrize(("texts", "length"), [(1, 1), (1, 7), (3, 20), (2, 64)])
def test_logits_are_pytorchs(runner, models, kind, texts, length):
    ids = tokens(length, texts, length)
    mask = np.ones_like(ids)
    found = runner.step(ids, mask).logits
    assert found.shape == (texts, length, models[kind].vocabulary)
    np.testing.assert_allclose(found, expected(models[kind], ids, mask), atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(runner, models, kind, side):
    ids, mask = tokens(0, 3, 15), np.ones((3, 15), np.int64)
    for row, padding in enumerate((0, 4, 14)):
        if side == "left":
            mask[row, :padding] = 0
        else:
            mask[row, 15 - padding :] = 0
    found, real = runner.step(ids, mask).logits, mask.astype(bool)
    np.testing.assert_allclose(found[real], expected(models[kind], ids, mask)[real], atol=1e-4)
    for row in range(3):  # each text as it is alone, without padding
        alone = ids[row, real[row]][None]
        np.testing.assert_allclose(
            found[row, real[row]], expected(models[kind], alone, np.ones_like(alone))[0], atol=1e-4
        )


@pytest.mark.parametrize("cuts", [(1,), (4, 5), (9, 10, 11, 12)])
def test_with_a_cache_logits_are_those_without(runner, models, kind, cuts):
    """Texts padded on the left, read in pieces of one and of more tokens."""
    ids, mask = tokens(1, 2, 14), np.ones((2, 14), np.int64)
    mask[1, :3] = 0
    pieces, cache, first = [], None, 0
    for end in (*cuts, 14):
        step = runner.step(ids[:, first:end], mask[:, :end], cache)
        pieces.append(step.logits)
        cache, first = step.cache, end
    real = mask.astype(bool)
    found = np.concatenate(pieces, axis=1)
    np.testing.assert_allclose(found[real], expected(models[kind], ids, mask)[real], atol=1e-4)


def test_only_the_requested_logits_are_computed(runner):
    ids = tokens(2, 2, 9)
    every = runner.step(ids, np.ones_like(ids)).logits
    some = runner.step(ids, np.ones_like(ids), at=np.array([8, 2])).logits
    np.testing.assert_allclose(some, every[:, [8, 2]], atol=1e-5)


def test_greedy_generation_is_that_of_transformers(runner, models, kind):
    """Token by token, for a batch of prompts of different lengths, up to the end of each text."""
    ids, mask = runner.encode(PROMPTS)
    found = runner.generate_ids(ids, mask, 24)
    out = models[kind].module.generate(
        input_ids=torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        max_new_tokens=24,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=models[kind].ends,
    )
    assert found.tolist() == out[:, ids.shape[1] :].tolist()
    assert runner.generate(PROMPTS, 24) == models[kind].generate(PROMPTS, 24)
    for prompt, text in zip(PROMPTS, runner.generate(PROMPTS, 24), strict=True):
        assert runner.generate([prompt], 24) == [text]


def test_a_text_ends_at_its_end_token(runner):
    """Each token of a continuation in turn is made the end: what follows it is not written."""
    ids, mask = runner.encode(PROMPTS[:2])
    free = runner.generate_ids(ids, mask, 10, stop=False)
    assert free.shape == (2, 10)
    for end in free[0, :4].tolist():
        made = OnnxLanguageModel(runner.session, runner.tokenizer, {**runner.description, "ends": [end], "pad": 7})
        written = made.generate_ids(ids, mask, 10)
        for row, text in zip(free.tolist(), written.tolist(), strict=True):
            stop = row.index(end) + 1 if end in row else 10
            assert text == (row[:stop] + [7] * 10)[: len(text)]
            assert len(text) >= min(stop, 10)


def test_sampling_follows_the_models_probabilities(runner):
    ids = np.repeat(tokens(3, 1, 5), 2000, axis=0)
    logits = runner.step(ids[:1], np.ones_like(ids[:1])).logits[0, -1].astype(np.float64)
    drawn = runner.generate_ids(ids, np.ones_like(ids), 1, temperature=3.0, seed=1, stop=False)[:, 0]
    chances = np.exp(logits / 3.0 - np.logaddexp.reduce(logits / 3.0))
    likely = chances.argsort()[-5:]
    shares = np.bincount(drawn, minlength=len(chances))[likely] / len(drawn)
    np.testing.assert_allclose(shares, chances[likely], atol=4 * np.sqrt(0.25 / len(drawn)))
    again = runner.generate_ids(ids, np.ones_like(ids), 1, temperature=3.0, seed=1, stop=False)[:, 0]
    other = runner.generate_ids(ids, np.ones_like(ids), 1, temperature=3.0, seed=2, stop=False)[:, 0]
    assert drawn.tolist() == again.tolist() != other.tolist()


def test_texts_end_where_the_model_reads_no_more(runner):
    ids = tokens(4, 1, 60)
    assert runner.generate_ids(ids, np.ones_like(ids), 100, stop=False).shape == (1, 4)


def test_prompts_that_cannot_be_read_are_refused(runner):
    with usage_error("prompt.too_long", "64"):
        runner.generate(["What is two and two? " * 20])
    with usage_error("prompt.empty", "prompt"):
        runner.generate(["What", ""])
    assert runner.generate([]) == []


SCRIPT = """
import json, sys
from potstill.exporting.language import OnnxLanguageModel
model = OnnxLanguageModel.load(sys.argv[1])
texts = model.generate(json.loads(sys.argv[2]), max_new_tokens=12)
loaded = sorted(name for name in sys.modules if name in ("torch", "transformers", "onnx"))
print(json.dumps([texts, loaded]))
"""


def test_a_fresh_process_generates_without_torch(exported, models):
    command = [sys.executable, "-c", SCRIPT, str(exported("llama_tied").folder), json.dumps(PROMPTS)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    texts, loaded = json.loads(out.splitlines()[-1])
    assert texts == models["llama_tied"].generate(PROMPTS, 12)
    assert loaded == []
