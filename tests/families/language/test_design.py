"""Language students: sizes, vocabulary, and weights copied from the teacher."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from usage_errors import usage_error

from potstill.families.base import Architecture
from potstill.families.language.family import LanguageFamily
from potstill.families.language.model import LanguageModel
from potstill.families.load import load

LANGUAGE = LanguageFamily()


def design(teacher: LanguageModel, model_type: str | None, overrides: dict, length: int = 64) -> Architecture:
    chosen = {"model_type": model_type} if model_type else {}
    return LANGUAGE.design(teacher, {**overrides, **chosen}, length, 0)


def build(teacher: LanguageModel, family: str | None, seed: int = 1, **overrides) -> LanguageModel:
    torch.manual_seed(seed)
    return LANGUAGE.build(design(teacher, family, overrides), 0.0, teacher)


@pytest.mark.parametrize("family", ["small", None])
def test_the_small_student(gpt2: LanguageModel, family: str | None):
    architecture = design(gpt2, family, {}, 128)
    config = architecture.config
    assert (config.n_layer, config.n_head, config.n_embd, config.model_type) == (6, 8, 384, "gpt2")
    assert config.vocab_size == gpt2.vocabulary
    assert config.n_positions == 1024  # upstream's default, because it is longer than 128


def test_without_a_family_overrides_change_the_teachers_config(gpt2: LanguageModel):
    student = build(gpt2, None, n_layer=1)
    assert (student.module.config.n_layer, student.module.config.n_embd) == (1, 32)
    assert student.parameters == design(gpt2, None, {"n_layer": 1}).parameters < gpt2.parameters
    assert student.tokenizer("two").input_ids == gpt2.tokenizer("two").input_ids


def test_another_architecture(gpt2: LanguageModel):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    student = build(gpt2, "llama", **sizes, num_key_value_heads=2)
    assert type(student.module).__name__ == "LlamaForCausalLM"
    assert student.check().vocabulary == gpt2.vocabulary


@pytest.mark.parametrize(
    ("family", "overrides", "key", "fact"),
    [
        ("nothing", {}, "student.unknown_architecture", "'nothing'"),
        ("gpt2", {"layers": 3}, "student.unknown_setting", "'layers'"),
        ("gpt2", {"vocab_size": 17}, "student.fixed_setting", "vocab_size=17"),
        ("gpt2", {"n_positions": 17}, "student.fixed_setting", "n_positions"),
        ("gpt2", {"n_embd": 33, "n_head": 2}, "student.cannot_be_built", "gpt2"),
        ("gpt2", {"n_embd": "wide"}, "student.cannot_be_built", "gpt2"),
        ("gpt2", {"n_embd": 200_000, "n_head": 8}, "student.too_large", "10,000,000,000"),
    ],
)
def test_bad_sizes_are_usage_errors(gpt2: LanguageModel, family: str, overrides: dict, key: str, fact: str):
    with usage_error(key, fact):
        design(gpt2, family, overrides)


def test_starting_from_the_teacher_copies_embeddings_and_layers(gpt2: LanguageModel):
    student = build(gpt2, None, n_layer=1)
    (line, *_) = LANGUAGE.copy_from(student, gpt2)
    assert "layers 0" in line
    own, teachers = student.module.state_dict(), gpt2.module.state_dict()
    assert all(torch.equal(tensor, teachers[name]) for name, tensor in own.items())


def test_another_architecture_copies_only_the_embeddings(gpt2: LanguageModel):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    student = build(gpt2, "llama", **sizes, num_key_value_heads=2)
    (line,) = LANGUAGE.copy_from(student, gpt2)
    assert "embeddings (300, 32)" in line
    assert torch.equal(*(m.module.get_input_embeddings().weight for m in (student, gpt2)))
    with usage_error("student.start_mismatch", "(300, 32)", "(300, 64)"):
        LANGUAGE.copy_from(build(gpt2, "llama", **{**sizes, "hidden_size": 64}, num_key_value_heads=2), gpt2)


def test_the_same_seed_builds_the_same_student(gpt2: LanguageModel):
    assert build(gpt2, "small").fingerprint == build(gpt2, "small").fingerprint != build(gpt2, "small", 2).fingerprint


def test_its_label_is_the_model_type(gpt2: LanguageModel):
    assert design(gpt2, "small", {}).label == "gpt2"
    assert (LANGUAGE.task, LANGUAGE.library, LANGUAGE.gkd) == ("language", "transformers", True)


def test_a_student_needs_a_teacher_with_a_tokenizer(gpt2: LanguageModel, tiny_teacher: Path):
    with usage_error("student.needs_language_teacher"):
        LANGUAGE.design(None, {}, 64, 0)
    with usage_error("student.needs_language_teacher", "tiny"):
        LANGUAGE.build(design(gpt2, "small", {}), 0.0, load(tiny_teacher))
