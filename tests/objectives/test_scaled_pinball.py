"""The pinball loss in units of what copying costs, against errors worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from usage_errors import usage_error

from potstill.objectives.base import LossInputs
from potstill.objectives.pinball import Pinball
from potstill.objectives.registry import find_term
from potstill.objectives.scaled_pinball import ScaledPinball, copy_error
from potstill.types import Output, Windows

NAN = math.nan


def brute(row: torch.Tensor, horizon: int) -> float:
    """The definition, pair by pair."""
    known = row.isfinite()
    span = len(row) - int(known.int().argmax())
    best = row[known].double().square().mean().sqrt().item()
    for lag in range(max(1, min(horizon, span // 4)), 3 * span // 4 + 1):
        pairs = known[lag:] & known[:-lag]
        if pairs.sum() >= 8:
            error = ((row[lag:] - row[:-lag])[pairs].double().square().mean() / 2).sqrt().item()
            best = min(best, error)
    return best


def windows_of(context: torch.Tensor, future: torch.Tensor) -> Windows:
    ids = torch.arange(len(context))
    return Windows(context, future, ids, ids, ids)


@pytest.mark.parametrize("horizon", [1, 10, 40])
def test_copy_error_is_the_best_lag_pair_by_pair(horizon):
    torch.manual_seed(0)
    rows = torch.randn(6, 90)
    rows[1] = rows[1].cumsum(0) / 5
    rows[2] = torch.sin(torch.arange(90) * 2 * math.pi / 12) + 0.1 * rows[2]
    rows[3, :50] = NAN  # padding
    rows[4, ::3] = NAN  # holes
    rows[5] = 0.0
    expected = torch.tensor([brute(row, horizon) for row in rows])
    torch.testing.assert_close(copy_error(rows, horizon), expected, atol=1e-5, rtol=1e-4)


def test_a_clean_season_costs_little_to_copy_and_noise_its_spread():
    torch.manual_seed(1)
    time = torch.arange(512)
    season = torch.sin(time * 2 * math.pi / 24) * math.sqrt(2)
    error = copy_error(torch.stack([season, torch.randn(512)]), 96)
    assert error[0] < 1e-3
    assert 0.8 < error[1] < 1.05


def test_a_walk_costs_more_the_further_the_copy_must_reach():
    torch.manual_seed(2)
    walk = torch.randn(1, 512).cumsum(1)
    walk = (walk - walk.mean()) / walk.std()
    near, far = (copy_error(walk, horizon).item() for horizon in (1, 96))
    assert near < 0.2 * far


def test_too_few_values_to_copy_leave_the_spread():
    context = torch.full((1, 64), NAN)
    context[0, -4:] = torch.tensor([3.0, -3.0, 3.0, -3.0])
    torch.testing.assert_close(copy_error(context, 16), torch.tensor([3.0]))


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
