"""Ensembles of forecasters: averaged quantile by quantile in one scale."""

from __future__ import annotations

import pytest
import torch

from potstill.families.ensemble import Ensemble, average_forecasts
from potstill.families.load import load_forecaster
from potstill.types import Forecast, Windows


def forecast(raw, levels, loc, scale, arcsinh=False):
    loc, scale = torch.tensor([[loc]], dtype=torch.float64), torch.tensor([[scale]], dtype=torch.float64)
    values = (torch.tensor(raw, dtype=torch.float64)[None, :, None] - loc) / scale
    values = values.asinh() if arcsinh else values
    return Forecast(torch.tensor(levels), values.float(), loc, scale, arcsinh)


def test_different_levels_and_scales_are_aligned():
    first = forecast([10.0, 20.0, 30.0], [0.1, 0.5, 0.9], loc=20.0, scale=5.0)
    second = forecast([20.0, 40.0], [0.1, 0.9], loc=0.0, scale=2.0, arcsinh=False)  # its interpolated median is 30
    mean = average_forecasts([first, second], [3, 1])
    assert mean.loc is first.loc
    expected = torch.tensor([10 * 0.75 + 20 * 0.25, 20 * 0.75 + 30 * 0.25, 30 * 0.75 + 40 * 0.25])
    torch.testing.assert_close(mean.quantiles.flatten(), expected)


def test_the_average_is_taken_in_the_space_of_the_loss():
    first = forecast([10.0, 20.0, 30.0], [0.1, 0.5, 0.9], loc=20.0, scale=5.0, arcsinh=True)
    second = forecast([20.0, 30.0, 40.0], [0.1, 0.5, 0.9], loc=0.0, scale=2.0)
    mean = average_forecasts([first, second])
    assert mean.arcsinh
    expected = torch.tensor([[-2.0, 0.0, 2.0], [0.0, 2.0, 4.0]]).asinh().mean(0)
    torch.testing.assert_close(mean.values.flatten(), expected)


def test_weights_by_window_choose_a_teacher():
    one = Forecast(torch.tensor([0.5]), torch.ones(2, 1, 3), torch.zeros(2, 1).double(), torch.ones(2, 1).double())
    two = Forecast(torch.tensor([0.5]), 3 * torch.ones(2, 1, 3), one.loc, one.scale)
    values = average_forecasts([one, two], torch.tensor([[1.0, 1.0], [0.0, 1.0]])).values
    assert values[0].unique().tolist() == [1.0]
    assert values[1].unique().tolist() == [2.0]
    assert average_forecasts([one, two]).values.unique().tolist() == [2.0]


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0]])
def test_invalid_weights_raise(weights):
    one = Forecast(torch.tensor([0.5]), torch.ones(2, 1, 3), torch.zeros(2, 1).double(), torch.ones(2, 1).double())
    with pytest.raises(ValueError, match="weights"):
        average_forecasts([one, one], weights)


@pytest.fixture
def both(tiny_teacher, tiny_bolt):
    return {"chronos": load_forecaster(tiny_teacher), "bolt": load_forecaster(tiny_bolt)}


def test_an_ensemble_forecasts_the_weighted_average(both, contexts):
    together = Ensemble(both, [1.0, 3.0]).predict(contexts, 20)
    first, second = (model.predict(contexts, 20) for model in both.values())
    torch.testing.assert_close(together.values, average_forecasts([first, second], [1.0, 3.0]).values)
    assert torch.equal(together.levels, both["chronos"].levels)
    alone = Ensemble({"bolt": both["bolt"]}).predict(contexts, 20)
    torch.testing.assert_close(alone.quantiles, second.quantiles)


def test_an_ensemble_has_the_size_of_its_models_and_their_smallest_lengths(both):
    both["chronos"].max_context, both["bolt"].max_horizon = 48, 24
    together = Ensemble(both)
    assert (together.max_context, together.max_horizon) == (48, 24)
    assert together.parameters == sum(model.parameters for model in both.values())
    assert together.bytes == 4 * together.parameters == 4 * together.info.active_parameters
    assert together.info.name == "chronos + bolt"
    assert together.info.signals == {"forecast"}
    assert len(together.info.levels) == 13


def test_an_ensemble_supports_groups_if_all_of_its_models_do(both, contexts):
    assert Ensemble(both).info.group_signals == frozenset()
    one = Ensemble({"chronos": both["chronos"]})
    assert one.info.group_signals == {"forecast"}
    windows = Windows.of_context(contexts[80:84], 20, group=torch.zeros(4, dtype=torch.long))
    moved = one.predict(windows, 20).values - one.predict(windows.context, 20).values
    assert moved.abs().amax(dim=(1, 2)).min() > 1e-3
