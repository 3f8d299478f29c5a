"""Each series has its own step; a table of several steps becomes a data set for each."""

import numpy as np
import pandas as pd
import pytest
from store_files import opened, write
from usage_errors import usage_error

from potstill.data.series.splits import SPLIT_PARTS, part_bounds
from potstill.data.series.steps import group_by_step
from potstill.data.series.store import Store
from potstill.data.series.windows import SeriesWindows
from potstill.recipe import SeriesData


def wave(rows: int) -> np.ndarray:
    return np.round(10 + np.sin(np.arange(rows) / 3) + np.random.default_rng(rows).normal(size=rows), 2)


def long(**stamps: pd.DatetimeIndex) -> pd.DataFrame:
    parts = [pd.DataFrame({"unique_id": name, "ds": times, "y": wave(len(times))}) for name, times in stamps.items()]
    return pd.concat(parts, ignore_index=True)


def store_of(folder, frame: pd.DataFrame, **settings) -> Store:
    write(folder, "a.csv", frame.to_csv(index=False))
    return opened(folder, **settings)


def dates(freq: str, rows: int = 40, first: str = "2019-01-01") -> pd.DatetimeIndex:
    return pd.date_range(first, periods=rows, freq=freq)


def grouped(*series: pd.Index):
    times = np.concatenate([pd.DatetimeIndex(stamps).as_unit("us").asi8 for stamps in series])
    return group_by_step(times, np.cumsum([0, *map(len, series)]))


def test_series_of_different_steps_are_data_sets_of_their_own(tmp_path):
    frame = long(d1=dates("D", 400), h=dates("h"), d2=dates("D", 90), m=dates("MS"), b=dates("B"))
    store = store_of(tmp_path, frame)
    assert store.names == ["a/d1", "a/h", "a/d2", "a/m", "a/b"]
    assert store.datasets == ["a (D)", "a (h)", "a (MS)", "a (B)"]
    assert store.files == ["a"] * 4
    assert store.dataset_of.tolist() == [0, 1, 0, 2, 3]
    assert store.file_of.tolist() == [0] * 5
    assert store.frequency == ["D", "h", "MS", "B"]
    assert store.season.tolist() == [7, 24, 7, 12, 5]
    assert store.missing.sum() == 0
    assert any("D (2), h (1), MS (1), B (1)" in note for note in store.report.notes)
    for i, (name, stamps) in enumerate(frame.groupby("unique_id", sort=False).ds):
        freq = store.frequency[store.dataset_of[i]]
        expected = pd.date_range(stamps.iloc[-1], periods=4, freq=freq)[1:]
        ahead = store.timestamps(i, int(store.lengths[i]), 3)
        assert ahead.astype("M8[ns]").tolist() == expected.to_numpy().tolist(), name


def test_windows_of_a_data_set_are_contiguous_if_its_series_are_not(tmp_path):
    store = store_of(tmp_path, long(d1=dates("D", 100), h=dates("h", 100), d2=dates("D", 100)))
    windows = SeriesWindows(store, SeriesData(context_length=8, prediction_length=4), "train")
    ranges = [windows.range_of(dataset) for dataset in range(2)]
    assert ranges[0][1] == ranges[1][0]
    for dataset, (first, end) in enumerate(ranges):
        assert set(store.dataset_of[windows.locate(np.arange(first, end))[0]].tolist()) == {dataset}


def test_a_split_by_file_keeps_the_data_sets_of_a_file_together(tmp_path):
    for k in range(4):
        write(tmp_path, f"f{k}.csv", long(d=dates("D"), h=dates("h")).to_csv(index=False))
    store = opened(tmp_path)
    assert len(store.datasets) == 8
    parts = np.stack([np.subtract(*part_bounds(store, "by-file", part)[::-1]) > 0 for part in SPLIT_PARTS])
    assert (parts.sum(0) == 1).all()
    assert (parts[:, ::2] == parts[:, 1::2]).all()


def test_a_table_with_one_step_keeps_its_name(tmp_path):
    store = store_of(tmp_path, long(a=dates("W-SUN"), b=dates("W-SUN")))
    assert (store.datasets, store.frequency) == (["a"], ["W-SUN"])


def test_weeks_and_quarters_of_different_days_are_one_group():
    groups = grouped(dates("W-SUN"), dates("W-WED"))
    assert ([step.alias for step in groups.steps], groups.group_of.tolist()) == (["7D"], [0, 0])
    groups = grouped(dates("QS"), dates("QS-FEB"), dates("D"))
    assert [step.alias for step in groups.steps] == ["3MS", "D"]


def test_series_with_too_few_rows_or_many_gaps_join_the_step_that_they_fit():
    days = dates("D", 200)
    sparse = days[np.sort(np.random.default_rng(0).choice(200, 30, replace=False))]
    groups = grouped(days, sparse, days[:1], days[[3, 10]])
    assert ([step.alias for step in groups.steps], groups.group_of.tolist()) == (["D"], [0, 0, 0, 0])


def test_business_days_among_days_are_business_days():
    groups = grouped(dates("D", 60), dates("B", 60))
    assert [step.alias for step in groups.steps] == ["D", "B"]


def test_irregular_series_are_apart_and_noted(tmp_path):
    gaps = np.random.default_rng(1).integers(1000, 300_000, 50)
    odd = pd.DatetimeIndex(pd.Timestamp("2019-01-01") + pd.to_timedelta(np.cumsum(gaps), unit="s"))
    store = store_of(tmp_path, long(d=dates("D", 100), odd=odd))
    assert store.regular == [True, False]
    assert store.lengths.tolist() == [100, 50]
    assert any("1 series have no regular time step" in note for note in store.report.notes)


def test_rows_off_the_step_are_counted(tmp_path):
    stamps = dates("ME", 60).tolist()
    stamps[30] -= pd.Timedelta(days=1)
    store = store_of(tmp_path, pd.DataFrame({"date": stamps, "y": wave(60)}))
    assert (store.frequency, store.lengths[0], store.missing[0]) == (["ME"], 61, 1)
    repairs = {entry["how"]: entry["count"] for entry in store.report.to_dict()["repaired"]}
    assert repairs["timestamps moved to the regular step"] == 1


@pytest.mark.parametrize(
    ("made", "freq", "alias"),
    [("W-SUN", "W", "W-SUN"), ("3D", "D", "D"), ("ME", "M", "ME"), ("QS-OCT", "QS", "QS"), ("h", "30min", "30min")],
)
def test_the_step_can_be_named(tmp_path, made, freq, alias):
    store = store_of(tmp_path, pd.DataFrame({"date": dates(made, 30), "y": wave(30)}), freq=freq)
    assert store.frequency == [alias]
    assert store.timestamps(0, int(store.lengths[0]) - 1, 1)[0] == dates(made, 30)[-1]


def test_a_step_that_does_not_fit_or_exist_is_refused(tmp_path):
    frame = pd.DataFrame({"date": dates("W-SUN"), "y": wave(40)})
    with usage_error("data.freq_does_not_fit", "'W-MON'", "leave freq out"):
        store_of(tmp_path, frame, freq="W-MON")
    with usage_error("data.freq_does_not_fit", "'MS'"):
        store_of(tmp_path, frame, freq="MS")
    with usage_error("data.unknown_freq", "'fortnight'", "W-SUN"):
        store_of(tmp_path, frame, freq="fortnight")
    with usage_error("data.freq_without_time", "no timestamps"):
        store_of(tmp_path, pd.DataFrame({"y": wave(40)}), freq="D")
