"""Weights of the steps ahead: what they are, and that every term that is a mean over steps obeys them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from potstill.objectives.horizon import step_weights
from potstill.objectives.names import TERM_CLASSES
from potstill.objectives.objective import Objective
from potstill.objectives.registry import find_term
from potstill.recipe import ForecastObjective, HorizonWeights

NAN = math.nan
ALIGNED = {"soft_dtw", "soft_dtw_truth"}  # they do not compare a step with the step of the same number
STEPWISE = [name for name in TERM_CLASSES if find_term(name).task == "forecast" and name not in ALIGNED]
LEVELS = [0.1, 0.5, 0.9]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"kind": "linear"}, [1.0, 0.75, 0.5, 0.25]),
        ({"kind": "exponential", "tau": 3.0}, [1.0, math.exp(-1), math.exp(-2), math.exp(-3)]),
        ({"kind": "exponential", "tau": -3.0}, [1.0, math.exp(1), math.exp(2), math.exp(3)]),
    ],
)
def test_weights_by_hand(config, expected):
    weights = step_weights(HorizonWeights(**config), torch.zeros(1, 1, 4))
    torch.testing.assert_close(weights, torch.tensor(expected))


@pytest.mark.parametrize(("kind", "steps"), [("uniform", 4), ("linear", 1), ("exponential", 1)])
def test_equal_weights_are_none(kind, steps):
    assert step_weights(HorizonWeights(kind=kind), torch.zeros(1, 1, steps)) is None


@pytest.fixture
def inputs(made, passed):
    """Two windows of four steps with random forecasts; of the first, one step is unknown."""
    torch.manual_seed(0)
    student, teacher = made(torch.randn(2, 3, 4), LEVELS), made(torch.randn(2, 3, 4).sort(1).values, LEVELS)
    student.values.requires_grad_()
    truth = torch.randn(2, 4)
    truth[0, 1] = NAN
    return passed(student, teacher, truth)


def one_hot(step: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(step), 4).float()


@pytest.mark.parametrize("name", STEPWISE)
def test_every_term_is_the_weighted_mean_of_its_steps(inputs, name):
    term, values = find_term(name)(), inputs.student.forecast.values
    weights = torch.tensor([4.0, 2.0, 1.0, 0.5])
    steps = torch.stack([term(replace(inputs, step_weights=one_hot(step))) for step in range(4)], dim=1)
    assert steps[0, 1].isnan().item() == (not term.requires), "an unknown step has no loss on the truth"
    counted = torch.where(steps.isnan(), 0.0, weights)
    expected = (steps.nan_to_num() * counted).sum(dim=1) / counted.sum(dim=1)
    found = term(replace(inputs, step_weights=weights))
    torch.testing.assert_close(found, expected)
    # the same weights in another unit change nothing; equal weights are those of no weights
    torch.testing.assert_close(term(replace(inputs, step_weights=7 * weights)), found)
    torch.testing.assert_close(term(replace(inputs, step_weights=torch.full((4,), 0.2))), term(inputs))
    gradient, even = (torch.autograd.grad(loss.sum(), values)[0] for loss in (found, term(inputs)))
    size, share = even.abs().sum(dim=1), weights / counted.sum(dim=1, keepdim=True)
    counts = (counted > 0).sum(dim=1, keepdim=True)
    torch.testing.assert_close(gradient.abs().sum(dim=1), size * share * counts)
    assert (size > 0).sum() == (8 if term.requires else 7)


@pytest.mark.parametrize("name", STEPWISE)
def test_the_recipe_key_reaches_the_gradient(inputs, name):
    side = "soft" if find_term(name).requires else "hard"
    settings: dict[str, Any] = {"alpha": 1.0 if side == "soft" else 0.0, side: name}
    even, early = (
        Objective(ForecastObjective(**settings, horizon_weights=HorizonWeights.model_validate(weights)))
        for weights in ({}, {"kind": "exponential", "tau": 8.0})
    )
    values = inputs.student.forecast.values
    shares = []
    for objective in (even, early):
        (gradient,) = torch.autograd.grad(objective(inputs)[0], values)
        shares.append((gradient[1, :, 0].abs().sum() / gradient[1].abs().sum()).item())
    assert shares[1] > 0.6 > shares[0] * 1.2
