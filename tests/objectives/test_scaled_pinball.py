"""The pinball loss in units of what copying costs, against errors worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from usage_errors import usage_error

from potstill.objectives.base import LossInputs
from potstill.objectives.copying import copy_error
from potstill.objectives.pinball import Pinball
from potstill.objectives.registry import find_term
from potstill.objectives.scaled_pinball import ScaledPinball
from potstill.types import Output, Windows

NAN = math.nan


def windows_of(context: torch.Tensor, future: torch.Tensor) -> Windows:
    ids = torch.arange(len(context))
    return Windows(context, future, ids, ids, ids)


def test_scaled_pinball_is_pinball_over_copy_error_and_floor(made):
    student = made([[[1.0, 2.0]], [[0.0, 0.0]]], [0.5], loc=1.0, scale=2.0)
    context = torch.tensor([1.0, 3.0] * 20).expand(2, -1).contiguous()  # 0, 1, 0, 1 … in the student's scale
    context[1] += torch.randn(40, generator=torch.Generator().manual_seed(0))
    batch = LossInputs(windows_of(context, torch.tensor([[3.0, 3.0], [NAN, NAN]])), Output(student))
    value = ScaledPinball(floor=0.25)(batch)
    # the truth is 1, 1 in the student's scale: errors 0 and 1, the loss at the median 0.5; copying is free
    assert value[0].item() == pytest.approx(0.5 / 0.25)
    assert value[1].isnan()
    assert Pinball()(batch)[0].item() == pytest.approx(0.5)


def test_it_pulls_the_student_and_never_looks_at_the_future_for_the_weight(made):
    torch.manual_seed(3)
    context = torch.randn(3, 64)
    values = torch.zeros(3, 1, 4, requires_grad=True)
    student = made(values, [0.5])
    term = ScaledPinball()
    for future in (torch.ones(3, 4), 100 * torch.ones(3, 4)):
        (gradient,) = torch.autograd.grad(term(LossInputs(windows_of(context, future), Output(student))).sum(), values)
        weight = 1 / (copy_error(context, 4) + term.floor)
        torch.testing.assert_close(gradient[:, 0, 0], -weight / 4)


def test_a_floor_of_nothing_is_refused():
    with usage_error("objective.bad_floor", "floor"):
        ScaledPinball(floor=0)


def test_recipes_find_it_by_name():
    assert find_term("scaled_pinball") is ScaledPinball


def test_the_copy_error_of_a_batch_is_computed_once(made, monkeypatch):
    context, student = torch.randn(2, 64), Output(made([[[0.0] * 4]] * 2, [0.5]))
    inputs = LossInputs(windows_of(context, torch.ones(2, 4)), student)
    once = ScaledPinball(floor=0.25)(inputs)
    monkeypatch.setattr("potstill.objectives.copying.copy_error", None)
    torch.testing.assert_close(ScaledPinball(floor=0.25)(inputs), once)
