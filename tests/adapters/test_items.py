"""Items of any library are forecast by any predictor: units, covariates, series that cannot be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from last_value import Last

import potstill
from potstill.adapters.items import Item, ItemForecaster
from potstill.errors import NotFinite, UserError
from potstill.types import Windows


def items(*rows: list[float]) -> list[Item]:
    return [Item(f"item {place}", np.array([row], float)) for place, row in enumerate(rows)]


def test_series_of_different_lengths_are_aligned_at_their_end():
    model = Last()
    found = ItemForecaster(model, 2, [0.1, 0.5, 0.9]).forecast(items([1, 2, 3], list(range(20)), [5]))
    np.testing.assert_allclose(found.quantiles[:, 0, 1], [[3, 3], [19, 19], [5, 5]])
    np.testing.assert_allclose(found.quantiles[0, 0, :, 0], [2, 3, 4])
    np.testing.assert_allclose(found.mean[:, 0], [[3, 3], [19, 19], [5, 5]])
    assert model.asked[0].shape == (3, 8)  # the model's longest context
    assert model.asked[0][2].isnan().sum() == 7


def test_levels_between_those_of_the_model_are_interpolated():
    found = ItemForecaster(Last(), 1, [0.9, 0.3]).forecast(items([1, 2]))
    np.testing.assert_allclose(found.quantiles[0, 0, :, 0], [1.5, 3], atol=1e-6)


def test_levels_beyond_those_of_the_model_are_said():
    with pytest.warns(UserWarning, match=r"levels 0\.1 to 0\.9; beyond"):
        ItemForecaster(Last(), 1, [0.05])


def test_a_small_signal_on_a_large_level_is_kept():
    found = ItemForecaster(Last(), 1, [0.5]).forecast(items([2e9, 2e9 + 1, 2e9 + 2, 2e9 + 3.25]))
    assert found.quantiles.item() == 2e9 + 3.25
    assert found.mean.item() == 2e9 + 3.25


def test_a_series_without_a_value_in_the_context_repeats_its_last_value():
    with pytest.warns(UserWarning, match=r"cannot forecast 1 series, such as item 1 \(no value in the last 8"):
        found = ItemForecaster(Last(), 2, [0.5]).forecast(items([1, 2], [4, 7] + [np.nan] * 8))
    np.testing.assert_allclose(found.quantiles[:, 0, 0], [[2, 2], [7, 7]])


def test_a_series_without_any_value_has_missing_forecasts():
    with pytest.warns(UserWarning, match="1 series have no value, such as item 0"):
        found = ItemForecaster(Last(), 2, [0.5]).forecast(items([np.nan, np.inf], [3]))
    assert np.isnan(found.quantiles[0]).all()
    np.testing.assert_allclose(found.quantiles[1, 0, 0], [3, 3])


def test_a_forecast_that_is_not_finite_is_replaced_and_all_of_them_are_an_error():
    with pytest.warns(UserWarning, match="cannot forecast 1 series, such as item 1"):
        found = ItemForecaster(Last(broken=6), 2, [0.5]).forecast(items([1, 2], [5, 6], [3]))
    np.testing.assert_allclose(found.quantiles[:, 0, 0, 0], [2, 6, 3])
    with pytest.raises(NotFinite):
        ItemForecaster(Last(broken=6), 2, [0.5]).forecast(items([5, 6]))


def test_series_of_an_item_and_its_covariates_reach_a_model_that_can_use_them(tiny_teacher):
    """The same windows by hand; each of groups, past and known covariates changes the forecast."""
    model = potstill.load(tiny_teacher)
    rng = np.random.default_rng(0)
    target, past, known = rng.normal(size=(2, 50)), rng.normal(size=(1, 50)), rng.normal(size=(1, 58))
    found = ItemForecaster(model, 8, [0.5]).forecast([Item("a", target, past, known)])
    empty = torch.full((1, 1, 58), torch.nan)
    windows = Windows.of_context(
        torch.tensor(target).float(),
        8,
        group=torch.zeros(2, dtype=torch.int64),
        past_covariates=torch.cat([torch.tensor(past)[None].float(), empty[..., :50]]),
        future_covariates=torch.cat([torch.tensor(known)[None].float(), empty]),
    )
    expected = model.predict(windows, 8, quantiles=[0.5]).quantiles[:, 0]
    np.testing.assert_allclose(found.quantiles[0, :, 0], expected, rtol=1e-5, atol=1e-6)
    for other in (Item("a", target, past), Item("a", target, None, known), Item("a", target[:1], past, known)):
        changed = ItemForecaster(model, 8, [0.5]).forecast([other]).quantiles[0, 0]
        assert not np.allclose(changed, found.quantiles[0, 0], rtol=1e-4)


@pytest.mark.parametrize(("past", "known", "said"), [((1, 3), None, "past"), (None, (1, 4), "known")])
def test_covariates_of_another_length_are_refused(past: Any, known: Any, said: str):
    given = [None if shape is None else np.zeros(shape) for shape in (past, known)]
    with pytest.raises(UserError, match=f"a: its {said} covariates have") as error:
        ItemForecaster(Last(), 2, [0.5]).forecast([Item("a", np.zeros((1, 4)), *given)])
    assert error.value.key == "adapter.covariate_length"


def test_what_does_not_forecast_is_refused():
    with pytest.raises(UserError, match="a dict has no 'predict'"):
        ItemForecaster({}, 2, [0.5])
    with pytest.raises(UserError, match="between 0 and 1"):
        ItemForecaster(Last(), 2, [1.5])
