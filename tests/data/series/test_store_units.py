"""Every series keeps its relative precision in float32, and nothing that varies is called constant."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.data.series.opening import store_from_frame
from potstill.data.series.store import Store
from potstill.data.series.store_units import in_store_units, only_rounding_errors
from potstill.data.series.windows import SeriesWindows
from potstill.recipe import SeriesData

STEPS = np.arange(240)
WAVE = 3 * np.sin(2 * np.pi * STEPS / 24) + np.random.default_rng(0).normal(size=240)


def store_of(tmp_path, **columns) -> Store:
    index = pd.date_range("2024-01-01", periods=len(next(iter(columns.values()))), freq="h")
    return store_from_frame(pd.DataFrame(columns, index=index), SeriesData(), tmp_path)


def restored(x: np.ndarray) -> np.ndarray:
    values, loc, scale = in_store_units(x)
    assert values.dtype == np.float32
    assert np.log2(scale) % 1 == 0
    return loc + scale * values.astype(np.float64)


@pytest.mark.parametrize("level", [0, 1, -300, 1e4])
@pytest.mark.parametrize("factor", [1e-5, 1, 1e6])
def test_ordinary_series_are_kept_bit_by_bit(level, factor):
    x = factor * (WAVE + level)
    values, loc, scale = in_store_units(x)
    assert (loc, scale) == (0, 1)
    assert np.array_equal(values, x.astype(np.float32))


@given(power=st.integers(-140, 140), level=st.floats(-1e9, 1e9), seed=st.integers(0, 99))
def test_a_signal_survives_on_any_level_and_in_any_unit(power, level, seed):
    signal = np.random.default_rng(seed).normal(size=100).cumsum()
    x = 10.0**power * (signal + level)
    change = np.median(np.abs(np.diff(x)))
    assert np.abs(restored(x) - x).max() < 0.0011 * change


def test_a_signal_of_3_on_2e9_is_kept_to_a_millionth():
    x = 2e9 + WAVE
    assert np.abs(restored(x) - x).max() < 1e-6


def test_whole_numbers_near_the_limit_of_float64_are_exact():
    x = 2.0**52 + STEPS % 5
    assert np.array_equal(restored(x), x)


def test_dropouts_to_zero_do_not_hide_a_signal():
    x = 2e9 + WAVE
    x[::50] = 0
    found = restored(x)
    assert np.abs(found - x)[x != 0].max() < 1e-6
    assert np.abs(found[::50]).max() < 100  # 5e-8 of the level


def test_growing_series_keep_their_zero():
    x = 1e6 * np.arange(1, 1000.0)
    assert in_store_units(x)[1:] == (0, 1)


@pytest.mark.parametrize("value", [0.1, 2e9 + 0.3, 1e-300, -4e120])
def test_a_constant_is_kept_exactly(tmp_path, value):
    store = store_of(tmp_path, y=np.full(50, value), wave=WAVE[:50])
    assert store.skip == ["constant", ""]
    assert (store.to_input_units(0, store.series(0)) == value).all()


@pytest.mark.parametrize("factor", [1e-140, 1e-60, 1e-12, 1.0, 1e20, 1e60, 1e140])
@pytest.mark.parametrize("level", [0.0, 2e9])
def test_nothing_that_varies_is_called_constant(tmp_path, factor, level):
    x = factor * (WAVE + level)
    x[7] = np.nan
    store = store_of(tmp_path, y=x)
    assert store.skip == [""]
    assert store.report.repaired == {}
    back = store.to_input_units(0, store.series(0))
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-6 * factor)


def test_rounding_errors_are_no_changes_unless_they_are_whole_numbers():
    assert only_rounding_errors(np.array([0.3, 0.1 + 0.2, np.nan]))
    assert not only_rounding_errors(np.array([0.3, 0.3]))
    assert not only_rounding_errors(np.array([1e6, 1e6 + 1e-8]))
    assert not only_rounding_errors(2.0**52 + np.array([0.0, 1.0]))


def test_windows_and_forecasts_go_back_to_input_units(tmp_path):
    store = store_of(tmp_path, plain=WAVE, high=2e9 + WAVE, tiny=1e-12 * WAVE)
    windows = SeriesWindows(store, SeriesData(context_length=24, prediction_length=6, split="8:1:1"), "test")
    batch = windows.batch(np.arange(len(windows)))
    series, origin = batch.series.numpy(), batch.origin.numpy()
    assert set(series) == {0, 1, 2}
    truth = store.to_input_units(series, batch.future.numpy())
    columns = np.stack([WAVE, 2e9 + WAVE, 1e-12 * WAVE])
    wanted = columns[series[:, None], origin[:, None] + np.arange(6)]
    assert (np.abs(truth - wanted) < np.array([1e-6, 1e-6, 1e-18])[series, None]).all()
    quantiles = np.repeat(batch.future.numpy()[:, None], 9, axis=1)
    np.testing.assert_array_equal(store.to_input_units(series, quantiles)[:, 4], truth)


def test_the_fingerprint_changes_only_where_the_windows_do(tmp_path):
    """Labels of a store from before offsets and scales existed are used again, unless their windows have others now."""
    from potstill.data import fingerprints
    from potstill.data.series.in_memory import table_of
    from potstill.data.series.opening import _options
    from potstill.data.series.sheet import index_columns

    index = pd.date_range("2024-01-01", periods=240, freq="h")
    for column, changed in ((WAVE, False), (2e9 + WAVE, True), (np.full(240, 0.1), False)):
        frame = pd.DataFrame({"wave": WAVE, "y": column}, index=index)
        table = table_of(frame, "frame")
        settings = {**_options(SeriesData()), "name": "frame", "index": index_columns(table)}
        before = fingerprints.of_table(table, settings)
        assert (store_from_frame(frame, SeriesData(), tmp_path).fingerprint != before) is changed
