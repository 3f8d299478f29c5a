"""The error of copying a context at its best lag, against its definition."""

from __future__ import annotations

import math

import pytest
import torch

from potstill.objectives.copying import copy_error

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
