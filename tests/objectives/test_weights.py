"""What moves weight: a schedule of α, the gate, and weights of the steps ahead."""

from __future__ import annotations

import math

import pytest
import torch
from usage_errors import usage_error

from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective, HorizonWeights, Recipe
from potstill.types import Forecast, Output, Windows

NAN = math.nan


def test_alpha_follows_its_schedule():
    linear = Objective(ForecastObjective(alpha=0.8, alpha_end=0.2))
    assert [linear.alpha(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.8, 0.5, 0.2])
    cosine = Objective(ForecastObjective(alpha=0.8, alpha_end=0.2, alpha_schedule="cosine"))
    assert [cosine.alpha(p) for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(
        [0.8, 0.8 - 0.6 * (1 - math.cos(math.pi / 4)) / 2, 0.5, 0.2]
    )
    assert Objective(ForecastObjective(alpha=0.8)).alpha(0.7) == 0.8


def inputs_of(soft: list[float], hard: list[float], backtest: list[float] | None = None) -> LossInputs:
    """Windows of a median at 0: the distances of the teacher's median and of the truth are the terms' losses."""
    count = len(soft)
    one, level = torch.ones(count, 1).double(), torch.tensor([0.5])

    def forecast(values):
        return Forecast(level, torch.tensor(values)[:, None, None].expand(count, 1, 4), 0 * one, one)

    batch = Windows.of_context(torch.zeros(count, 8), 4)
    batch.future[:] = torch.tensor(hard)[:, None]
    teacher = Output(forecast(soft), backtest=None if backtest is None else torch.tensor(backtest))
    return LossInputs(batch, Output(forecast([0.0] * count)), {"t": teacher})


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_the_total_uses_the_alpha_of_its_step(progress):
    objective = Objective(ForecastObjective(alpha=1.0, alpha_end=0.2, soft="quantile_match"))
    total, terms = objective(inputs_of([2.0], [10.0]), progress=progress)
    alpha = 1 - 0.8 * progress
    assert total.item() == pytest.approx(alpha * 2 + (1 - alpha) * 10)
    assert set(terms) == {"quantile_match", "pinball"}  # both have a weight at some step
    assert objective.requires == {"forecast"}


def test_the_control_has_no_schedule():
    from potstill.tasks.base import objective_config

    recipe = Recipe.lay_over({"objective": {"alpha": 0.8, "alpha_end": 0.3}}, {})
    control = Objective(objective_config(recipe, 0.0))
    assert [control.alpha(p) for p in (0.0, 1.0)] == [0, 0]
    assert not control.requires


def test_the_gate_relies_on_the_truth_where_the_teacher_loses_its_backtest():
    objective = Objective(ForecastObjective(alpha=0.75, soft="quantile_match", gate=True))
    total, terms = objective(inputs_of([2.0, 3.0, 4.0], [1.0, 5.0, 6.0], [0.5, 1.5, NAN]))
    # the second window: the hard term alone; a backtest of NaN says nothing against the teacher
    expected = (0.75 * 2 + 0.25 * 1 + 5 + 0.75 * 4 + 0.25 * 6) / 3
    assert total.item() == pytest.approx(expected)
    assert terms["gated"].item() == pytest.approx(1 / 3)
    assert objective.gate_steps(96) == 96
    assert Objective(ForecastObjective(gate=24)).gate_steps(96) == 24
    assert Objective(ForecastObjective()).gate_steps(96) == 0


def test_the_gate_needs_a_teacher_to_have_an_effect():
    assert Objective(ForecastObjective(alpha=0.0, gate=True)).gate_steps(96) == 0
    with usage_error("objective.gate_with_rollout"):
        Recipe.lay_over({"objective": {"gate": True}, "training": {"rollout": {"share": 0.5}}}, {})


@pytest.mark.parametrize(
    ("weights", "factors"),
    [
        ({"kind": "linear"}, [1, 0.75, 0.5, 0.25]),
        ({"kind": "exponential", "tau": 3.0}, [math.exp(-k) for k in range(4)]),
        ({"kind": "exponential", "tau": -3.0}, [math.exp(k) for k in range(4)]),
    ],
)
@pytest.mark.parametrize("soft", ["quantile_match", "expected_pinball", "soft_median", "huber_match"])
def test_weights_of_the_steps_ahead(weights, factors, soft):
    """Losses 1 to 4 at steps 1 to 4, weighted and normalised; an unknown step does not change the others' ratio."""
    truth = torch.tensor([1.0, 2.0, NAN, 4.0])
    inputs = inputs_of([0.0], [0.0])
    inputs.windows.future[0] = truth
    hard = Objective(ForecastObjective(alpha=0.0, horizon_weights=HorizonWeights(**weights)))
    known = [0, 1, 3]
    expected = sum(factors[k] * float(truth[k]) for k in known) / sum(factors[k] for k in known)
    assert hard(inputs)[0].item() == pytest.approx(expected, rel=1e-5)

    inputs.teachers["t"].answer.values = torch.arange(1.0, 5.0)[None, None]
    config = {"alpha": 1.0, "soft": soft}
    uniform = Objective(ForecastObjective(**config))
    weighted = Objective(ForecastObjective(**config, horizon_weights=HorizonWeights(**weights)))
    each = []
    for step in range(4):  # the loss of each step alone
        alone = inputs_of([step + 1.0], [0.0])
        each.append(uniform(alone)[0].item())
    expected = sum(f * loss for f, loss in zip(factors, each, strict=True)) / sum(factors)
    assert weighted(inputs)[0].item() == pytest.approx(expected, rel=1e-5)
