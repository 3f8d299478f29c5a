"""Numbers as time: epochs, compact dates, years, spreadsheet days; other numbers are an order."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from potstill.data.series.time_numbers import read_numbers
from potstill.data.series.timestamps import read_times


def dates(freq: str, rows: int = 40, first: str = "2019-01-01") -> pd.DatetimeIndex:
    return pd.date_range(first, periods=rows, freq=freq)


def written(stamps: pd.DatetimeIndex, form: str) -> list[float]:
    return [float(stamp.strftime(form)) for stamp in stamps]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("kind", ["integers", "floats", "text"])
def test_epochs_of_every_unit(unit, kind):
    stamps = dates("h", first="2020-01-01")
    numbers = stamps.as_unit(unit).asi8
    cells = {"integers": numbers, "floats": numbers.astype(float), "text": [str(n) for n in numbers]}[kind]
    times = read_times(pa.chunked_array([pa.array(cells)]))
    np.testing.assert_allclose(times.micros, stamps.as_unit("us").asi8, rtol=0, atol=1)
    assert "since 1970" in times.form


@pytest.mark.parametrize(
    ("freq", "form", "said"),
    [
        ("MS", "%Y%m", "YYYYMM"),
        ("D", "%Y%m%d", "YYYYMMDD"),
        ("D", "%y%m%d", "YYMMDD"),
        ("h", "%Y%m%d%H", "YYYYMMDDHH"),
        ("15min", "%Y%m%d%H%M", "YYYYMMDDHHMM"),
        ("s", "%Y%m%d%H%M%S", "YYYYMMDDHHMMSS"),
        ("W-MON", "%G%V", "YYYYWW"),
        ("YS", "%Y", "years"),
    ],
)
def test_compact_dates(freq, form, said):
    stamps = dates(freq, 90 if freq != "YS" else 40, "2018-12-01")
    times = read_numbers(np.array(written(stamps, form)))
    assert list(times.micros) == list(stamps.as_unit("us").asi8)
    assert said in times.form


def test_days_of_the_year_and_quarters_that_cross_a_year():
    stamps = dates("D", 300, "2019-10-01")
    assert list(read_numbers(np.array(written(stamps, "%Y%j"))).micros) == list(stamps.as_unit("us").asi8)
    quarters = dates("QS", 12)
    numbers = np.array([10.0 * stamp.year + stamp.quarter for stamp in quarters])
    assert list(read_numbers(numbers).micros) == list(quarters.as_unit("us").asi8)


def test_decimal_years_are_months():
    times = read_numbers(np.round(1990 + np.arange(60) / 12, 3))
    assert list(times.micros) == list(dates("MS", 60, "1990-01-01").as_unit("us").asi8)


def test_spreadsheet_days_only_where_they_clearly_name_dates():
    days = (dates("D", 60) - pd.Timestamp("1899-12-30")).days.to_numpy(float)
    assert list(read_numbers(days, "Date").micros) == list(dates("D", 60).as_unit("us").asi8)
    assert read_numbers(days, "step").counter
    months = (dates("ME", 20) - pd.Timestamp("1899-12-30")).days.to_numpy(float)
    assert list(read_numbers(months, "step").micros) == list(dates("ME", 20).as_unit("us").asi8)
    hours = dates("h", 60)
    fractions = np.asarray((hours - pd.Timestamp("1899-12-30")) / pd.Timedelta("1D")).round(9)
    assert list(read_numbers(fractions, "date").micros) == list(hours.as_unit("us").asi8)


@pytest.mark.parametrize(
    "numbers", [np.arange(50), np.arange(50) * 10 + 1000, 1_000_000 + np.arange(50), np.arange(202_010, 202_060)]
)
def test_other_integers_are_an_order(numbers):
    times = read_numbers(numbers.astype(float))
    assert times.counter
    assert list(times.micros) == list(numbers)


def test_fractions_keep_their_order_and_none_are_merged():
    times = read_numbers(np.array([0.5, 0.0, 1.0, np.nan, 1.5]))
    assert times.counter
    assert times.micros[times.valid].tolist() == [1, 0, 2, 3]


def test_a_week_that_a_year_does_not_have_is_no_week():
    assert read_numbers(np.array([201951.0, 201952, 201953, 202001])).counter
