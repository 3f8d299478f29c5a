"""The time of a table: named by the user, a date next to an hour, or year, month and day."""

import numpy as np
import pandas as pd
import pytest
from store_files import opened, write
from usage_errors import usage_error

HOURS = pd.date_range("2024-01-01", periods=96, freq="h")


def store_of(folder, frame: pd.DataFrame, **settings):
    write(folder, "a.csv", frame.to_csv(index=False))
    return opened(folder, **settings)


def wave(rows: int) -> np.ndarray:
    return np.round(10 + np.sin(np.arange(rows) / 3) + np.random.default_rng(0).normal(size=rows), 2)


@pytest.mark.parametrize("date", ["%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%Y%m%d"])
@pytest.mark.parametrize(
    ("name", "hours"),
    [
        ("hour", HOURS.hour),
        ("Hour", HOURS.hour + 1),
        ("Hour Ending", HOURS.hour + 1),
        ("time", HOURS.strftime("%H:%M")),
        ("clock", HOURS.strftime("%I:%M %p")),
        ("time", HOURS.strftime("%H.%M.%S")),
    ],
)
def test_a_date_next_to_an_hour_is_joined(tmp_path, date, name, hours):
    frame = pd.DataFrame({"date": HOURS.strftime(date), name: hours, "load": wave(96)})
    store = store_of(tmp_path, frame)
    assert store.names == ["a/load"]
    assert (store.frequency, store.missing[0]) == (["h"], 0)
    assert list(store.timestamps(0, 0, 96)) == list(HOURS.to_numpy().astype("M8[us]"))
    assert any(f"{name!r} is joined" in note for note in store.report.notes)


def test_hours_are_never_ids(tmp_path):
    parts = [
        pd.DataFrame({"date": HOURS.strftime("%Y-%m-%d"), "hour": HOURS.hour, "plant": p, "mw": wave(96)}) for p in "AB"
    ]
    store = store_of(tmp_path, pd.concat(parts))
    assert store.names == ["a/A", "a/B"]
    assert store.frequency == ["h"]


def test_minutes_join_hours(tmp_path):
    quarters = pd.date_range("2024-01-01", periods=192, freq="15min")
    frame = pd.DataFrame({"date": quarters.date, "hour": quarters.hour, "minute": quarters.minute, "y": wave(192)})
    store = store_of(tmp_path, frame)
    assert (store.names, store.frequency, store.missing[0]) == (["a/y"], ["15min"], 0)


def test_hours_of_work_in_a_daily_table_are_no_time_of_day(tmp_path):
    days = pd.date_range("2024-01-01", periods=60)
    hours = np.random.default_rng(0).integers(0, 12, 60)
    store = store_of(tmp_path, pd.DataFrame({"date": days, "hour": hours, "y": wave(60)}))
    assert (store.names, store.frequency) == (["a/hour", "a/y"], ["D"])


@pytest.mark.parametrize(
    ("freq", "parts"),
    [
        ("MS", ("year", "month")),
        ("D", ("year", "month", "day")),
        ("h", ("year", "month", "day", "hour")),
        ("QS", ("year", "quarter")),
        ("YS", ("year",)),
    ],
)
def test_year_month_day_and_hour_in_columns(tmp_path, freq, parts):
    stamps = pd.date_range("2019-01-01", periods=60, freq=freq)
    frame = pd.DataFrame({part: getattr(stamps, part) for part in parts} | {"y": wave(60)})
    store = store_of(tmp_path, frame)
    assert (store.names, store.frequency) == (["a/y"], [freq])
    assert list(store.timestamps(0, 0, 60)) == list(stamps.to_numpy().astype("M8[us]"))


def test_a_period_column_is_the_time_if_its_numbers_name_dates(tmp_path):
    months = pd.date_range("2019-01-01", periods=40, freq="MS")
    store = store_of(tmp_path, pd.DataFrame({"month": months.strftime("%Y%m"), "sales": wave(40)}))
    assert (store.names, store.frequency, store.missing[0]) == (["a/sales"], ["MS"], 0)
    assert any("months (YYYYMM)" in note for note in store.report.notes)


def test_the_time_column_can_be_named(tmp_path):
    frame = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=40),
                          "when": pd.date_range("2019-01-06", periods=40, freq="W-SUN"), "y": wave(40)})  # fmt: skip
    assert store_of(tmp_path, frame).frequency == ["D"]
    named = opened(tmp_path, time_column="when")
    assert named.frequency == ["W-SUN"]
    assert named.fingerprint != opened(tmp_path).fingerprint
    with usage_error("data.no_such_time_column", "a.csv", "'moment'", "'date', 'when', 'y'"):
        opened(tmp_path, time_column="moment")


def test_a_format_settles_the_order_of_day_and_month(tmp_path):
    days = pd.date_range("2024-03-01", periods=10)
    frame = pd.DataFrame({"date": days.strftime("%m/%d/%Y"), "y": wave(10)})
    store = store_of(tmp_path, frame)
    assert any("fit both" in note and "--date-format" in note for note in store.report.notes)
    settled = opened(tmp_path, date_format="%m/%d/%Y")
    assert not any("fit both" in note for note in settled.report.notes)
    assert list(settled.timestamps(0, 0, 10)) == list(days.to_numpy().astype("M8[us]"))
    with usage_error("data.unreadable_time", "a.csv line 2", "'03/01/2024'", "'%Y-%m-%d'"):
        opened(tmp_path, date_format="%Y-%m-%d")


def test_the_order_of_day_and_month_is_decided_by_each_series(tmp_path):
    """Two series on days 3 and 7 of each month: all rows together are not regular in either order."""
    parts = []
    for name, day in (("a", 3), ("b", 7)):
        stamps = [pd.Timestamp(2019, 1, day) + pd.DateOffset(months=k) for k in range(30)]
        parts.append(pd.DataFrame({"unique_id": name, "ds": [f"{s:%m/%d/%Y}" for s in stamps], "y": wave(30)}))
    store = store_of(tmp_path, pd.concat(parts))
    assert store.frequency == ["M-3", "M-7"]
    assert store.timestamps(0, 1, 1)[0] == np.datetime64("2019-02-03")
