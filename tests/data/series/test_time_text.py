"""Text as time: quarters, weeks, fractions of seconds, a format that the user names."""

import pandas as pd
import pyarrow as pa
import pytest
from usage_errors import usage_error

from potstill.data.series.timestamps import read_times


def read(cells, **settings):
    return read_times(pa.chunked_array([pa.array(cells)]), **settings)


def micros(stamps) -> list[int]:
    return list(pd.DatetimeIndex(stamps).as_unit("us").asi8)


QUARTERS = pd.date_range("2019-01-01", periods=9, freq="QS")
WEEKS = pd.date_range("2019-12-02", periods=60, freq="W-MON")


@pytest.mark.parametrize("form", ["{0.year}Q{0.quarter}", "{0.year}-Q{0.quarter}", "{0.year} Q{0.quarter}",
                                  "Q{0.quarter} {0.year}", "Q{0.quarter}-{0.year}", "{0.quarter}Q{0.year}",
                                  "{0.year}q{0.quarter}"])  # fmt: skip
def test_quarters(form):
    assert list(read([form.format(stamp) for stamp in QUARTERS]).micros) == micros(QUARTERS)


@pytest.mark.parametrize("form", ["%G-W%V", "%GW%V", "%G-W%V-1", "W%V %G", "%G W%V"])
def test_iso_weeks(form):
    assert list(read([stamp.strftime(form) for stamp in WEEKS]).micros) == micros(WEEKS)


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S.%f", "%d/%m/%Y %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S,%f"])
def test_fractions_of_a_second_are_kept(form):
    stamps = pd.date_range("2024-01-20 23:59:58", periods=20, freq="250ms")
    assert list(read([stamp.strftime(form) for stamp in stamps]).micros) == micros(stamps)


def test_months_with_a_point_are_not_numbers():
    months = pd.date_range("2019-01-01", periods=24, freq="MS")
    assert list(read([f"{stamp:%Y.%m}" for stamp in months]).micros) == micros(months)


@pytest.mark.parametrize(
    "form", ["%m/%d/%Y", "%d/%m/%Y", "%y%m%d", "%d.%m.%Y %H:%M", "%Y-%j", "%Y-%m-%d %H:%M:%S%z", "%B %d, %Y"]
)
def test_a_format_that_the_user_names_decides(form):
    stamps = pd.date_range("2024-01-02", periods=10, freq="D", tz="Asia/Kolkata" if "%z" in form else None)
    times = read([stamp.strftime(form) for stamp in stamps], date_format=form)
    assert list(times.micros) == micros(stamps)
    assert times.zone == ("+05:30" if "%z" in form else "")
    assert not times.readings


def test_numbers_in_a_format():
    assert list(read([240102, 240103], date_format="%y%m%d").micros) == micros(["2024-01-02", "2024-01-03"])


def test_a_cell_that_does_not_fit_the_format_is_found():
    assert read(["01/12/2024", "01/13/2024"], date_format="%d/%m/%Y").unreadable == 1
    with usage_error("data.date_format", "'%Q'"):
        read(["01/12/2024"], date_format="%Q")


@pytest.mark.parametrize("form", ["%y-%b", "%y %b", "%y-%B", "%y.%m"])
def test_a_year_of_two_digits_is_not_a_year_of_the_first_century(form):
    months = pd.date_range("2015-01-01", periods=60, freq="MS")
    found = read([stamp.strftime(form) for stamp in months])
    assert found.unreadable == 0 or (found.micros >= micros(["1900-01-01"])[0]).all() or found.counter
