"""The metric that selects the best checkpoint."""

from __future__ import annotations

import math

import pytest
from language_fakes import Coin, Rows
from usage_errors import usage_error

from potstill.evaluation.language.validation import LanguageValidation

ROWS = Rows([[0, 1, 1], [0, 0], [1, 1, 0, 1]], [[0, 1, 1], [0, 1], [0, 1, 1, 1]])


def test_loss_and_kl_by_hand():
    student, teacher = Coin(0.6), Coin(0.8)
    student.module.train()
    found = LanguageValidation(ROWS, 10, teacher)(student)
    loss = -(4 * math.log(0.6) + 2 * math.log(0.4)) / 6
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)
    assert found["kl"] == pytest.approx(0.8 * math.log(0.8 / 0.6) + 0.2 * math.log(0.2 / 0.4), rel=1e-4)
    assert student.module.training  # the mode is restored


def test_the_teacher_runs_once():
    teacher = Coin(0.8)
    validation = LanguageValidation(ROWS, 10, teacher, most=1)
    first, second = validation(Coin(0.6)), validation(Coin(0.6))
    assert first == second
    assert teacher.calls == 3
    assert validation(Coin(0.8))["kl"] == 0


def test_the_sample_is_fixed():
    many = Rows([[0, i % 2] for i in range(50)], [[0, 1]] * 50)
    one, other = LanguageValidation(many, 7), LanguageValidation(many, 7)
    assert len(one) == 7
    assert [b.ids.tolist() for b in one.batches] == [b.ids.tolist() for b in other.batches]
    assert set(one(Coin(0.6))) == {"loss", "perplexity"}


def test_the_perplexity_of_a_diverged_model_is_finite():
    assert math.isfinite(LanguageValidation(ROWS, 10)(Coin(1e-38))["perplexity"])


def test_no_validation_example_is_a_usage_error():
    with usage_error("evaluation.no_validation_example", "data.split"):
        LanguageValidation(Rows([], []), 5)
