"""Queries, keys and values of language models, compared with those that transformers attends with."""

from __future__ import annotations

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb
from usage_errors import usage_error

from potstill.families.language.family import LanguageFamily
from potstill.families.language.model import LanguageModel
from potstill.types import Request, Tokens

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
LLAMA = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}


def built(teacher: LanguageModel, model_type: str, **sizes: int) -> LanguageModel:
    torch.manual_seed(1)
    family = LanguageFamily()
    student = family.build(family.design(teacher, {"model_type": model_type, **sizes}, 64, 0), 0.0, teacher)
    student.module.eval()
    return student


@pytest.fixture
def batch() -> Tokens:
    """Two examples, the second one shorter."""
    there = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    return Tokens(torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]]), there, there, torch.arange(2))


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("gpt2", {"n_layer": 3, "n_embd": 32, "n_head": 4}),
        ("llama", LLAMA),
        ("llama", {**LLAMA, "head_dim": 12}),
        ("opt", {"num_hidden_layers": 3, "hidden_size": 32, "ffn_dim": 32, "num_attention_heads": 4}),
    ],
)
def test_queries_keys_and_values_are_those_that_transformers_attends_with(gpt2, batch, monkeypatch, kind, sizes):
    """Captured where transformers attends; Llama's are turned there by rotary positions, as ours are here."""
    model = built(gpt2, kind, **sizes)
    seen, attend = [], ALL_ATTENTION_FUNCTIONS["sdpa"]

    def attends(module, *given, **named):
        seen.append(given[:3])
        return attend(module, *given, **named)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", attends)
    output = model.forward(batch, Request(qkv=(0, 2)))
    assert set(output.qkv) == {0, 2}
    assert model.info.head_width == sizes.get("head_dim", 8)
    for layer, found in output.qkv.items():
        query, key, value = seen[layer]
        ours = [found.query, found.key, found.value]
        if kind == "llama":
            turn = model.module.model.rotary_emb(value, torch.arange(5)[None])
            ours[:2] = apply_rotary_pos_emb(found.query, found.key, *turn)
            assert key.shape[1] == 2, "two query heads share a key head"
            key, value = (x.repeat_interleave(2, dim=1) for x in (key, value))
        if kind == "opt":
            ours[0] = ours[0] * 8**-0.5  # OPT scales its queries
        for actual, expected in zip(ours, (query, key, value), strict=True):
            torch.testing.assert_close(actual, expected)


def test_a_layout_of_projections_that_is_not_known_gives_no_queries(gpt2: LanguageModel, batch: Tokens):
    """GPT-BigCode has a fused layer of the same name as GPT-2's, which orders its outputs head by head."""
    model = built(gpt2, "gpt_bigcode", n_layer=1, n_embd=32, n_head=4)
    assert model.signals == {"logits", "hidden", "attention"}
    with usage_error("model.cannot_return", "'qkv'"):
        model.forward(batch, Request(qkv=(0,)))


def test_hooks_are_removed_after_every_pass(gpt2: LanguageModel, batch: Tokens):
    gpt2.forward(batch, Request(qkv=(0, 1)))
    assert not any(part._forward_hooks for part in gpt2.module.modules())


def test_maps_and_queries_can_be_requested_together(gpt2: LanguageModel, batch: Tokens):
    """Maps need eager attention; the projections are the same in every implementation."""
    alone = gpt2.forward(batch, Request(qkv=(1,))).qkv[1]
    output = gpt2.forward(batch, Request(qkv=(1,), attention=(1,)))
    torch.testing.assert_close(vars(output.qkv[1]), vars(alone))
    scores = output.qkv[1].query @ output.qkv[1].key.mT / output.qkv[1].key.shape[3] ** 0.5
    hidden = ~(torch.ones(5, 5).tril().bool() & batch.attention[:, None, None])
    torch.testing.assert_close(output.attention[1], scores.masked_fill(hidden, -torch.inf).softmax(dim=3))
