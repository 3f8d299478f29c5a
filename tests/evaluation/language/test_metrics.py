"""Metrics per token, computed by hand with a vocabulary of two."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from language_fakes import Coin, Rows

from potstill.evaluation.language import metrics, scoring
from potstill.evaluation.language.scoring import batches, score_examples
from potstill.families.language import project
from potstill.types import Logits
from potstill.types import logits as types

# answers: 1, 1 | 0 | 1, 0, 1; a mark on a first token is ignored because it cannot be predicted
ROWS = Rows([[0, 1, 1], [0, 0], [1, 1, 0, 1]], [[0, 1, 1], [0, 1], [1, 1, 1, 1]])
IDS = np.arange(3)


def figures(models: dict[str, Coin], reference: str | None) -> dict[str, dict[str, Any]]:
    scores = score_examples(models, ROWS, IDS, reference)
    weights = metrics.example_weights(3)
    return {name: metrics.summarise(one, weights) for name, one in scores.items()}


def test_by_hand():
    found = figures({"teacher": Coin(0.8), "student": Coin(0.6), "control": Coin(0.3)}, "teacher")
    entropy = lambda p: -(4 * math.log(p) + 2 * math.log(1 - p)) / 6  # noqa: E731
    divergence = lambda q: 0.8 * math.log(0.8 / q) + 0.2 * math.log(0.2 / (1 - q))  # noqa: E731
    for name, p in {"teacher": 0.8, "student": 0.6, "control": 0.3}.items():
        assert found[name]["cross_entropy"] == pytest.approx(entropy(p), rel=1e-5)
        assert found[name]["perplexity"] == pytest.approx(math.exp(entropy(p)), rel=1e-5)
        assert found[name]["kl"] == pytest.approx(divergence(p), abs=1e-6)
        low, high = found[name]["perplexity_interval"]
        assert low < found[name]["perplexity"] < high
    assert found["student"]["agreement"] == 1
    assert found["control"]["agreement"] == 0


def test_a_perfect_student():
    models = {"teacher": Coin(0.8), "student": Coin(0.8)}
    scores = score_examples(models, ROWS, IDS, "teacher")
    weights = metrics.example_weights(3)
    found = metrics.summarise(scores["student"], weights)
    assert (found["kl"], found["kl_interval"]) == (0, [0, 0])
    assert (found["agreement"], found["agreement_interval"]) == (1, [1, 1])
    pairs = metrics.intervals(scores, "student", "teacher", weights)
    assert pairs == {"student/teacher": {"perplexity": {"value": 1, "low": 1, "high": 1}}}


def test_ratios_to_the_control_are_paired():
    models = {"teacher": Coin(0.8), "student": Coin(0.6), "control": Coin(0.3)}
    scores = score_examples(models, ROWS, IDS, "teacher")
    pairs = metrics.intervals(scores, "student", "teacher", metrics.example_weights(3))
    kl = pairs["student/control"]["kl"]
    # the divergence is the same at every token, so every draw has the same ratio
    expected = scores["student"].sums["kl"].sum() / scores["control"].sums["kl"].sum()
    assert [kl["value"], kl["low"], kl["high"]] == pytest.approx([expected] * 3)
    perplexity = pairs["student/control"]["perplexity"]
    assert perplexity["low"] < perplexity["value"] < perplexity["high"]
    hand = (0.3 / 0.6) ** (4 / 6) * (0.7 / 0.4) ** (2 / 6)
    assert perplexity["value"] == pytest.approx(hand, rel=1e-5)


def test_without_a_teacher_there_is_no_kl():
    found = figures({"student": Coin(0.6)}, None)
    assert set(found["student"]) == {
        "cross_entropy",
        "cross_entropy_interval",
        "perplexity",
        "perplexity_interval",
    }


def test_chunks_and_batches_change_nothing(monkeypatch: pytest.MonkeyPatch):
    models = {"teacher": Coin(0.8), "student": Coin(0.6)}
    whole = score_examples(models, ROWS, IDS, "teacher")
    monkeypatch.setattr(scoring, "chunks", lambda count, width: (slice(i, i + 1) for i in range(count)))
    progress: list[int] = []
    one_by_one = score_examples(models, ROWS, IDS, "teacher", progress.append, most=1)
    assert progress == [1, 2, 3]
    for name in models:
        for figure, sums in whole[name].sums.items():
            assert sums == pytest.approx(one_by_one[name].sums[figure])
    assert whole["student"].tokens.tolist() == [2, 1, 3]


def test_some_examples_in_any_order():
    scores = score_examples({"student": Coin(0.5)}, ROWS, np.array([2, 0]))
    assert scores["student"].sums["cross_entropy"] == pytest.approx([3 * math.log(2), 2 * math.log(2)])


def test_a_padded_output_layer_is_cut():
    wide = Coin(0.6)
    wide.vocabulary, weight = 3, wide.module.weight.detach()
    wide.module = torch.nn.Linear(1, 3, bias=False)
    wide.module.weight = torch.nn.Parameter(torch.cat([weight, torch.tensor([[9.0]])]))
    found = figures({"teacher": Coin(0.6), "student": wide}, "teacher")
    assert found["student"]["kl"] == pytest.approx(0, abs=1e-6)


def test_batches_are_bounded_and_of_similar_length():
    lengths = np.array([3, 50, 4, 5, 20, 4])
    groups = batches(lengths, np.arange(6), most=20)
    assert [group.tolist() for group in groups] == [[1], [4], [3, 2, 5, 0]]
    assert sorted(np.concatenate(groups)) == list(range(6))


def test_no_chunk_holds_too_many_logits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(types, "LOGITS_OF_A_CHUNK", 100)
    assert list(types.chunks(40, 5)) == [slice(0, 20), slice(20, 40)]
    assert next(iter(types.chunks(40, 5000))) == slice(0, 16)
    logits = Logits(torch.ones(4, 2), torch.nn.Linear(2, 5))
    found = project.log_probabilities(logits, slice(1, 3))
    assert found.shape == (2, 5)
    assert found.exp().sum(dim=1).tolist() == pytest.approx([1, 1])
