"""The simple forecasts of ``forecast``; expected values by hand."""

from __future__ import annotations

import numpy as np

from potstill.evaluation.simple import simple_forecast

LEVELS = [0.1, 0.5, 0.9]
Z = 1.2815515655446004


def test_a_season_that_explains_more_is_repeated_in_phase():
    season = np.array([10.0, 20.0, 30.0])
    values = np.concatenate([season, season + 1, season + 2])
    quantiles, mean, what = simple_forecast(values, 3, 0, 5, LEVELS)
    np.testing.assert_allclose(mean, [12, 22, 32, 12, 22])
    # seasonal differences are all 1; the second season ahead has twice the variance
    np.testing.assert_allclose(quantiles[2] - mean, Z * np.sqrt([1, 1, 1, 2, 2]))
    assert what == "the last season of 3 steps is repeated"


def test_missing_steps_before_the_forecast_move_the_phase_and_widen_it():
    season = np.array([10.0, 20.0, 30.0])
    values = np.concatenate([season, season + 1, season + 2])
    all_quantiles, all_mean, _ = simple_forecast(values, 3, 0, 6, LEVELS)
    quantiles, mean, _ = simple_forecast(values, 3, 4, 2, LEVELS)
    np.testing.assert_allclose(mean, all_mean[4:])
    np.testing.assert_allclose(quantiles, all_quantiles[:, 4:])


def test_without_a_season_the_last_value_with_the_differences():
    quantiles, mean, what = simple_forecast(np.array([1.0, 3.0, np.nan, np.nan, np.nan, 7.0]), 7, 0, 2, LEVELS)
    # differences 2 over one step and 4 over four: 2 and 4 / 2 per root of a step
    np.testing.assert_allclose(mean, [7, 7])
    np.testing.assert_allclose(quantiles[0], 7 - Z * 2 * np.sqrt([1, 2]))
    assert what == "the last value is repeated"


def test_one_value_has_no_interval():
    quantiles, _, what = simple_forecast(np.array([5.0]), 7, 2, 2, LEVELS)
    assert (quantiles == 5).all()
    assert what == "the last value is repeated, without an interval"
