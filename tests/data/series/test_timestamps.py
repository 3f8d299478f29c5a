"""Columns of time in the forms people write."""

import datetime

import numpy as np
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
        ["2024-01-31 00:00:00+02:00", "2024-02-01 06:30:00+02:00"],
        ["2024-01-31T00:00:00Z", "2024-02-01T06:30:00Z"],
        ["1706659200", "1706769000"],
        [1706659200000, 1706769000000],
        [1706659200.0, 1706769000.0],
    ],
)
def test_one_moment_in_many_writings(cells):
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


def test_of_two_ways_to_read_a_date_the_regular_one_counts():
    days = np.arange(np.datetime64("2024-01-01"), np.datetime64("2024-01-13"))
    european = [f"{str(d)[8:]}/{str(d)[5:7]}/{str(d)[:4]}" for d in days]
    american = [f"{str(d)[5:7]}/{str(d)[8:]}/{str(d)[:4]}" for d in days]
    assert stamps(read(european)) == stamps(read(american)) == [f"{d}T00:00:00" for d in days]


def test_what_cannot_be_read_is_named_by_row():
    assert read(["2024-01-01", None, "2024-01-03", "soon"]).unreadable == 3
    assert read(["day 1", "day 2"]).unreadable == 0
    assert not read(pa.array([None, None], pa.string())).sound
    assert read(["2024-01-01", None]).valid.tolist() == [True, False]


def test_mixed_zones_are_named_by_row():
    assert read(["2024-01-01 00:00:00+01:00", "2024-01-01 01:00:00+01:00", "2024-06-01 00:00:00+02:00"]).mixed == 2
    assert read(["2024-01-01 00:00:00+01:00", "2024-01-01 01:00:00"]).mixed == 1
    assert read(["2024-01-01 00:00:00Z"]).zone == "Z"


def test_plain_numbers_are_a_counter():
    times = read(["0", "1", "2"])
    assert times.counter
    assert times.micros.tolist() == [0, 1, 2]
    assert read([0.5, 1.5]).counter


def test_arrow_timestamps_keep_their_local_time():
    moment = pa.array([1706659200], pa.timestamp("s", tz="Europe/Berlin"))
    times = read(moment)
    assert stamps(times) == ["2024-01-31T01:00:00"]
    assert times.zone == "Europe/Berlin"
    assert stamps(read(pa.array([1706659200000000000], pa.timestamp("ns")))) == ["2024-01-31T00:00:00"]
