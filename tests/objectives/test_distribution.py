"""KL and cross-entropy over bins against values by hand, and where their minimum is."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import pytest
import torch
from usage_errors import usage_error

from potstill.objectives import cdf
from potstill.objectives.base import LossInputs
from potstill.objectives.cdf import Distributions
from potstill.objectives.distribution import DistributionCrossEntropy, DistributionKl
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective
from potstill.types import Forecast, Output, Windows

NAN = math.nan
LEVELS = [0.25, 0.5, 0.75]


@pytest.fixture
def exact(monkeypatch):
    """Quantiles are not widened, so that values by hand are simple."""
    monkeypatch.setattr(cdf, "RESOLUTION", 0.0)


def tempered(probabilities: list[float], temperature: float) -> list[float]:
    powers = [p ** (1 / temperature) for p in probabilities]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_kl_by_hand(exact, made, passed, temperature):
    student = made([[[-2.0], [0.0], [2.0]]], LEVELS)
    teacher = made([[[-1.0], [0.0], [1.0]]], LEVELS)
    # the student has half of the probability between its quantiles inside of the teacher's
    p, q = (tempered(masses, temperature) for masses in ([0.25] * 4, [0.375, 0.125, 0.125, 0.375]))
    expected = temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    torch.testing.assert_close(DistributionKl(temperature)(passed(student, teacher)), torch.tensor([expected]))


def test_the_teacher_is_compared_at_the_students_levels_in_its_scale(exact, made, passed):
    # in raw units quantiles 90, 100, 110; the student has two of these levels and another scale
    teacher = made([[[-1.0], [0.0], [1.0]]], LEVELS, loc=100.0, scale=10.0)
    student = made([[[0.0], [4.0]]], [0.25, 0.75], loc=90.0, scale=5.0)
    torch.testing.assert_close(DistributionKl()(passed(student, teacher)), torch.tensor([0.0]), atol=1e-6, rtol=0)


def test_levels_beyond_the_teachers_are_left_to_the_truth(exact, made, passed):
    values = torch.tensor([[[-9.0], [-1.0], [1.0], [9.0]]], requires_grad=True)
    student = made(values, [0.05, 0.25, 0.75, 0.95])
    teacher = made([[[-1.0], [1.0]]], [0.25, 0.75])
    loss = DistributionKl()(passed(student, teacher))
    torch.testing.assert_close(loss, torch.tensor([0.0]), atol=1e-6, rtol=0)
    (gradient,) = torch.autograd.grad(loss.sum(), values)
    assert gradient.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        (0.5, 0.25 / 2),  # between 0 and 2
        (-0.5, 0.25 / 2),
        (7.0, 0.25 / (2 / (4 * (1 - 0.5**0.25)))),  # a tail is one scale wide: it falls from 0.5 to 0.25 within 2
        (-1e30, 0.25 / (2 / (4 * (1 - 0.5**0.25)))),
    ],
)
def test_cross_entropy_by_hand(exact, made, passed, truth, expected):
    student = made([[[-2.0, 7.0], [0.0, 8.0], [2.0, 9.0]]], LEVELS)
    loss = DistributionCrossEntropy()(passed(student, truth=torch.tensor([[truth, NAN]])))
    torch.testing.assert_close(loss, torch.tensor([-math.log(expected)]))


def test_cross_entropy_of_a_forecast_in_arcsinh_space(exact, made, passed):
    student = made([[[0.0], [1.0]]], [0.25, 0.75], loc=10.0, scale=2.0, arcsinh=True)
    loss = DistributionCrossEntropy()(passed(student, truth=torch.tensor([[10.0 + 2 * math.sinh(0.5)]])))
    torch.testing.assert_close(loss, torch.tensor([-math.log(0.5)]))


def test_a_window_without_a_future_has_no_cross_entropy(made, passed):
    student = made([[[0.0], [1.0], [2.0]]], LEVELS)
    assert DistributionCrossEntropy()(passed(student, truth=torch.tensor([[NAN]]))).isnan().all()


def gradient_of(term, student: Forecast, *rest) -> torch.Tensor:
    student.values.requires_grad_()
    (gradient,) = torch.autograd.grad(term(*rest).sum(), student.values)
    return gradient


def test_the_gradient_of_the_cross_entropy_is_that_of_fixed_bins(made, passed):
    torch.manual_seed(1)
    student = made(torch.randn(4, 3, 2), LEVELS)
    truth = 2 * torch.randn(4, 2)
    found = gradient_of(DistributionCrossEntropy(), student, passed(student, truth=truth))
    edges = Distributions.of(student).points.detach()
    place = torch.searchsorted(Distributions.of(student).quantiles.detach(), truth.double()[..., None])

    def by_fixed_bins(values):
        masses = Distributions.of(Forecast(student.levels, values, student.loc, student.scale)).masses(edges)
        return -masses.log().gather(-1, place).mean(dim=1).sum()

    values = student.values.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(by_fixed_bins(values), values)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("distance", [0.0, 1e-6, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("spread", [0.0, 1e-8, 1.0])
def test_gradients_are_finite_and_pull_at_any_distance(made, passed, distance, spread):
    shape = torch.tensor([-1.0, 0.0, 1.0])[None, :, None]
    teacher = made(spread * shape.expand(1, 3, 1), LEVELS)
    student = made(distance + spread * shape.expand(1, 3, 1), LEVELS)
    crossed = made(distance + spread * shape.flip(1).expand(1, 3, 1), LEVELS)
    truth = torch.zeros(1, 1)
    for forecast in (student, crossed):
        inputs = passed(forecast, teacher, truth)
        for term in (DistributionKl(), DistributionCrossEntropy()):
            gradient = gradient_of(term, forecast, inputs)
            assert gradient.isfinite().all()
            assert term(inputs).isfinite().all()
            if distance >= 1:
                assert gradient.sum() > 0, "the student is above its target"


NINE = [round(0.1 * k, 1) for k in range(1, 10)]
QUANTILES = torch.tensor([NormalDist().inv_cdf(level) for level in NINE])


@pytest.mark.parametrize(
    ("alpha", "deviation", "least", "most"),
    [
        (0.0, 0.3, 0.96, 1.04),
        (0.5, 0.3, 0.4, 0.7),
        (0.5, 1.0, 0.4, 0.7),
        (0.8, 1.0, 0.1, 0.3),
        (1.0, 1.0, -0.01, 0.01),
    ],
)
def test_the_truth_corrects_about_one_minus_alpha_of_a_biased_teacher(alpha, deviation, least, most):
    """A teacher that is 0.3 standard deviations too high; looked at are the levels 0.1, 0.5 and 0.9."""
    count, bias = 200, 0.3 * deviation
    truth = deviation * torch.tensor([NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)])[:, None]
    one, levels, ids = torch.ones(count, 1).double(), torch.tensor(NINE), torch.arange(count)

    def forecast(values):
        return Output(Forecast(levels, values[None, :, None].expand(count, -1, 1), 0 * one, one))

    x = (deviation * QUANTILES + bias).requires_grad_()
    terms: dict[str, Any] = {"soft": "distribution_kl", "hard": "distribution_cross_entropy"}
    objective = Objective(ForecastObjective(alpha=alpha, **terms))
    optimizer = torch.optim.Adam([x], lr=0.03 * deviation)
    for step in range(120):
        optimizer.param_groups[0]["lr"] = 0.03 * deviation * (1 - step / 120)
        inputs = LossInputs(Windows(torch.zeros(count, 4), truth, ids, ids, ids), forecast(x))
        inputs.teachers = {"t": forecast(deviation * QUANTILES + bias)}
        optimizer.zero_grad()
        objective(inputs)[0].backward()
        optimizer.step()
    corrected = (1 - (x.detach() - deviation * QUANTILES) / bias)[[0, 4, 8]]
    assert (corrected > least).all()
    assert (corrected < most).all()


@pytest.mark.parametrize("temperature", [0, -1.0, True, "hot", math.inf])
def test_a_temperature_that_is_none(temperature):
    with usage_error("objective.bad_temperature", "distribution_kl.temperature"):
        DistributionKl(temperature)
