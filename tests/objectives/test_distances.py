"""The Huber and Cramér forms of the soft term by hand, and their gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from usage_errors import usage_error

from potstill.objectives.base import LossInputs
from potstill.objectives.cramer import Cramer
from potstill.objectives.expected_pinball import ExpectedPinball
from potstill.objectives.huber_match import HuberMatch
from potstill.types import Output

LEVELS = [0.1, 0.5, 0.9]


def test_huber_by_hand(made, passed):
    student = made([[[0.0, 0.0], [1.0, 1.0], [4.0, 4.0]]], LEVELS)
    teacher = made([[[0.2, 0.2], [1.0, 3.0], [4.0, 4.0]]], LEVELS)
    # delta 0.5: 0.04 / (2 · 0.5) at the first level; 0 and 2 − 0.25 at the second; weights 0.25, 0.4, 0.25 over 0.9
    expected = (0.25 * 0.04 + 0.4 * 1.75 / 2) / 0.9
    torch.testing.assert_close(HuberMatch(delta=0.5)(passed(student, teacher)), torch.tensor([expected]))
    with usage_error("objective.bad_delta", "delta"):
        HuberMatch(delta=0)


def test_huber_of_a_small_delta_is_the_absolute_distance(made, passed):
    student, teacher = made([[[0.0], [1.0], [5.0]]], LEVELS), made([[[1.0], [1.0], [2.0]]], LEVELS)
    expected = (0.25 * 1 + 0.25 * 3) / 0.9
    assert HuberMatch(delta=1e-6)(passed(student, teacher)).item() == pytest.approx(expected, abs=1e-5)


def test_cramer_is_zero_at_the_teacher_and_has_the_gradient_of_the_expected_pinball_loss(made, passed):
    torch.manual_seed(0)
    teacher = made(torch.randn(3, 3, 5).sort(1).values, LEVELS)
    torch.testing.assert_close(Cramer()(passed(teacher, teacher)), torch.zeros(3), atol=1e-6, rtol=0)
    values = torch.randn(3, 3, 5, requires_grad=True)
    inputs = passed(made(values, LEVELS), teacher)
    losses = [term(inputs) for term in (Cramer(), ExpectedPinball())]
    assert (losses[0] > 0).all()
    gradients = [torch.autograd.grad(loss.sum(), values, retain_graph=True)[0] for loss in losses]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("term", [HuberMatch(), Cramer()])
def test_the_gradient_is_that_of_finite_differences(term, made, passed):
    torch.manual_seed(1)
    teacher = made(torch.randn(2, 3, 2).sort(1).values, LEVELS)
    inputs = passed(made(torch.randn(2, 3, 2), LEVELS), replace(teacher, values=teacher.values.double()))

    def loss(values):
        return term(LossInputs(inputs.batch, Output(replace(inputs.student.forecast, values=values)), inputs.teachers))

    values = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    inputs.student.forecast.levels = levels
    inputs.teachers["teacher"].forecast.levels = levels
    assert torch.autograd.gradcheck(loss, (values,))
