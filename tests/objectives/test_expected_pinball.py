"""The expected pinball loss against numerical integration, and what it makes of a biased teacher."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from potstill.objectives.base import LossInputs
from potstill.objectives.copying import copy_error
from potstill.objectives.expected_pinball import (
    ExpectedPinball,
    ScaledExpectedPinball,
    expected_loss,
    weights_within,
)
from potstill.objectives.levels import level_weights
from potstill.objectives.pinball import Pinball
from potstill.objectives.quantile_match import QuantileMatch
from potstill.recipe import ForecastObjective
from potstill.types import Forecast, Output, Windows

LEVELS = [0.01, *(round(0.05 * k, 2) for k in range(1, 20)), 0.99]


def samples(quantiles: torch.Tensor, levels: list[float], count: int = 200_001) -> torch.Tensor:
    """Equally likely values ``[count]`` of a distribution that is linear between its quantiles, tails included."""
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    t, q = quantiles.double(), torch.tensor(levels, dtype=torch.float64)
    low = t[0] - (t[1] - t[0]) * q[0] / (q[1] - q[0])
    high = t[-1] + (t[-1] - t[-2]) * (1 - q[-1]) / (q[-1] - q[-2])
    knots, mass = torch.cat([low[None], t, high[None]]), torch.cat([q.new_zeros(1), q, q.new_ones(1)])
    right = torch.searchsorted(mass, u).clamp(1, len(mass) - 1)
    share = (u - mass[right - 1]) / (mass[right] - mass[right - 1])
    return knots[right - 1] * (1 - share) + knots[right] * share


@pytest.mark.parametrize("levels", [LEVELS, [0.1, 0.5, 0.9], [0.3, 0.4]])
def test_the_loss_is_the_mean_pinball_over_samples_of_the_teacher(made, levels):
    torch.manual_seed(0)
    teacher = torch.randn(1, len(levels), 3).sort(1).values
    x = torch.tensor([-30.0, -1.0, -0.2, 0.0, 0.4, 1.5, 30.0])  # below, inside, beyond all quantiles
    student = made(x[None, :, None].expand(1, 7, 3), [0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95])
    found = expected_loss(student, made(teacher, levels))
    for step in range(3):
        y = samples(teacher[0, :, step], levels)
        error = y[None] - x.double()[:, None]
        q = student.levels.double()[:, None]
        expected = 2 * torch.maximum(q * error, (q - 1) * error).mean(dim=1)
        torch.testing.assert_close(found[0, :, step].double(), expected, rtol=1e-4, atol=1e-5)


def test_a_teacher_of_one_level_is_a_point_mass(made, passed):
    student = made([[[0.0], [1.0], [5.0]]], [0.1, 0.5, 0.9])
    loss = ExpectedPinball()(passed(student, made([[[3.0]]], [0.5])))
    # the nearest level, 0.5, with its weight 0.4 / 0.9: |3 − 1|
    torch.testing.assert_close(loss, torch.tensor([2.0 * 0.4 / 0.9]))
    torch.testing.assert_close(
        Pinball()(passed(student, None, [[3.0]])),
        expected_loss(student, made([[[3.0]]], [0.5]))[..., 0] @ level_weights(student.levels),
    )


def test_equal_and_crossing_quantiles_of_the_teacher_give_finite_values_and_gradients(made, passed):
    teacher = made([[[1.0, 2.0], [1.0, 1.0], [1.0, 0.0]]], [0.1, 0.5, 0.9])  # constant; in reverse order
    ordered = made([[[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]], [0.1, 0.5, 0.9])
    values = torch.tensor([[[1.0, 0.5], [1.0, 1.5], [2.0, 2.5]]], requires_grad=True)
    loss = ExpectedPinball()(passed(made(values, [0.1, 0.5, 0.9]), teacher))
    torch.testing.assert_close(loss, ExpectedPinball()(passed(made(values, [0.1, 0.5, 0.9]), ordered)))
    (gradient,) = torch.autograd.grad(loss.sum(), values)
    assert loss.isfinite().all()
    assert gradient.isfinite().all()


def test_the_gradient_is_that_of_finite_differences(made):
    torch.manual_seed(1)
    one = torch.ones(2, 1).double()
    teacher = Forecast(torch.tensor(LEVELS), torch.randn(2, 21, 3).double().sort(1).values, 0 * one, one)
    student = Forecast(torch.tensor([0.1, 0.3, 0.8]), torch.zeros(2, 3, 3).double(), 0 * one, one)
    values = (1.5 * torch.randn(2, 3, 3).double()).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: expected_loss(replace(student, values=x), teacher), (values,))


@pytest.mark.parametrize(
    ("levels", "quantiles"),
    [
        ([0.1, 0.5, 0.9], [0.0, 0.0, 0.0]),
        ([0.1, 0.5, 0.9], [0.0, 0.0, 1.0]),  # the first segment has no length
        ([0.1, 0.5, 0.9], [-1.0, 0.0, 0.0]),
        ([0.5], [0.0]),
    ],
)
@pytest.mark.parametrize("x", [-3.0, -0.4, 0.4, 3.0])
def test_the_gradient_is_right_where_outer_quantiles_of_the_teacher_are_equal(levels, quantiles, x):
    zero, one = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    teacher = Forecast(torch.tensor(levels), torch.tensor(quantiles).double().view(1, -1, 1), zero, one)
    student = Forecast(torch.tensor([0.1, 0.5, 0.9]), torch.zeros(1, 3, 1).double(), zero, one)
    values = torch.full((1, 3, 1), x).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: expected_loss(replace(student, values=x), teacher), (values,))


def test_the_loss_is_least_at_the_teachers_quantiles(made):
    levels = [0.1, 0.5, 0.9]
    teacher = made([[[-1.0], [0.5], [4.0]]], levels)
    values = teacher.values.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(expected_loss(replace(teacher, values=values), teacher).sum(), values)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)


def test_levels_outside_the_teachers_are_left_to_the_truth(made, passed):
    teacher = made([[[1.0], [2.0]]], [0.4, 0.6])
    values = torch.tensor([[[-9.0], [1.5], [7.0], [9.0]]], requires_grad=True)
    loss = ExpectedPinball()(passed(made(values, [0.1, 0.4, 0.6, 0.9]), teacher))
    (gradient,) = torch.autograd.grad(loss.sum(), values)
    assert gradient[0, 0] == gradient[0, 3] == 0
    assert gradient[0, 1] > 0
    assert gradient[0, 2] > 0
    # one level weighs as much as in the loss on the truth
    weights = level_weights(torch.tensor([0.1, 0.4, 0.6, 0.9]))
    torch.testing.assert_close(
        weights_within(torch.tensor([0.1, 0.4, 0.6, 0.9]), torch.tensor([0.4, 0.6])),
        weights * torch.tensor([0.0, 1.0, 1.0, 0.0]),
    )


def corrected(term, alpha: float, bias: float, level: float) -> float:
    """The share of a teacher's bias (in σ of normal noise) that the truth corrects at one level: the loss's minimum."""
    normal, steps = torch.distributions.Normal(0.0, 1.0), 1000
    one, batch = torch.ones(1, 1).double(), Windows.of_context(torch.zeros(1, 8), 1000)
    batch.future[:] = normal.icdf((torch.arange(steps) + 0.5) / steps)
    quantiles = (normal.icdf(torch.tensor(LEVELS)) + bias)[None, :, None].expand(1, 21, steps)
    teacher = Output(Forecast(torch.tensor(LEVELS), quantiles, 0 * one, one))
    best = float(normal.icdf(torch.tensor(level)))
    low, high = best - 2, best + bias + 2
    for _ in range(20):
        x = torch.tensor((low + high) / 2, requires_grad=True)
        student = Output(Forecast(torch.tensor([level]), x.expand(1, 1, steps), 0 * one, one))
        inputs = LossInputs(batch, student, {"teacher": teacher})
        loss = alpha * term(inputs).sum() + (1 - alpha) * Pinball()(inputs).sum()
        (gradient,) = torch.autograd.grad(loss, x)
        low, high = (low, x.item()) if gradient > 0 else (x.item(), high)
    return (best + bias - low) / bias


@pytest.mark.parametrize("bias", [0.3, 1.0])
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("alpha", [0.5, 0.8])
def test_the_truth_corrects_about_one_minus_alpha_of_a_biased_teacher(alpha, level, bias):
    share = corrected(ExpectedPinball(), alpha, bias, level)
    assert share == pytest.approx(mixture_share(alpha, level, bias), abs=0.04)
    assert 0.5 * (1 - alpha) < share < 1.6 * (1 - alpha)


def mixture_share(alpha: float, level: float, bias: float) -> float:
    """The same for the exact quantile of the mixture of two normal distributions, by bisection."""

    def cdf(x: float) -> float:
        return 0.5 * (1 + math.erf(x / math.sqrt(2)))

    low, high = -6.0, 6.0
    for _ in range(60):
        middle = (low + high) / 2
        below = alpha * cdf(middle - bias) + (1 - alpha) * cdf(middle) < level
        low, high = (middle, high) if below else (low, middle)
    quantile = float(torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(level)))
    return (quantile + bias - low) / bias


def test_matching_by_distance_corrects_nothing():
    assert corrected(QuantileMatch(), 0.5, 0.3, 0.5) == pytest.approx(0, abs=0.01)


def test_the_scaled_form_is_in_the_unit_of_scaled_pinball(made, passed):
    teacher = made([[[1.0], [2.0]]], [0.4, 0.6])
    inputs = passed(made([[[0.0], [3.0]]], [0.4, 0.6]), teacher)
    inputs.windows.context = torch.tensor([[1.0, 5.0, 2.0, 3.0] * 10])
    scale = copy_error(inputs.windows.context, 1) + 0.4
    torch.testing.assert_close(ScaledExpectedPinball(floor=0.4)(inputs), ExpectedPinball()(inputs) / scale)


@pytest.mark.parametrize(
    ("hard", "soft"),
    [
        ("pinball", "expected_pinball"),
        ("scaled_pinball", "scaled_expected_pinball"),
        ("hard_median", "soft_median"),
        ("my_term", "expected_pinball"),
    ],
)
def test_the_default_soft_term_has_the_unit_of_the_hard_term(hard, soft):
    objective = ForecastObjective(hard=hard)
    assert objective.soft == soft
    assert "soft" not in objective.model_fields_set
    assert ForecastObjective(hard=hard, soft="quantile_match").soft == "quantile_match"
