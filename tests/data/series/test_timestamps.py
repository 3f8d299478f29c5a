"""Time columns in common formats."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from potstill.data.series.timestamps import read_times


def read(cells):
    return read_times(pa.chunked_array([cells]))


def stamps(times) -> list[str]:
    return [str(t) for t in times.micros.astype("M8[us]").astype("M8[s]")]


@pytest.mark.parametrize(
    "cells",
    [
        ["2024-01-31 00:00:00", "2024-02-01 06:30:00"],
        ["2024-01-31T00:00:00", "2024-02-01T06:30:00"],
        ["2024-01-31", "2024-02-01 06:30"],
        [" 2024-01-31 00:00", "2024-02-01 06:30 "],
        ["2024/01/31 00:00", "2024/02/01 06:30"],
        ["31/01/2024 00:00", "01/02/2024 06:30"],
        ["01/31/2024 00:00", "02/01/2024 06:30"],
        ["31.01.2024 00:00:00", "01.02.2024 06:30:00"],
        ["31.01.24 00:00", "01.02.24 06:30"],
        ["31/01/2024 00.00.00", "01/02/2024 06.30.00"],
        ["01/31/2024 12:00 AM", "02/01/2024 06:30 AM"],
        ["31-Jan-2024 00:00:00", "01-Feb-2024 06:30:00"],
        ["2024-01-31 02:00:00+02:00", "2024-02-01 08:30:00+02:00"],
        ["2024-01-31T00:00:00Z", "2024-02-01T06:30:00Z"],
        ["1706659200", "1706769000"],
        [1706659200000, 1706769000000],
        [1706659200.0, 1706769000.0],
    ],
)
def test_a_timestamp_in_many_formats(cells):
    times = read(cells)
    assert times.sound
    assert stamps(times) == ["2024-01-31T00:00:00", "2024-02-01T06:30:00"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["20240131", "20240201"], ["2024-01-31", "2024-02-01"]),
        ([20240131, 20240201], ["2024-01-31", "2024-02-01"]),
        (["2024-01", "2024-02"], ["2024-01-01", "2024-02-01"]),
        (["Jan 2024", "Feb 2024"], ["2024-01-01", "2024-02-01"]),
        (["1960Q1", "1960Q2"], ["1960-01-01", "1960-04-01"]),
        (["1960 Q3", "1960-Q4"], ["1960-07-01", "1960-10-01"]),
        ([1749, 1750], ["1749-01-01", "1750-01-01"]),
        (["1749", "1750"], ["1749-01-01", "1750-01-01"]),
        ([datetime.date(2024, 1, 31), datetime.date(2024, 2, 1)], ["2024-01-31", "2024-02-01"]),
    ],
)
def test_dates_months_quarters_years(cells, expected):
    times = read(cells)
    assert times.sound
    assert not times.counter
    assert [s[:10] for s in stamps(times)] == expected


def test_an_ambiguous_date_is_read_in_the_order_that_is_regular():
    days = np.arange(np.datetime64("2024-01-01"), np.datetime64("2024-01-13"))
    european = [f"{str(d)[8:]}/{str(d)[5:7]}/{str(d)[:4]}" for d in days]
    american = [f"{str(d)[5:7]}/{str(d)[8:]}/{str(d)[:4]}" for d in days]
    assert stamps(read(european)) == stamps(read(american)) == [f"{d}T00:00:00" for d in days]


def written(stamps: pd.Index, form: str) -> list[str]:
    return [f"{stamp:{form}}" for stamp in stamps]


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%d/%m/%Y %H:%M"])
@pytest.mark.parametrize(
    ("freq", "first", "rows"),
    [("MS", "2015-01-01", 60), ("MS", "2015-03-01", 14), ("QS", "2015-01-01", 24), ("YS", "2001-02-01", 15)],
)
@pytest.mark.parametrize("day", [1, 2, 12])
def test_numeric_dates_are_read_in_the_order_with_a_calendar_step(form, freq, first, rows, day):
    stamps_of = pd.date_range(first, periods=rows, freq=freq) + pd.Timedelta(days=day - 1)
    times = read(written(stamps_of, form))
    swapped = pd.to_datetime([f"{s:%Y}-{s:%d}-{s:%m}" for s in stamps_of])
    if freq == "YS":  # both orders have one timestamp per year
        assert list(times.micros) in ([s.value // 1000 for s in stamps_of], [s.value // 1000 for s in swapped])
        assert times.unsure == (day != stamps_of[0].month)
        return
    assert list(times.micros) == [s.value // 1000 for s in stamps_of]
    assert not times.unsure


@pytest.mark.parametrize("shuffled", [False, True])
def test_the_order_of_dates_does_not_depend_on_the_order_of_rows(shuffled):
    months = pd.date_range("2015-01-01", periods=36, freq="MS")
    cells = written(months, "%d/%m/%Y") * 3 + written(months[5:20], "%d/%m/%Y")
    order = np.random.default_rng(0).permutation(len(cells)) if shuffled else np.arange(len(cells))
    times = read([cells[i] for i in order])
    assert times.order == "day/month"
    assert set(times.micros) == {month.value // 1000 for month in months}


def test_months_with_gaps_are_not_read_as_days():
    months = pd.date_range("2015-01-01", periods=48, freq="MS").delete([3, 4, 17, 30])
    assert list(read(written(months, "%d/%m/%Y")).micros) == [month.value // 1000 for month in months]


def test_dates_that_fit_both_orders_are_marked():
    days = written(pd.date_range("2024-03-01", periods=10), "%d/%m/%Y")
    times = read(days)
    assert (times.order, times.unsure) == ("day/month", True)
    assert not read(written(pd.date_range("2024-03-01", periods=30), "%d/%m/%Y")).unsure
    assert read(["2024-03-01", "2024-03-02"]).order == ""


def test_the_first_unreadable_row_is_found():
    assert read(["2024-01-01", None, "2024-01-03", "soon"]).unreadable == 3
    assert read(["day 1", "day 2"]).unreadable == 0
    assert not read(pa.array([None, None], pa.string())).sound
    assert read(["2024-01-01", None]).valid.tolist() == [True, False]


def test_the_first_row_with_a_different_zone_is_found():
    assert read(["2024-01-01 00:00:00+01:00", "2024-01-01 01:00:00+01:00", "2024-06-01 00:00:00+02:00"]).mixed == 2
    assert read(["2024-01-01 00:00:00+01:00", "2024-01-01 01:00:00"]).mixed == 1
    assert read(["2024-01-01 00:00:00Z"]).zone == "Z"


def test_plain_numbers_are_a_counter():
    times = read(["0", "1", "2"])
    assert times.counter
    assert times.micros.tolist() == [0, 1, 2]
    assert read([0.5, 1.5]).counter


def test_arrow_timestamps_are_utc():
    moment = pa.array([1706659200], pa.timestamp("s", tz="Europe/Berlin"))
    times = read(moment)
    assert stamps(times) == ["2024-01-31T00:00:00"]
    assert times.zone == "Europe/Berlin"
    assert stamps(read(pa.array([1706659200000000000], pa.timestamp("ns")))) == ["2024-01-31T00:00:00"]
