"""Huber and Cramér distances between quantiles against values by hand and numerical integration."""

from __future__ import annotations

import math

import pytest
import torch
from usage_errors import usage_error

from potstill.objectives.cramer import Cramer
from potstill.objectives.expected_pinball import ExpectedPinball
from potstill.objectives.huber_match import HuberMatch
from potstill.objectives.quantile_match import QuantileMatch


def test_huber_by_hand(made, passed):
    levels = [0.1, 0.5, 0.9]
    student = made([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]], levels)
    teacher = made([[[1.5, 2.0], [3.0, 2.0], [8.0, 6.0]]], levels)
    # of 0.5, 0, 0, 2, 3, 0 with delta 1: 0.125, 0, 0, 1.5, 2.5, 0; weights 0.25, 0.4, 0.25 over 0.9
    expected = (0.25 * 0.125 + 0.4 * 1.5 + 0.25 * 2.5) / 2 / 0.9
    torch.testing.assert_close(HuberMatch(delta=1.0)(passed(student, teacher)), torch.tensor([expected]))


def test_huber_with_a_small_delta_is_quantile_match(made, passed):
    torch.manual_seed(0)
    levels = [0.1, 0.5, 0.9]
    inputs = passed(made(torch.randn(3, 3, 5), levels), made(torch.randn(3, 3, 5).sort(1).values, levels))
    torch.testing.assert_close(HuberMatch(delta=1e-4)(inputs), QuantileMatch()(inputs), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("delta", [0, -0.1, True, "small", math.nan])
def test_a_delta_that_is_none(delta):
    with usage_error("objective.bad_delta", "huber_match.delta"):
        HuberMatch(delta)


def test_cramer_is_the_integral_of_the_squared_difference(made, passed):
    """Uniform from 0 to 1 against uniform from 0.2 to 1.8, with many levels."""
    levels = [(k + 0.5) / 200 for k in range(200)]
    q = torch.tensor(levels)
    student, teacher = made((0.2 + 1.6 * q)[None, :, None], levels), made(q[None, :, None], levels)
    x = torch.linspace(-1, 3, 400_001, dtype=torch.float64)
    difference = x.clamp(0, 1) - ((x - 0.2) / 1.6).clamp(0, 1)
    expected = torch.trapezoid(difference.square(), x)
    torch.testing.assert_close(Cramer()(passed(student, teacher)).double(), expected[None], rtol=3e-3, atol=0)


def test_cramer_is_zero_at_the_teacher_and_pulls_like_the_expected_pinball(made, passed):
    torch.manual_seed(0)
    levels = [0.1, 0.3, 0.5, 0.9]
    teacher = made(torch.randn(2, 4, 3).sort(1).values, levels)
    at = passed(made(teacher.values, levels), teacher)
    torch.testing.assert_close(Cramer()(at), torch.zeros(2), atol=1e-6, rtol=0)
    student = made(torch.randn(2, 4, 3), levels)
    student.values.requires_grad_()
    gradients = [
        torch.autograd.grad(term(passed(student, teacher)).sum(), student.values)[0]
        for term in (Cramer(), ExpectedPinball())
    ]
    torch.testing.assert_close(*gradients)
    assert (Cramer()(passed(student, teacher)) > 0).all()
