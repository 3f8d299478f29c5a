"""The default horizon fits the step of the series and what every part of the split can hold."""

from __future__ import annotations

import numpy as np
import pytest
from store_files import store_of

from potstill.data.series.windows import SeriesWindows, longest_horizons
from potstill.recipe import DeviceData, SeriesData
from potstill.tasks.horizon import default_horizon, steps_ahead
from potstill.tasks.lengths import fit_lengths


def noise(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).normal(size=rows)


def chosen(rows: list[int], frequency: str = "h", **data) -> int:
    """The default horizon of series of one data set."""
    return default_horizon(store_of([noise(n) for n in rows], frequency), SeriesData(**data))[0]


@pytest.mark.parametrize(
    ("alias", "steps"),
    [
        ("h", (24, 48)), ("2h", (12, 24)), ("6h", (8, 8)), ("30min", (48, 96)), ("5min", (96, 96)), ("s", (96, 96)),
        ("D", (14, 28)), ("7D", (2, 4)), ("B", (10, 20)), ("W-SUN", (8, 13)), ("MS", (12, 12)), ("ME", (12, 12)),
        ("BME", (12, 12)), ("3MS", (4, 4)), ("QS", (8, 8)), ("BQE-DEC", (8, 8)), ("YE", (5, 5)), ("BYS", (5, 5)),
        ("WOM-3FRI", (12, 12)), ("WOM-2MON", (12, 12)), ("LWOM-FRI", (12, 12)),
    ],
)  # fmt: skip
def test_the_range_follows_the_step(alias, steps):
    assert steps_ahead(alias, 1) == steps


def test_without_dates_the_season_decides():
    assert steps_ahead("", 12) == (12, 24)
    assert steps_ahead("", 1) == steps_ahead("", 365) == (24, 48)


@pytest.mark.parametrize(
    ("rows", "horizon"),
    [
        (10_000, 48),
        (670, 48),  # 67 rows to test on: 20 windows of 48 steps
        (600, 41),  # 60 rows: 20 windows
        (400, 24),  # 40 rows
        (200, 20),  # 20 rows: all that the part can hold
        (60, 6),
    ],
)
def test_the_horizon_leaves_windows_and_fits_every_part(rows, horizon):
    assert chosen([rows]) == horizon


def test_most_series_decide_and_the_shortest_data_set():
    assert chosen([2000] * 19 + [100]) == 48
    assert chosen([2000] * 8 + [100] * 2) == 10
    store = store_of([noise(5000), noise(150)], "h", ["a", "b"])
    assert default_horizon(store, SeriesData())[0] == 15


def test_the_split_counts():
    assert chosen([400], split="6:2:2") == 48
    assert chosen([400], split="90:5:5") == 20


@pytest.mark.parametrize("split", ["8:1:1", "5:4:1", "2:49:49", "1:1:1"])
@pytest.mark.parametrize("context", [4, 16, 50, 720])
@pytest.mark.parametrize("rows", [30, 61, 180, 999])
def test_the_longest_horizon_is_the_last_with_a_window(split, context, rows):
    store = store_of([noise(rows)], "h")
    longest = longest_horizons(store, split, context)[:, 0]
    for part, horizon in zip(("train", "validation", "test"), longest.tolist(), strict=True):
        for steps, there in ((horizon, True), (horizon + 1, False)):
            if steps > 0:
                data = SeriesData(split=split, context_length=context, prediction_length=steps)
                assert (len(SeriesWindows(store, data, part)) > 0) == there


def test_a_given_horizon_is_kept_and_a_default_is_reported():
    store = store_of([noise(600)], "h")
    assert fit_lengths(SeriesData(prediction_length=7), store, []).prediction_length == 7
    assert not store.report.notes
    assert fit_lengths(SeriesData(), store, []).prediction_length == 41
    assert store.report.notes == ["prediction_length is 41: by default 24 to 48 for steps that are hourly"]
    short = store_of([noise(60)], "h")
    assert fit_lengths(SeriesData(), short, []).prediction_length == 6
    assert short.report.notes[0].endswith("hourly, shortened to what every part of the split can hold")
    assert fit_lengths(SeriesData(device=DeviceData(pool=64)), store, []).prediction_length == 96
