"""A regression on known covariates: the linear effect, and forecasts with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from potstill.families.known_regression import linear_effect
from potstill.types import Windows

STEPS, AHEAD, SEASON = 70, 14, 7


def windows(target: np.ndarray, *covariates: np.ndarray) -> Windows:
    return Windows.of_context(
        torch.tensor(target, dtype=torch.float32)[None], AHEAD,
        future_covariates=torch.tensor(np.stack(covariates), dtype=torch.float32)[None],
    )  # fmt: skip


def events(seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(STEPS + AHEAD) < 0.3).astype(float)


def effect(target: np.ndarray, *covariates: np.ndarray, season: int = SEASON) -> np.ndarray:
    return linear_effect(windows(target, *covariates), np.array([season]))[0]


def test_the_effect_on_a_seasonal_series_with_a_level():
    """Without noise ridge regression gives n / (n + 0.5) of the effect, with n differences that are not 0."""
    promo = events()
    wave = 100 + 5 * np.sin(2 * np.pi * np.arange(STEPS) / SEASON)
    found = effect(wave + 40 * promo[:STEPS], promo)
    changes = np.count_nonzero(promo[SEASON:STEPS] != promo[: STEPS - SEASON])
    np.testing.assert_allclose(found, 40 * changes / (changes + 0.5) * (promo - promo.mean()), rtol=1e-4)


def test_two_covariates_of_different_units():
    promo, price = events(), 1e6 + 1e3 * np.random.default_rng(1).standard_normal(STEPS + AHEAD)
    found = effect(40 * promo[:STEPS] - 0.01 * price[:STEPS], promo, price)
    wanted = 40 * (promo - promo.mean()) - 0.01 * (price - price.mean())
    np.testing.assert_allclose(found, wanted, atol=0.07 * np.abs(wanted).max())


def test_a_season_that_the_covariate_shares_is_no_effect():
    weekend = (np.arange(STEPS + AHEAD) % SEASON >= 5).astype(float)
    assert not effect(10 * weekend[:STEPS], weekend).any()
    assert effect(10 * weekend[:STEPS], weekend, season=1).any()


@pytest.mark.parametrize("season", [1, SEASON, STEPS])
def test_missing_values(season):
    promo = events()
    target = 30 + 40 * promo[:STEPS]
    whole = effect(target, promo, season=season)
    target[[3, 20, 21]], gaps = np.nan, promo.copy()
    gaps[[*range(0, STEPS, 9), -2]] = np.nan
    found = effect(target, gaps, season=season)
    missing = np.isnan(gaps)
    assert not found[missing].any(), "a missing covariate counts as its mean"
    np.testing.assert_allclose(np.ptp(found[~missing]), np.ptp(whole), rtol=0.03)
    seldom = np.where(np.arange(STEPS + AHEAD) % 3 == 0, promo, np.nan)
    np.testing.assert_allclose(effect(target, gaps, seldom, season=season), found)


def test_steps_ahead_beyond_the_context_have_the_effect_of_its_limits():
    price = 20 + np.random.default_rng(0).uniform(-1, 1, STEPS + AHEAD)
    price[STEPS:], price[-1] = 30, 1
    found = effect(100 - 2 * price[:STEPS], price)
    low, high = price[:STEPS].argmin(), price[:STEPS].argmax()
    np.testing.assert_allclose(found[[STEPS, -1]], found[[high, low]])


def test_a_column_that_is_known_seldom_does_not_cost_the_others():
    promo = events()
    target = 30 + 40 * promo[:STEPS]
    every_second = np.where(np.arange(STEPS + AHEAD) % 2, promo, np.nan)  # never known a season apart
    np.testing.assert_allclose(effect(target, promo, every_second), effect(target, promo))
    lately = np.where(np.arange(STEPS + AHEAD) < STEPS - 25, np.nan, promo)
    np.testing.assert_allclose(np.ptp(effect(target, lately)), 40, rtol=0.1)


def test_a_target_that_is_known_on_every_second_step():
    promo = events()
    target = np.where(np.arange(STEPS) % 2, 30 + 40 * promo[:STEPS], np.nan)
    np.testing.assert_allclose(np.ptp(effect(target, promo)), 40, rtol=0.1)


def test_more_columns_than_differences():
    promo = events()
    noise = np.random.default_rng(3).standard_normal((40, STEPS + AHEAD))
    assert np.ptp(effect(30 + 40 * promo[:STEPS], promo, *noise)) > 20


def test_padding_of_a_short_history_is_no_cycle():
    promo = events()
    target = 30 + 40 * promo[:STEPS]
    target[:-12] = np.nan  # less than two seasons
    np.testing.assert_allclose(effect(target, promo), effect(target, promo, season=1))
    assert effect(target, promo).any()


def test_without_enough_steps_or_a_change_there_is_no_effect():
    promo = events()
    target = 30 + 40 * promo[:STEPS]
    assert not effect(target, np.full(STEPS + AHEAD, 3.3)).any()
    assert not effect(target, np.full(STEPS + AHEAD, np.nan)).any()
    assert not effect(np.full(STEPS, np.nan), promo).any()
    target[:-5] = np.nan
    assert not effect(target, promo).any()


def test_windows_do_not_depend_on_each_other():
    promo, other = events(), events(1)
    one, two = windows(30 + 40 * promo[:STEPS], promo), windows(np.arange(STEPS) - 7 * other[:STEPS], other)
    both = Windows.of_context(
        torch.cat([one.context, two.context]), AHEAD,
        future_covariates=torch.cat([one.future_covariates, two.future_covariates]),  # pyright: ignore
    )  # fmt: skip
    found = linear_effect(both, np.array([SEASON, 1]))
    np.testing.assert_allclose(found[0], linear_effect(one, np.array([SEASON]))[0])
    np.testing.assert_allclose(found[1], linear_effect(two, np.array([1]))[0])
