"""How much of the KL stored logits show, compared with hand calculations."""

from __future__ import annotations

import math

import pytest
import torch
from language_fakes import Coin, Rows

from potstill.evaluation.language.stored_logits_gap import gap_of_labels, kl_of, largest
from potstill.evaluation.language.validation import LanguageValidation

ROWS = Rows([[0, 1, 1], [0, 0], [1, 1, 0, 1]], [[0, 1, 1], [0, 1], [0, 1, 1, 1]])
P, Q = [0.7, 0.2, 0.1], [0.5, 0.1, 0.4]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize(
    ("kept", "expected"), [(1, kl([0.7, 0.3], [0.5, 0.5])), (2, kl([0.7, 0.2, 0.1], [0.5, 0.1, 0.4]))]
)
def test_all_other_tokens_are_one_outcome(kept, expected):
    teacher, own = (torch.tensor([values]).log() for values in (P, Q))
    assert kl_of(own, teacher, torch.tensor([0])).item() == pytest.approx(kl(P, Q), rel=1e-5)
    assert kl_of(own, largest(teacher, kept), torch.tensor([0])).item() == pytest.approx(expected, rel=1e-4)


def test_at_another_temperature():
    def warm(p: list[float]) -> list[float]:
        roots = [math.sqrt(value) for value in p]
        return [root / sum(roots) for root in roots]

    p, q = warm(P), warm(Q)
    teacher, own = (torch.tensor([values]).log() for values in (P, Q))
    found = kl_of(own, largest(teacher, 1, 2.0), torch.tensor([0]), 2.0).item()
    assert found == pytest.approx(kl([p[0], 1 - p[0]], [q[0], 1 - q[0]]), rel=1e-4)


def test_no_gap_with_two_tokens():
    found = gap_of_labels(Coin(0.8), Coin(0.6), ROWS, 1, 1.0)
    full = kl([0.8, 0.2], [0.6, 0.4])
    assert (found["mass"], found["kl"]) == (pytest.approx(0.8), pytest.approx(full, rel=1e-4))
    assert found["kl_kept"] == pytest.approx(full, rel=1e-3)
    assert found["gap"] == pytest.approx(0, abs=1e-5)


def test_a_vocabulary_of_no_more_tokens_than_are_kept_has_no_others():
    full = kl([0.8, 0.2], [0.6, 0.4])
    found = gap_of_labels(Coin(0.8), Coin(0.6), ROWS, 64, 1.0)
    assert (found["mass"], found["kl_kept"]) == (pytest.approx(1.0), pytest.approx(full, rel=1e-4))
    validation = LanguageValidation(ROWS, 10, Coin(0.8), kept=64)
    assert validation(Coin(0.6))["kl_kept"] == pytest.approx(full, rel=1e-4)


def test_validation_keeps_only_the_teachers_largest_logits():
    teacher = Coin(0.8)
    validation = LanguageValidation(ROWS, 10, teacher, kept=1, most=1)
    assert (teacher.calls, validation.teacher) == (3, None)
    found = [validation(Coin(0.6)) for _ in range(2)]
    assert found[0] == found[1]
    assert set(found[0]) == {"loss", "perplexity", "kl_kept"}
    assert found[0]["kl_kept"] == pytest.approx(kl([0.8, 0.2], [0.6, 0.4]), rel=1e-3)
    assert teacher.calls == 3
