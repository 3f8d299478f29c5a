"""The whole evaluation on a GPT-2 with two layers: contents of the results, and usage errors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from language_fakes import Rows, examples_of, save_gpt2
from usage_errors import usage_error

from potstill.evaluation.language import evaluate as evaluate_module
from potstill.evaluation.language.cost import measure_language_costs
from potstill.evaluation.language.evaluate import evaluate_language
from potstill.evaluation.language.generations import generate_answers
from potstill.families.language.model import LanguageModel
from potstill.families.load import load_language
from potstill.recipe import LanguageEvaluation

CONFIG = LanguageEvaluation()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def teacher(folder: Path) -> LanguageModel:
    return load_language(folder).freeze()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_language(save_gpt2(tmp_path_factory.mktemp("other"), seed=1)).freeze()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_module, "measure_language_costs", lambda models, reference: {})


def test_teacher_student_and_control(teacher: LanguageModel, other: LanguageModel, quick: None):
    progress: list[tuple[int, int, str]] = []
    models = {"teacher": teacher, "student": teacher, "control": other}
    examples = examples_of(teacher.tokenizer)
    tree, written = evaluate_language(
        models, examples, "teacher", CONFIG, lambda *step: progress.append(step), prompts=5, max_new_tokens=6
    )
    assert (tree["task"], tree["reference"], tree["subject"]) == ("language", "teacher", "student")
    student, control = tree["models"]["student"]["test"], tree["models"]["control"]["test"]
    assert student["kl"] == 0
    assert student["agreement"] == 1
    assert tree["retention"]["perplexity"] == 1
    assert control["kl"] > 0.1
    assert control["agreement"] < 1
    assert not any(key.startswith(("kl", "agreement")) for key in tree["models"]["teacher"]["test"])
    pair = tree["intervals"]["student/control"]
    assert pair["kl"] == {"value": 0, "low": 0, "high": 0}
    assert pair["perplexity"]["value"] == pytest.approx(student["perplexity"] / control["perplexity"])
    assert tree["account"]["answers"]["examples"] == 8
    assert progress[-2:] == [(8 + 3 * 5, 8 + 3 * 5, what) for what in ("prompts", "costs")]
    assert [example["answers"]["student"] for example in written["examples"]] == [
        example["answers"]["teacher"] for example in written["examples"]
    ]
    assert {"worst", "median", "best"} <= {example["kind"] for example in written["examples"]}
    assert json.loads(json.dumps([tree, written])) == [tree, written]


def test_metrics_equal_those_of_an_upstream_pass(teacher: LanguageModel, quick: None):
    examples = examples_of(teacher.tokenizer)
    losses, counts = [], []
    for i in range(len(examples)):
        tokens = examples.batch([i])
        with torch.no_grad():
            loss = teacher.module(tokens.input_ids, labels=tokens.input_ids.masked_fill(~tokens.answer, -100)).loss
        losses.append(float(loss)), counts.append(int(tokens.answer.sum()))
    tree, _ = evaluate_language({"student": teacher}, examples, None, CONFIG, prompts=1, max_new_tokens=2)
    found = tree["models"]["student"]["test"]
    assert found["cross_entropy"] == pytest.approx(float(np.average(losses, weights=counts)), rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(found["cross_entropy"]))
    assert tree["retention"] == {}
    assert tree["intervals"] == {}
    assert "kl" not in found


def test_generations_equal_those_of_single_prompts(teacher: LanguageModel):
    examples = examples_of(teacher.tokenizer)
    found = generate_answers({"student": teacher}, examples, count=3, max_new_tokens=5)
    alone = [teacher.generate([prompt], 5)[0] for prompt in found.prompts]
    assert found.answers["student"] == alone
    assert found.references == [examples.references[i] for i in found.ids]


def test_prompts_that_leave_no_room_are_skipped(teacher: LanguageModel, quick: None):
    examples = examples_of(teacher.tokenizer)
    examples.texts = ["", "word " * 60, *examples.texts[2:]]
    assert generate_answers({"student": teacher}, examples, 8, 5).ids.tolist() == [2, 3, 4, 5, 6, 7]
    examples.texts = [""] * 8
    tree, written = evaluate_language({"student": teacher}, examples, None, CONFIG)
    assert "rouge_l" not in tree["models"]["student"]["test"]
    assert written["examples"] == []


def test_all_costs_are_measured(folder: Path, teacher: LanguageModel):
    costs = measure_language_costs({"teacher": teacher, "student": teacher}, reference="teacher", repeats=1)
    for cost in costs.values():
        assert cost["parameters"] == teacher.parameters
        assert cost["bytes"] == (folder / "model.safetensors").stat().st_size
        assert cost["tokens_per_second_b1"] == pytest.approx(1e3 / cost["latency_ms_token"])
        assert cost["scored_tokens_per_second_b8"] > 0
        assert cost["rounds"] == 1
        assert "peak_mb" in cost
    assert costs["teacher"]["speedup_generation"] == costs["teacher"]["speedup_scoring"] == 1


def test_the_number_of_examples_is_limited(teacher: LanguageModel, quick: None):
    tree, _ = evaluate_language(
        {"student": teacher}, examples_of(teacher.tokenizer), None, LanguageEvaluation(max_windows=3), prompts=1
    )
    assert (tree["account"]["answers"]["examples"], tree["account"]["answers"]["of"]) == (3, 8)


@pytest.mark.parametrize(
    ("change", "key", "parts"),
    [
        ({"examples": Rows([], [])}, "evaluation.no_example", ["data.split"]),
        ({"reference": "absent"}, "evaluation.unknown_reference", ["absent", "student"]),
        ({"examples": Rows([[1] * 65], [[0] + [1] * 64])}, "evaluation.example_too_long", ["student", "64", "65"]),
    ],
)
def test_unusable_inputs_are_usage_errors(teacher: LanguageModel, change: dict[str, Any], key: str, parts: list[str]):
    given = {"examples": examples_of(teacher.tokenizer), "reference": None, **change}
    with usage_error(key, *parts):
        evaluate_language({"student": teacher}, given["examples"], given["reference"], CONFIG)


def test_models_with_different_tokenizers_are_not_compared(teacher: LanguageModel, tmp_path: Path):
    other = load_language(save_gpt2(tmp_path, texts=["quite other words, quite other pieces"] * 3))
    with usage_error("evaluation.different_tokenizers", "other", "student"):
        evaluate_language({"student": teacher, "other": other}, examples_of(teacher.tokenizer), None, CONFIG)


def test_a_broken_model_is_named(folder: Path, teacher: LanguageModel):
    broken = load_language(folder)
    with torch.no_grad():
        broken.module.transformer.h[0].mlp.c_fc.weight.fill_(torch.nan)
    with usage_error("model.probabilities_not_finite", "student", "8 of 8"):
        evaluate_language({"student": broken}, examples_of(teacher.tokenizer), None, CONFIG)
