"""Weights of an ensemble's models: fixed, by data set, and by recent skill."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from potstill.families.ensemble import Ensemble
from potstill.families.load import load_forecaster
from potstill.families.weighting import FixedWeights, RecentSkill, recent_loss
from potstill.types import Forecast, Output, Windows


class Constant:
    """A forecaster of one level that always forecasts a value; remembers what it read."""

    max_horizon, max_context = 8, 64

    def __init__(self, value: float):
        self.value = value

    def forward(self, windows, request):
        self.windows, self.request = windows, request
        rows = len(windows)
        one = torch.ones(rows, 1).double()
        values = torch.full((rows, 1, request.horizon), self.value)
        return Output(Forecast(torch.tensor([0.5]), values, 0 * one, one))


def windows(contexts: list[list[float]], dataset: list[int] | None = None) -> Windows:
    batch = Windows.of_context(torch.tensor(contexts), 4)
    batch.dataset = None if dataset is None else torch.tensor(dataset)
    return batch


def test_weights_by_data_set_and_for_generated_windows():
    weights = FixedWeights([1.0, 2.0], {0: [3.0, 0.0], 2: [0.0, 5.0]})
    found = weights.of(windows([[0.0]] * 5, [0, 1, 2, 7, -1]))
    assert found.tolist() == [[3.0, 1.0, 0.0, 1.0, 1.0], [0.0, 2.0, 5.0, 2.0, 2.0]]
    assert weights.of(windows([[0.0]])).tolist() == [1.0, 2.0]  # a context of a user has no data set
    assert FixedWeights([1.0, 2.0]).of(windows([[0.0]], [0])).tolist() == [1.0, 2.0]


def test_the_recent_loss_is_the_pinball_loss_on_the_newest_steps():
    model = Constant(1.0)
    context = [[0.0] * 8 + [1.0, 2.0, 3.0, torch.nan, 4.0, 6.0], [5.0] * 10 + [1.0] * 4]
    loss = recent_loss(cast("Any", model), windows(context), steps=6)
    assert model.windows.context.isnan().sum(dim=1).tolist() == [6, 6]
    assert model.request.horizon == 6
    # errors 0, 1, 2, 3, 5 of five known steps; 4, 4, 0, 0, 0, 0 of six
    torch.testing.assert_close(loss, torch.tensor([11 / 5, 8 / 6]))


def test_the_better_model_weighs_more_where_it_is_better():
    models: list[Any] = [Constant(0.0), Constant(10.0)]
    context = windows([[0.0] * 8 + [1.0] * 4, [0.0] * 8 + [9.0] * 4, [torch.nan] * 8 + [1.0] * 4])
    weights = RecentSkill(models, steps=4).of(context)
    shares = weights / weights.sum(0)
    torch.testing.assert_close(shares[0, :2], torch.tensor([81 / 82, 1 / 82]))  # losses 1 and 9: 1 / loss²
    assert weights[:, 2].tolist() == [1.0, 1.0]  # nothing is known before


def test_a_perfect_model_has_a_finite_weight():
    models: list[Any] = [Constant(1.0), Constant(3.0)]
    weights = RecentSkill(models, steps=4).of(windows([[0.0] * 8 + [1.0] * 4]))
    assert weights.isfinite().all()
    assert weights[0] > 1000 * weights[1]


@pytest.fixture
def both(tiny_teacher, tiny_bolt):
    return {"chronos": load_forecaster(tiny_teacher), "bolt": load_forecaster(tiny_bolt)}


def test_an_ensemble_uses_the_weights_of_each_window(both, contexts):
    batch = Windows.of_context(contexts[:4], 20)
    batch.dataset = torch.tensor([0, 1, 1, 0])
    together = Ensemble(both, FixedWeights([1.0, 1.0], {0: [1.0, 0.0]})).predict(batch, 20)
    first = both["chronos"].predict(batch, 20)
    # at_levels sorts
    torch.testing.assert_close(together.values[[0, 3]], first.values[[0, 3]].sort(dim=1).values)
    assert (together.values[1] - first.values[1].sort(dim=0).values).abs().max() > 1e-3
    recent = Ensemble(both, RecentSkill(list(both.values()), 16)).predict(batch, 20)
    assert recent.values.isfinite().all()


def test_the_fingerprint_covers_models_and_weights(both):
    prints = [
        Ensemble(both).fingerprint,
        Ensemble(both, [1.0, 2.0]).fingerprint,
        Ensemble(both, FixedWeights([1.0, 1.0], {0: [1.0, 0.0]})).fingerprint,
        Ensemble(dict(reversed(both.items()))).fingerprint,
        Ensemble(both, RecentSkill(list(both.values()), 8)).fingerprint,
    ]
    assert len(set(prints)) == 5
    assert Ensemble(both, [1.0, 1.0]).fingerprint == prints[0]
