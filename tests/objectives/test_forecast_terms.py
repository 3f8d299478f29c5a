"""Every term of the forecast against values worked out by hand, and that it pulls the student."""

from __future__ import annotations

import math

import pytest
import torch

from potstill.objectives.levels import level_weights, median
from potstill.objectives.median import HardMedian, SoftMedian
from potstill.objectives.names import TERM_CLASSES
from potstill.objectives.pinball import Pinball
from potstill.objectives.quantile_match import QuantileMatch
from potstill.objectives.registry import find_term

NAN = math.nan
FORECAST_TERMS = [find_term(name) for name in TERM_CLASSES if find_term(name).task == "forecast"]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([0.5], [1.0]),
        ([0.1, 0.5, 0.9], [0.25, 0.4, 0.25]),  # (0.5 − 0) / 2, (0.9 − 0.1) / 2, (1 − 0.5) / 2; sum 0.9
        ([0.01, 0.05, 0.1, 0.5], [0.025, 0.045, 0.225, 0.45]),
        ([0.25, 0.5, 0.75], [0.25, 0.25, 0.25]),
    ],
)
def test_levels_weigh_the_mass_they_stand_for(levels, expected):
    weights = torch.tensor(expected)
    torch.testing.assert_close(level_weights(torch.tensor(levels)), weights / weights.sum())


def test_quantile_match_by_hand(made, passed):
    levels = [0.1, 0.5, 0.9]
    student = made([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]], levels)
    teacher = made([[[1.5, 2.0], [3.0, 2.0], [8.0, 6.0]]], levels)
    # step means of |difference|: 0.25, 1, 1.5; weights 0.25, 0.4, 0.25 over 0.9
    expected = (0.25 * 0.25 + 0.4 * 1.0 + 0.25 * 1.5) / 0.9
    torch.testing.assert_close(QuantileMatch()(passed(student, teacher)), torch.tensor([expected]))


def test_quantile_match_sorts_interpolates_and_rescales_the_teacher(made, passed):
    # the teacher lives in units of 10 around 100 and has other levels, crossed: sorted it is 90, 100, 120 in raw units
    teacher = made([[[0.0], [-1.0], [2.0]]], [0.2, 0.4, 0.8], loc=100.0, scale=10.0)
    student = made([[[0.0], [0.0], [0.0]]], [0.2, 0.3, 0.6], loc=90.0, scale=5.0)
    # at 0.2: 90 → 0; at 0.3: 95 → 1; at 0.6: 110 → 4, in units of 5 around 90
    weights = [0.15, 0.2, 0.35]  # spacing of 0.2, 0.3, 0.6 between 0 and 1: 0.15, 0.2, 0.35
    expected = (weights[1] * 1 + weights[2] * 4) / sum(weights)
    torch.testing.assert_close(QuantileMatch()(passed(student, teacher)), torch.tensor([expected]))


def test_quantile_match_leaves_tails_to_the_truth_where_the_teacher_says_nothing(made, passed):
    teacher = made([[[1.0], [2.0]]], [0.4, 0.6])
    values = torch.tensor([[[-9.0], [1.5], [7.0], [9.0]]], requires_grad=True)
    student = made(values, [0.1, 0.4, 0.6, 0.9])
    # levels .4 and .6 weigh alike: errors 0.5 and 5
    loss = QuantileMatch()(passed(student, teacher))
    torch.testing.assert_close(loss, torch.tensor([2.75]))
    (gradient,) = torch.autograd.grad(loss.sum(), values)
    assert gradient[0, 0] == gradient[0, 3] == 0


def test_quantile_match_of_a_teacher_of_the_median_alone_teaches_the_median(made, passed):
    teacher = made([[[3.0]]], [0.5])
    student = made([[[0.0], [1.0], [2.0]]], [0.1, 0.5, 0.9])
    torch.testing.assert_close(QuantileMatch()(passed(student, teacher)), torch.tensor([2.0]))


def test_arcsinh_is_undone_between_teacher_and_student(made, passed):
    teacher = made([[[math.asinh(2.0)]]], [0.5], loc=10.0, scale=2.0, arcsinh=True)  # raw 14
    student = made([[[3.0]]], [0.5], loc=11.0, scale=1.0)  # raw 14
    torch.testing.assert_close(QuantileMatch()(passed(student, teacher)), torch.tensor([0.0]), atol=1e-6, rtol=0)


def test_a_big_level_does_not_swallow_a_small_spread(made, passed):
    teacher = made([[[math.asinh(1.0)]]], [0.5], loc=48_000.0, scale=3.0, arcsinh=True)
    student = made([[[math.asinh(1.5)]]], [0.5], loc=48_000.5, scale=3.0, arcsinh=True)
    expected = abs(math.asinh(1.5) - math.asinh((48_003.0 - 48_000.5) / 3.0))
    torch.testing.assert_close(QuantileMatch()(passed(student, teacher)), torch.tensor([expected]))


def test_soft_median_by_hand(made, passed):
    student = made([[[0.0, 0.0], [1.0, 2.0], [9.0, 9.0]]], [0.1, 0.5, 0.9])
    teacher = made([[[2.0, 2.0], [4.0, 4.0]]], [0.25, 0.75])  # its median lies between: 3
    torch.testing.assert_close(SoftMedian()(passed(student, teacher)), torch.tensor([(4.0 + 1.0) / 2]))


def test_hard_median_by_hand_over_known_steps(made, passed):
    student = made([[[1.0, 2.0, 3.0]], [[0.0, 0.0, 0.0]]], [0.5], loc=10.0, scale=2.0)
    truth = torch.tensor([[14.0, NAN, 10.0], [NAN, NAN, NAN]])  # scaled: 2, –, 0
    loss = HardMedian()(passed(student, truth=truth))
    torch.testing.assert_close(loss, torch.tensor([(1.0 + 9.0) / 2, NAN]), equal_nan=True)


def test_a_median_between_levels_is_interpolated(made):
    forecast = made([[[1.0], [4.0]]], [0.4, 0.7])
    torch.testing.assert_close(median(forecast), torch.tensor([[2.0]]))


def test_pinball_by_hand_over_known_steps(made, passed):
    student = made([[[0.0, 5.0], [1.0, 5.0]]], [0.2, 0.6])
    loss = Pinball()(passed(student, truth=torch.tensor([[3.0, NAN]])))
    # errors 3 and 2: 2 · (0.2 · 3) and 2 · (0.6 · 2); weights 0.3 and 0.4 over 0.7
    torch.testing.assert_close(loss, torch.tensor([(0.3 * 1.2 + 0.4 * 2.4) / 0.7]))
    below = Pinball()(passed(student, truth=torch.tensor([[-1.0, 5.0]])))
    # errors −1 and −2 on the first step: 2 · 0.8 · 1 and 2 · 0.4 · 2; nothing on the second; two steps
    torch.testing.assert_close(below, torch.tensor([(0.3 * 1.6 + 0.4 * 1.6) / 0.7 / 2]))


def test_pinball_lives_in_the_students_scale(made, passed):
    student = made([[[0.0]]], [0.5], loc=100.0, scale=10.0, arcsinh=True)
    loss = Pinball()(passed(student, truth=torch.tensor([[130.0]])))
    torch.testing.assert_close(loss, torch.tensor([math.asinh(3.0)]))


def test_pinball_is_least_at_the_quantiles_of_the_truth(made, passed):
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(20_000, 1, generator=generator)
    levels = [0.1, 0.5, 0.9]
    best = torch.quantile(truth[:, 0], torch.tensor(levels))

    def loss(shift):
        values = (best + torch.tensor(shift))[None, :, None].expand(len(truth), -1, -1)
        return Pinball()(passed(made(values, levels), truth=truth)).mean()

    for i in range(3):
        for step in (-0.1, 0.1):
            assert loss([0.0, 0.0, 0.0]) < loss([step if i == j else 0.0 for j in range(3)])


@pytest.mark.parametrize("term", FORECAST_TERMS, ids=lambda term: term.name)
def test_every_term_pulls_the_student_towards_its_target(term, made, passed):
    levels = [0.1, 0.5, 0.9]
    values = torch.zeros(2, 3, 4, requires_grad=True)
    student = made(values, levels)
    student.values = values
    teacher = made(torch.tensor([1.0, 2.0, 3.0])[None, :, None].expand(2, 3, 4), levels)
    truth = torch.tensor([[2.0, NAN, 2.0, 2.0], [NAN] * 4])
    loss = term()(passed(student, teacher, truth))
    assert loss.shape == (2,)
    loss[0].backward()
    pulled = values.grad
    assert pulled is not None
    assert pulled.isfinite().all()
    if not term.requires:
        assert (pulled[0, :, 1] == 0).all(), "an unknown step pulls nothing"
    assert (pulled[0, 1, [0, 2, 3]] < 0).all(), "the median is pulled up"
    assert (pulled[1] == 0).all()


# the bins of distribution_cross_entropy stay in place: test_distribution.py compares it with fixed bins
@pytest.mark.parametrize(
    "term", [term for term in FORECAST_TERMS if term.name != "distribution_cross_entropy"], ids=lambda term: term.name
)
def test_every_gradient_is_that_of_finite_differences(term, made, passed):
    torch.manual_seed(0)
    levels = [0.1, 0.5, 0.9]
    student, teacher = made(torch.zeros(2, 3, 4), levels), made(torch.randn(2, 3, 4).sort(1).values, levels)
    truth = torch.randn(2, 4)
    truth[0, 1] = NAN
    student.levels = student.levels.double()

    def loss(values):
        student.values = values
        return term()(passed(student, teacher, truth))

    values = torch.randn(2, 3, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(loss, values)
