"""Time zones: times are UTC in the store, steps of days and longer are counted in local time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from store_files import opened, write

from potstill.data.series.opening import open_store, store_from_frame
from potstill.data.series.splits import part_bounds
from potstill.recipe import SeriesData


def wave(rows: int) -> np.ndarray:
    return np.round(10 + np.sin(np.arange(rows) / 3) + np.random.default_rng(0).normal(size=rows), 2)


def frame(stamps: pd.DatetimeIndex) -> pd.DataFrame:
    return pd.DataFrame({"ds": stamps, "y": wave(len(stamps))})


def utc(stamps: pd.Index) -> list[np.datetime64]:
    return list(pd.DatetimeIndex(stamps).tz_convert(None).to_numpy().astype("M8[us]"))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize("freq", ["h", "15min", "D", "B", "W-SUN", "MS", "ME", "QS"])
def test_a_zone_of_a_frame_keeps_every_row(tmp_path, zone, freq):
    stamps = pd.date_range("2023-02-01", periods=700 if freq in "h15min" else 120, freq=freq, tz=zone)
    store = store_from_frame(frame(stamps), SeriesData(), tmp_path)
    assert (store.frequency, store.zones, store.regular) == ([freq], [zone], [True])
    assert (store.lengths[0], store.missing[0]) == (len(stamps), 0)
    assert list(store.timestamps(0, 0, len(stamps))) == utc(stamps)
    ahead = pd.date_range(stamps[-1], periods=101, freq=freq)[1:]
    assert list(store.timestamps(0, len(stamps), 100)) == utc(ahead)


def test_parquet_with_a_zone_keeps_its_hours_in_autumn_and_opens_none_in_spring(tmp_path):
    for first in ("2023-10-20", "2023-03-20"):
        stamps = pd.date_range(first, periods=600, freq="h", tz="Europe/Berlin")
        file = Path(tmp_path) / f"{first}.parquet"
        frame(stamps).to_parquet(file, index=False)
        store = open_store(SeriesData(paths=[str(file)]), tmp_path / "cache")
        assert (store.lengths[0], store.missing[0], store.frequency) == (600, 0, ["h"])
        assert list(store.timestamps(0, 0, 600)) == utc(stamps)
        assert not store.report.to_dict()["repaired"]


@pytest.mark.parametrize(
    ("freq", "zone"),
    [("h", "UTC"), ("D", "Europe/Berlin"), ("MS", "Europe/Berlin"), ("B", "Europe/Berlin"), ("W-SUN", "Europe/Berlin")],
)
def test_offsets_that_change_in_text_are_one_zone(tmp_path, freq, zone):
    stamps = pd.date_range("2023-01-01", periods=7000 if freq == "h" else 300, freq=freq, tz="Europe/Berlin")
    write(tmp_path, "a.csv", frame(stamps).to_csv(index=False))
    store = opened(tmp_path)
    assert (store.zones, store.frequency, store.missing[0]) == ([zone], [freq], 0)
    assert list(store.timestamps(0, 0, len(stamps))) == utc(stamps)
    ahead = pd.date_range(stamps[-1], periods=51, freq=freq)[1:]
    assert list(store.timestamps(0, len(stamps), 50)) == utc(ahead)


def test_dates_of_a_split_are_local_times(tmp_path):
    for freq, expected in (("D", [59, 90]), ("h", [24 * 59, 24 * 90 - 1])):  # the clocks change on 26 March
        stamps = pd.date_range("2023-01-01", "2023-06-30 23:00", freq=freq, tz="Europe/Berlin")
        store = store_from_frame(frame(stamps), SeriesData(), tmp_path)
        ends = [int(part_bounds(store, "2023-03-01,2023-04-01", part)[1][0]) for part in ("train", "validation")]
        assert ends == expected
        assert ends == [
            int((stamps < pd.Timestamp(day, tz="Europe/Berlin")).sum()) for day in ("2023-03-01", "2023-04-01")
        ]


def test_zones_survive_a_copy_of_the_store(tmp_path):
    import pickle

    store = store_from_frame(frame(pd.date_range("2023-01-01", periods=40, tz="Asia/Tokyo")), SeriesData(), tmp_path)
    again = pickle.loads(pickle.dumps(store))
    assert (again.zones, again.files, again.season.tolist()) == (["Asia/Tokyo"], ["frame"], [7])
