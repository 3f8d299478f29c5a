"""Times from a start and a frequency, compared with pandas."""

import numpy as np
import pandas as pd
import pytest

from potstill.data.series.offsets import stamps_from


@pytest.mark.parametrize(
    ("start", "freq"),
    [
        ("2020-01-01 00:30", "h"),
        ("2020-01-01", "15min"),
        ("2020-01-01", "D"),
        ("2020-01-03", "B"),
        ("2020-01-01", "MS"),
        ("2020-01-31", "ME"),
        ("2020-03-31", "QE-DEC"),
        ("2020-01-01", "QS"),
        ("2020-12-31", "YE-DEC"),
        ("2020-01-31", "BME"),
        ("2020-01-05", "W-SUN"),
        ("2020-01-05", "2W-SUN"),
        ("2020-01-01", "2MS"),
    ],
)
def test_starts_on_the_offset_are_as_in_pandas(start, freq):
    stamps = stamps_from(np.datetime64(start, "us"), freq, 40)
    np.testing.assert_array_equal(stamps, pd.date_range(start, periods=40, freq=freq).to_numpy().astype("M8[us]"))


@pytest.mark.parametrize(
    ("old", "new"), [("H", "h"), ("5T", "5min"), ("M", "ME"), ("Q-DEC", "QE-DEC"), ("A-DEC", "YE-DEC")]
)
def test_aliases_of_older_pandas(old, new):
    start = np.datetime64("2020-12-31", "us")
    np.testing.assert_array_equal(stamps_from(start, old, 9), stamps_from(start, new, 9))


@pytest.mark.parametrize(
    ("start", "freq", "expected"),
    [
        ("2020-01-30", "M", ["2020-01-30", "2020-02-29", "2020-03-30"]),
        ("2020-01-15T06:00", "MS", ["2020-01-15T06:00", "2020-02-15T06:00", "2020-03-15T06:00"]),
        ("2020-02-10", "Q", ["2020-02-10", "2020-05-10", "2020-08-10"]),
        ("2020-01-01", "W-SUN", ["2020-01-01", "2020-01-08", "2020-01-15"]),
    ],
)
def test_starts_beside_the_offset_keep_their_day(start, freq, expected):
    assert stamps_from(np.datetime64(start, "us"), freq, 3).tolist() == np.array(expected, "M8[us]").tolist()


@pytest.mark.parametrize("freq", ["", "often", "-"])
def test_no_times(freq):
    assert stamps_from(np.datetime64("2020-01-01", "us"), freq, 3) is None
