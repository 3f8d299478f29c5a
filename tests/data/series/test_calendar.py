"""Time steps, timestamps and seasons."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.data.series.calendar import DAY, HOUR, MINUTE, SECOND, TimeStep, season_of
from potstill.data.series.inference import infer_step
from potstill.data.series.seasons import season


def micros(stamps) -> np.ndarray:
    return np.asarray(stamps).astype("M8[us]").astype(np.int64)


def inferred(stamps) -> tuple[TimeStep, bool]:
    times = micros(stamps)
    return infer_step(times, np.zeros(len(times) - 1, bool))


@pytest.mark.parametrize(
    ("frequency", "alias", "period"),
    [
        ("h", "h", 24),
        ("10min", "10min", 144),
        ("15min", "15min", 96),
        ("5min", "5min", 288),
        ("30min", "30min", 48),
        ("min", "min", 1440),
        ("6h", "6h", 4),
        ("s", "s", 3600),
        ("D", "D", 7),
        ("B", "B", 5),
        ("W-WED", "W-WED", 52),
        ("MS", "MS", 12),
        ("ME", "ME", 12),
        ("QS", "QS", 4),
        ("QE", "QE", 4),
        ("YS", "YS", 1),
        ("YE", "YE", 1),
        ("2D", "2D", None),
        ("7min", "7min", None),
        ("100ms", "100ms", 36_000),
        ("us", "us", 3_600_000_000),
    ],
)
def test_steps_are_recognised_and_timestamps_equal_those_of_pandas(frequency, alias, period):
    stamps = pd.date_range("2019-12-30 00:00:00", periods=120, freq=frequency)
    step, regular = inferred(stamps)
    assert (step.alias, regular) == (alias, True)
    assert TimeStep.parse(alias) == step
    assert season_of(step) == period
    got = step.stamps(int(micros(stamps)[0]), 100, 20)
    np.testing.assert_array_equal(got, stamps[100:].to_numpy().astype("M8[us]"))


@given(
    st.sampled_from([0, 1, 7, 250 * 1000, SECOND, MINUTE, 7 * MINUTE, HOUR, 5 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY])
)
def test_alias_and_parse_are_inverse(size):
    assert TimeStep.parse(TimeStep(micros=size).alias) == TimeStep(micros=size)


def test_day_of_month_and_time_of_day_are_kept():
    stamps = np.array(["2020-01-17T06:00", "2020-02-17T06:00", "2020-03-17T06:00", "2020-04-17T06:00"], "M8[us]")
    step, regular = inferred(stamps)
    assert (step.alias, regular) == ("M-17", True)
    assert step.stamps(int(micros(stamps)[0]), 4, 1)[0] == np.datetime64("2020-05-17T06:00")


def test_gaps_do_not_change_the_step_and_irregular_times_have_none():
    hours = np.delete(np.arange(500), [3, 4, 100, 101, 250]) * HOUR
    assert inferred(hours.astype("M8[us]")) == (TimeStep(micros=HOUR), True)
    irregular = np.cumsum(np.random.default_rng(0).integers(1, 10**9, 300))
    assert inferred(irregular.astype("M8[us]"))[1] is False


def test_a_step_of_a_second_with_jitter_is_a_second():
    jitter = np.arange(300) * 998_500 + np.random.default_rng(0).integers(-900, 900, 300)
    assert inferred(np.sort(jitter).astype("M8[us]")) == (TimeStep(micros=SECOND), True)


def test_without_time_rows_are_numbered():
    assert TimeStep().stamps(0, 5, 3).tolist() == [5, 6, 7]
    assert TimeStep.parse("") == TimeStep()


def daily(weekly: float, yearly: float, years: int = 8) -> np.ndarray:
    t = np.arange(365 * years)
    noise = np.random.default_rng(0).normal(size=len(t))
    return (weekly * (t % 7 >= 5) + yearly * np.sin(2 * np.pi * t / 365) + noise).astype(np.float32)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (daily(3, 3), 7),
        (daily(0, 3), 365),
        (daily(0, 0), 7),
        (daily(3, 0), 7),
        (daily(0, 3, years=2), 7),
    ],
)
def test_daily_series_are_weekly_unless_they_are_clearly_yearly(series, expected):
    assert season(TimeStep(micros=DAY), [series]) == expected


def test_an_unknown_step_takes_the_peak_of_the_autocorrelation():
    t = np.arange(600)
    noise = np.random.default_rng(0).normal(size=600)
    assert season(TimeStep(), [(np.sin(2 * np.pi * t / 30) + 0.2 * noise + 0.01 * t).astype(np.float32)]) == 30
    assert season(TimeStep(), [noise.astype(np.float32)]) == 1
    assert season(TimeStep(), [np.cumsum(noise).astype(np.float32)]) == 1
    assert season(TimeStep(), [np.array([1, 2, np.nan], np.float32)]) == 1
