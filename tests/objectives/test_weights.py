"""Weights that move between the soft and the hard term: the schedule of alpha, and the gate."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective, LanguageObjective
from potstill.types import Logits, ModelInfo, Output, Tokens

NAN = math.nan
MEDIANS: dict[str, Any] = {"soft": "soft_median", "hard": "hard_median"}


@pytest.fixture
def batch(made, passed):
    """Soft losses 1, 4 and 9, hard losses 16 and 25; the third window has no future."""
    student = made([[[0.0]], [[0.0]], [[0.0]]], [0.5])
    teacher = made([[[1.0]], [[2.0]], [[3.0]]], [0.5])
    return passed(student, teacher, torch.tensor([[4.0], [5.0], [NAN]]))


@pytest.mark.parametrize(
    ("schedule", "halfway", "late"),
    [("linear", 0.5, 0.275), ("cosine", 0.5, 0.8 - 0.6 * (1 - math.cos(0.875 * math.pi)) / 2)],
)
def test_alpha_goes_from_its_first_value_to_its_last(batch, schedule, halfway, late):
    objective = Objective(ForecastObjective(alpha=0.8, alpha_end=0.2, alpha_schedule=schedule, **MEDIANS))
    assert objective.weights == pytest.approx({"soft_median": 0.8, "hard_median": 0.2})
    for progress, alpha in ((0.0, 0.8), (0.5, halfway), (0.875, late), (1.0, 0.2)):
        assert objective.alpha(progress) == pytest.approx(alpha)
        total, values = objective(batch, progress=progress)
        assert total.item() == pytest.approx(alpha * 14 / 3 + (1 - alpha) * 41 / 2)
        assert values["soft_median"].item() == pytest.approx(14 / 3)


def test_alpha_stays_without_an_end(batch):
    objective = Objective(ForecastObjective(alpha=0.8, **MEDIANS))
    assert objective(batch, progress=1.0)[0].item() == objective(batch)[0].item()


@pytest.mark.parametrize(("alpha", "end"), [(0.0, 0.5), (0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 1.0)])
def test_a_term_is_there_if_it_has_a_weight_at_any_step(batch, alpha, end):
    objective = Objective(ForecastObjective(alpha=alpha, alpha_end=end, **MEDIANS))
    assert set(objective.terms) == {"soft_median", "hard_median"}
    assert objective.requires == {"forecast"}
    assert objective(batch, progress=1.0)[0].item() == pytest.approx(end * 14 / 3 + (1 - end) * 41 / 2)


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_a_term_that_never_has_a_weight_is_left_out(end):
    objective = Objective(ForecastObjective(alpha=end, alpha_end=end, **MEDIANS))
    assert set(objective.terms) == {"soft_median" if end else "hard_median"}
    assert bool(objective.requires) == (end == 1.0)


def test_other_weights_stay_and_beta_is_part_of_the_sum(batch):
    terms = {"pinball": {"weight": 0.5}, "soft_median": {"weight": 0.1}}
    objective = Objective(ForecastObjective(alpha=0.6, alpha_end=0.0, terms=terms, **MEDIANS))
    _, values = objective(batch)
    total, _ = objective(batch, progress=1.0)
    assert total.item() == pytest.approx(0.1 * 14 / 3 + 1.0 * 41 / 2 + 0.5 * values["pinball"].item())
    with pytest.raises(ValidationError, match="alpha_end \\+ beta must not exceed 1"):
        ForecastObjective(alpha=0.1, alpha_end=0.8, beta=0.3)


@pytest.mark.parametrize("end", [-0.1, 1.1, "late"])
def test_an_alpha_that_is_none(end):
    with pytest.raises(ValidationError, match="alpha_end"):
        ForecastObjective(alpha_end=end)


def test_the_schedule_of_a_language_model():
    torch.manual_seed(0)
    ids = torch.randint(0, 5, (2, 4))
    batch = Tokens(ids, torch.ones_like(ids, dtype=torch.bool), ids >= 0, ids[:, 0])
    states, taught = torch.randn(8, 5, requires_grad=True), torch.randn(8, 5)
    inputs = LossInputs(batch, Output(Logits(states, torch.nn.Identity())), {"t": Output(Logits(taught, lambda x: x))})
    objective = Objective(LanguageObjective(alpha=0.9, alpha_end=0.3, temperature=1.0))
    _, values = objective(inputs)
    for progress, alpha in ((0.0, 0.9), (1.0, 0.3)):
        expected = alpha * values["kl"] + (1 - alpha) * values["cross_entropy"]
        torch.testing.assert_close(objective(inputs, progress=progress)[0], expected)


def gated(batch, backtest: list[float]):
    (output,) = batch.teachers.values()
    output.backtest = torch.tensor(backtest)
    return batch


def test_the_gate_moves_the_soft_weight_of_a_window_to_the_hard_term(batch):
    objective = Objective(ForecastObjective(alpha=0.8, gate=True, **MEDIANS))
    assert objective.gate_steps(96) == 96
    # the teacher fails on the first window, and on the third, where no truth is known
    total, values = objective(gated(batch, [1.5, 0.9, 3.0]))
    soft = (0.0 * 1 + 0.8 * 4 + 0.8 * 9) / 3
    hard = (1.0 * 16 + 0.2 * 25) / 2
    assert total.item() == pytest.approx(soft + hard)
    assert {name: value.item() for name, value in values.items()} == pytest.approx(
        {"soft_median": 14 / 3, "hard_median": 41 / 2, "gated": 1 / 3}
    )


def test_the_gate_follows_the_schedule_and_reaches_the_gradient(batch):
    objective = Objective(ForecastObjective(alpha=0.8, alpha_end=0.4, gate=12, **MEDIANS))
    assert objective.gate_steps(96) == 12
    values = batch.student.forecast.values.requires_grad_()
    for progress, alpha in ((0.0, 0.8), (1.0, 0.4)):
        total, _ = objective(gated(batch, [math.inf, 1.0, NAN]), progress=progress)
        (gradient,) = torch.autograd.grad(total, values)
        expected = [-2 * 4 / 2, -alpha * 2 * 2 / 3 - (1 - alpha) * 2 * 5 / 2, -alpha * 2 * 3 / 3]
        torch.testing.assert_close(gradient.flatten(), torch.tensor(expected))


def test_with_a_teacher_alone_the_gate_still_needs_the_truth(batch):
    objective = Objective(ForecastObjective(alpha=1.0, gate=True, **MEDIANS))
    assert set(objective.terms) == {"soft_median", "hard_median"}
    assert objective(gated(batch, [0.5, 0.5, 0.5]))[0].item() == pytest.approx(14 / 3)
    assert objective(gated(batch, [2.0, 0.5, 0.5]))[0].item() == pytest.approx(13 / 3 + 16 / 2)


def infos():
    info = ModelInfo("model", "toy", 1, 1, 0, 0, 0, levels=(0.5,))
    return info, {"t": info}


@pytest.mark.parametrize("settings", [{"alpha": 0.0}, {"gate": False}])
def test_without_a_teacher_or_a_gate_no_backtest_is_requested(batch, settings):
    objective = Objective(ForecastObjective(**{"gate": True, **settings}))
    assert objective.gate_steps(96) == 0
    objective.bind(*infos())
    assert [request.backtest for request in objective.teacher_requests(96).values()] == [0]


def test_the_backtest_is_requested_of_every_teacher():
    objective = Objective(ForecastObjective(gate=24))
    objective.bind(*infos())
    assert [request.backtest for request in objective.teacher_requests(96).values()] == [24]
