"""Intervals whose width follows the last errors of a series."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from eval_fakes import FakeStore, FakeWindows

from potstill.data.series.from_argument import store_of
from potstill.data.series.past_windows import windows_before
from potstill.errors import NotFinite
from potstill.evaluation.calibrated import Calibrated
from potstill.evaluation.validation import Validation
from potstill.types import Forecast

LEVELS = torch.tensor([0.1, 0.5, 0.9])


class Band:
    """Forecasts 0, with a band of the same width on either side; remembers the contexts."""

    levels, max_context, max_horizon = LEVELS, 100, 100

    def __init__(self, width: float, broken: float | None = None):
        self.width, self.broken, self.contexts = width, broken, []

    def predict(self, windows, prediction_length):
        self.contexts.append(windows.context)
        bad = [row for row, context in enumerate(windows.context) if self.broken in context[-1:].tolist()]
        if bad:
            raise NotFinite("band", bad, len(windows))
        values = torch.tensor([-1.0, 0.0, 1.0])[None, :, None].expand(len(windows), 3, prediction_length)
        unit = torch.ones(len(windows), 1, dtype=torch.float64)
        return Forecast(LEVELS, values * self.width, 0 * unit, unit)


def store(*series):
    frame = pd.concat(
        [pd.DataFrame({"unique_id": f"s{i}", "y": np.asarray(one, float)}) for i, one in enumerate(series)]
    )
    frame["ds"] = np.concatenate([np.arange(len(one)) for one in series])
    return store_of(frame)[0]


def at_end(store, horizon: int):
    return windows_before(store, list(range(len(store))), store.lengths, 100, horizon)


def widths(forecast: Forecast) -> np.ndarray:
    return forecast.values[:, 2, 0].numpy()


QUIET = np.resize([0.5, -0.5, 0.25], 60)
# before the last 5 steps: errors of 1 to 5, of which 4 is at least as large as 80 %
LAST = [*QUIET, 1, -2, 3, -4, 5]


def test_the_factor_is_the_quantile_of_the_past_errors():
    some = store(LAST)
    model, windows = Calibrated(Band(2.0), some, 1), at_end(some, 5)
    forecast, factors = model.predict(windows, 5), model.factors(windows, 5)
    # 4 of the band's half width of 2: twice as wide, of which one past horizon gives the root
    assert factors == pytest.approx([2**0.5])
    assert forecast.values[0, :, 0].tolist() == pytest.approx([-2 * 2**0.5, 0, 2 * 2**0.5])


def test_more_horizons_count_more_than_the_prior():
    some = store(np.resize([4.0, -4.0, 1.0, 4.0], 80))
    found = {n: Calibrated(Band(2.0), some, n).factors(at_end(some, 5), 5)[0] for n in (1, 2, 4)}
    assert found == pytest.approx({n: 2 ** (n / (n + 1)) for n in found})


def test_past_contexts_end_before_their_steps_and_keep_their_length():
    some, model = store(np.arange(60.0)), Band(1.0)
    Calibrated(model, some, 3).predict(at_end(some, 8), 8)
    assert sorted(context[0, -1].item() for context in model.contexts) == [35, 43, 51, 59]
    assert sorted(context.shape[1] for context in model.contexts) == [36, 44, 52, 60]


def test_evaluated_windows_see_nothing_from_their_origin_on():
    values = np.concatenate([np.full(40, 2.0), np.full(20, 100.0)])
    values[::2] *= -1
    before = store(values[:40])
    whole = store(values)
    windows = windows_before(whole, [0], np.array([40]), 100, 5)
    factors = [Calibrated(Band(1.0), one, 2).factors(windows, 5)[0] for one in (before, whole)]
    assert factors[0] == factors[1] == pytest.approx(2 ** (2 / 3))


def test_a_series_that_is_too_short_keeps_its_intervals():
    some = store(LAST, np.resize([9.0, -9.0], 20))  # 16 rows must be before the past window of 5
    model, windows = Calibrated(Band(2.0), some, 4), at_end(some, 5)
    forecast, factors = model.predict(windows, 5), model.factors(windows, 5)
    assert np.isnan(factors).tolist() == [False, True]
    assert widths(forecast)[1] == 2


def test_a_past_horizon_without_values_does_not_count():
    gap = np.array(LAST)
    gap[-5:] = np.nan
    some = store([*gap[:-5], *LAST[-5:], *gap[-5:], 7.0])
    windows = windows_before(some, [0], np.array([len(LAST) + 5]), 100, 5)
    factors = Calibrated(Band(2.0), some, 2).factors(windows, 5)
    assert factors == pytest.approx([2**0.5])


def test_a_horizon_counts_by_its_known_values():
    some = store([*QUIET, 4, np.nan, np.nan, np.nan, np.nan, *LAST[-5:], 7.0])
    windows = windows_before(some, [0], np.array([len(QUIET) + 10]), 100, 5)
    # 1, 2, 3, 4, 5 and 4: at least 80 % are at most 4; 6 of 5 values are 1.2 horizons
    assert Calibrated(Band(2.0), some, 2).factors(windows, 5) == pytest.approx([2 ** (1.2 / 2.2)])


def test_widths_are_those_in_the_units_of_the_input():
    values = torch.tensor([[0.0, 2.0, 5.0]])[:, :, None]
    loc, scale = torch.tensor([[7.0]], dtype=torch.float64), torch.tensor([[3.0]], dtype=torch.float64)
    forecast = Forecast(LEVELS, values, loc, scale, arcsinh=True)
    low, median, high = forecast.quantiles[0, :, 0].tolist()
    wider = forecast.widened(torch.tensor([2.5])).quantiles[0, :, 0].tolist()
    assert wider == pytest.approx([median + 2.5 * (low - median), median, median + 2.5 * (high - median)], rel=1e-4)
    assert forecast.widened(torch.tensor([1.0])).values.flatten().tolist() == pytest.approx([0, 2, 5], abs=1e-5)


class Arcsinh(Band):
    def predict(self, windows, prediction_length):
        forecast = super().predict(windows, prediction_length)
        return Forecast(forecast.levels, forecast.values.asinh(), forecast.loc, forecast.scale, arcsinh=True)


def test_the_scale_of_the_model_does_not_matter():
    some = store(LAST)
    windows = at_end(some, 5)
    found = [Calibrated(kind(2.0), some, 1).predict(windows, 5).quantiles for kind in (Band, Arcsinh)]
    torch.testing.assert_close(*found)


def test_memory_is_that_of_horizons_which_exist():
    some, shapes = store(LAST), []
    model = Calibrated(Band(2.0), some, 100)
    original = np.full

    def watched(shape, *options):
        shapes.append(shape)
        return original(shape, *options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("potstill.evaluation.calibrated.np.full", watched)
        model.factors(at_end(some, 5), 5)
    assert (1, 9, 5) in shapes  # 16 of the 65 rows must be before a horizon


def test_a_past_forecast_that_is_not_finite_does_not_count():
    some = store(LAST, LAST)
    broken = some.series(0)[len(QUIET) - 1]  # the context of the only past window of both
    factors = Calibrated(Band(2.0, broken=float(broken)), some, 1).factors(at_end(some, 5), 5)
    assert np.isnan(factors).all()


@pytest.mark.parametrize(("known", "counts"), [(15, False), (16, True)])
def test_a_past_horizon_counts_only_if_its_context_has_values(known, counts):
    # the context of the only past horizon reaches back into a gap
    some = store([*QUIET, *[np.nan] * 200, *np.resize(QUIET, known), 1, -2, 3, -4, 5])
    factors = Calibrated(Band(2.0), some, 1).factors(at_end(some, 5), 5)
    assert factors == pytest.approx([2**0.5 if counts else np.nan], nan_ok=True)


@pytest.mark.parametrize(("zeros", "factor"), [(1, 1.0), (0, 0.5)])
def test_intervals_of_intermittent_series_are_not_narrowed(zeros, factor):
    values = np.where(np.arange(60) % 2 < zeros, 0.0, 0.1 * np.cos(np.arange(60)))  # every second value is 0
    some = store(values)
    assert Calibrated(Band(2.0), some, 4).factors(at_end(some, 5), 5) == pytest.approx([factor ** (4 / 5)])


def test_the_factor_is_limited():
    some = store(np.resize([1e6, -1e6], 60), np.resize([0.01, 0.0, -0.01], 60))
    factors = Calibrated(Band(1.0), some, 4).factors(at_end(some, 5), 5)
    assert factors == pytest.approx([3 ** (4 / 5), 0.5 ** (4 / 5)])


def test_each_series_has_about_80_percent_inside():
    rng = np.random.default_rng(0)
    windows: Any = FakeWindows(FakeStore([rng.normal(0, size, 1000) for size in (1, 2)]), 32, 8)
    windows.sample = lambda count, seed: np.arange(len(windows))
    windows.store.completed = lambda batch: batch
    validation = Validation(windows, 1000)

    def inside(model):
        low, _, high, truth = validation.band(model)
        held = ((truth >= low) & (truth <= high)).mean(1)
        return [held[validation.windows.series.numpy() == series].mean() for series in (0, 1)]

    assert inside(Band(1.5)) == pytest.approx([0.87, 0.55], abs=0.06)  # of a normal distribution
    assert inside(Calibrated(Band(1.5), windows.store, 20)) == pytest.approx([0.8, 0.8], abs=0.03)
