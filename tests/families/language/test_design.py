"""Language students: sizes, vocabulary, and what they take from their teacher."""

from __future__ import annotations

import pytest
import torch

from potstill.errors import UserError
from potstill.families.language.design import build_language, design_language, start_from
from potstill.families.language.model import LanguageModel


def build(teacher: LanguageModel, family: str | None, seed: int = 1, **overrides) -> LanguageModel:
    torch.manual_seed(seed)
    return build_language(design_language(teacher, family, overrides, 64), teacher, dropout=0.0)


@pytest.mark.parametrize("family", ["small", None])
def test_the_small_student(gpt2: LanguageModel, family: str | None):
    architecture = design_language(gpt2, family, {}, 128)
    config = architecture.config
    assert (config.n_layer, config.n_head, config.n_embd, config.model_type) == (6, 8, 384, "gpt2")
    assert config.vocab_size == gpt2.vocabulary
    assert config.n_positions == 1024  # upstream's own, as it is longer than 128


def test_without_a_family_overrides_change_the_teachers_own(gpt2: LanguageModel):
    student = build(gpt2, None, n_layer=1)
    assert (student.module.config.n_layer, student.module.config.n_embd) == (1, 32)
    assert student.parameters == design_language(gpt2, None, {"n_layer": 1}, 64).parameters < gpt2.parameters
    assert student.tokenizer("two").input_ids == gpt2.tokenizer("two").input_ids


def test_another_architecture(gpt2: LanguageModel):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    student = build(gpt2, "llama", **sizes, num_key_value_heads=2)
    assert type(student.module).__name__ == "LlamaForCausalLM"
    assert student.check().vocabulary == gpt2.vocabulary


@pytest.mark.parametrize(
    ("family", "overrides", "said"),
    [
        ("nothing", {}, "model type"),
        ("gpt2", {"layers": 3}, "'layers' is no setting"),
        ("gpt2", {"vocab_size": 17}, "shares its teacher's tokenizer"),
        ("gpt2", {"n_embd": 33, "n_head": 2}, "cannot be built"),
        ("gpt2", {"n_embd": "wide"}, "cannot be built"),
        ("gpt2", {"n_embd": 200_000, "n_head": 8}, "at most"),
    ],
)
def test_sizes_that_do_not_go(gpt2: LanguageModel, family: str, overrides: dict, said: str):
    with pytest.raises(UserError, match=said):
        design_language(gpt2, family, overrides, 64)


def test_starting_from_the_teacher_takes_embeddings_and_layers(gpt2: LanguageModel):
    student = build(gpt2, None, n_layer=1)
    (line, *_) = start_from(student, gpt2)
    assert "layers 0" in line
    own, theirs = student.module.state_dict(), gpt2.module.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in own.items())


def test_another_architecture_takes_the_embeddings(gpt2: LanguageModel):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    student = build(gpt2, "llama", **sizes, num_key_value_heads=2)
    (line,) = start_from(student, gpt2)
    assert "embeddings (300, 32)" in line
    assert torch.equal(*(m.module.get_input_embeddings().weight for m in (student, gpt2)))
    with pytest.raises(UserError, match="choose the same width"):
        start_from(build(gpt2, "llama", **{**sizes, "hidden_size": 64}, num_key_value_heads=2), gpt2)


def test_the_same_seed_builds_the_same_student(gpt2: LanguageModel):
    assert build(gpt2, "small").fingerprint == build(gpt2, "small").fingerprint != build(gpt2, "small", 2).fingerprint
