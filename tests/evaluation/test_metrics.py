import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.evaluation.metrics import (
    EVALUATION_LEVELS,
    METRICS,
    WindowScores,
    geometric_mean,
    mape_ignored,
    pinball,
    relative,
    score_windows,
    skill_retention,
    summarise,
)


def spread_forecast(middle, step=1.0):
    """Quantiles middle + step · (-4 … 4)."""
    return np.asarray(middle, float)[:, None, :] + step * np.arange(-4, 5)[None, :, None]


def test_pinball_by_hand():
    loss = pinball(np.array([[[2.0], [5.0]]]), np.array([[4.0]]), np.array([0.1, 0.9]))
    assert loss.ravel() == pytest.approx([0.1 * 2, 0.1 * 1])


def test_every_metric_by_hand():
    # medians 1, 3 and true values 2, 3; quantiles one apart; naive error 2, spread 4
    values = summarise(score_windows(spread_forecast([[1, 3]]), [[2.0, 3.0]], [2.0], [4.0], [5.0]))
    # pinball of y = 2, q = -3 … 5: levels times (5 4 3 2 1 0), then 1 - level times (1 2 3)
    first = (0.1 * 5 + 0.2 * 4 + 0.3 * 3 + 0.4 * 2 + 0.5 * 1 + 0 + 0.3 * 1 + 0.2 * 2 + 0.1 * 3) / 9
    second = 2 * (0.1 * 4 + 0.2 * 3 + 0.3 * 2 + 0.4 * 1) / 9
    assert values["mse_raw"] == pytest.approx(0.5)
    assert values["mae_raw"] == pytest.approx(0.5)
    assert values["rmse_raw"] == pytest.approx(0.5**0.5)
    assert values["mse"] == pytest.approx(0.5 / 16)
    assert values["mae"] == pytest.approx(0.5 / 4)
    assert values["rmse"] == pytest.approx((0.5 / 16) ** 0.5)
    assert values["mape"] == pytest.approx((1 / 2 + 0) / 2)
    assert values["smape"] == pytest.approx((2 / 3 + 0) / 2)
    assert values["mase"] == pytest.approx(0.5 / 2)
    assert values["sql"] == pytest.approx(2 * (first + second) / 2 / 2)
    assert values["wql"] == pytest.approx(2 * (first + second) / 5)
    assert values["wape"] == pytest.approx(1 / 5)
    assert values["rmsse"] == pytest.approx((0.5 / 5) ** 0.5)
    assert values["bias"] == pytest.approx((-1 + 0) / 2 / 2)
    assert values["coverage_80"] == 1.0
    assert set(values) == set(METRICS)


def test_missing_true_values_are_ignored():
    whole = score_windows(spread_forecast([[1, 3]]), [[2.0, 3.0]], [2.0], [4.0], [5.0])
    masked = score_windows(spread_forecast([[1, 100, 3]]), [[2.0, np.nan, 3.0]], [2.0], [4.0], [5.0])
    assert summarise(masked) == pytest.approx(summarise(whole))


def test_mape_ignores_tiny_true_values_and_reports_their_share():
    scores = score_windows(spread_forecast([[1, 3]]), [[1e-9, 2.0]], [1.0], [1.0])
    assert summarise(scores)["mape"] == pytest.approx(0.5)
    assert mape_ignored(scores) == pytest.approx(0.5)


def test_a_series_without_spread_does_not_affect_standardised_metrics():
    scores = score_windows(spread_forecast([[1], [3]]), [[2.0], [5.0]], [1.0, 1.0], [0.0, 2.0])
    assert summarise(scores)["mse"] == pytest.approx(4 / 4)
    assert summarise(scores)["mse_raw"] == pytest.approx((1 + 4) / 2)


def test_a_perfect_forecast_scores_zero():
    values = summarise(score_windows(spread_forecast([[2, 3]], step=0), [[2.0, 3.0]], [1.0], [1.0], [1.0]))
    assert all(values[name] == 0 for name in METRICS if name != "coverage_80")
    assert values["coverage_80"] == 1


def test_relative_divides_and_returns_nan_for_zero():
    one: dict[str, float] = dict.fromkeys(METRICS, 3.0)
    other: dict[str, float] = dict.fromkeys(METRICS, 2.0) | {"mape": 0.0}
    found = relative(one, other, "rel_naive")
    assert "bias_rel_naive" not in found  # a signed number has no meaningful ratio
    assert found["sql_rel_naive"] == 1.5
    assert np.isnan(found["mape_rel_naive"])


def test_retention_figures():
    assert skill_retention(0.8, 0.75) == pytest.approx(0.8)
    assert np.isnan(skill_retention(0.8, 1.0))
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0)
    assert np.isnan(geometric_mean([]))
    assert np.isnan(geometric_mean([1.0, float("nan")]))


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 1000), st.floats(0.01, 1000))
def test_scaled_metrics_do_not_depend_on_units(windows, horizon, seed, unit):
    rng = np.random.default_rng(seed)
    truth = rng.normal(5, 1, (windows, horizon))
    quantiles = np.sort(rng.normal(5, 1, (windows, len(EVALUATION_LEVELS), horizon)), axis=1)
    scale, spread = rng.uniform(0.5, 2, windows), rng.uniform(0.5, 2, windows)
    plain = summarise(score_windows(quantiles, truth, scale, spread, scale**2))
    other = summarise(score_windows(quantiles * unit, truth * unit, scale * unit, spread * unit, (scale * unit) ** 2))
    for name in METRICS:
        if not name.endswith("_raw"):
            assert other[name] == pytest.approx(plain[name])


@given(st.integers(2, 8), st.integers(0, 1000))
def test_batches_join_to_the_same_metrics(windows, seed):
    rng = np.random.default_rng(seed)
    truth, quantiles = rng.normal(size=(windows, 3)), np.sort(rng.normal(size=(windows, 9, 3)), axis=1)
    scale, spread = rng.uniform(0.5, 2, windows), rng.uniform(0.5, 2, windows)
    cut = int(rng.integers(1, windows))
    column = rng.integers(0, 2, windows)
    parts = [
        score_windows(quantiles[s], truth[s], scale[s], spread[s], scale[s], column[s])
        for s in (slice(cut), slice(cut, None))
    ]
    whole = score_windows(quantiles, truth, scale, spread, scale, column)
    assert summarise(WindowScores.join(parts)) == pytest.approx(summarise(whole))
    assert summarise(whole.take(np.arange(cut))) == pytest.approx(summarise(parts[0]))
