"""Splits: their bounds, no leaks between parts, and errors for splits that do not fit the data."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_files import hourly, opened, store_of, write
from usage_errors import usage_error

from potstill.data.series.splits import SPLIT_PARTS, part_bounds, standardisation


def ends(store, split, i=0):
    bounds = [part_bounds(store, split, part) for part in SPLIT_PARTS]
    for before, after in pairwise(bounds):
        assert (before[1] <= after[0]).all()
    return [int(end[i]) for _, end in bounds]


@given(
    lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=5),
    shares=st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)),
)
def test_shares_tile_every_series(lengths, shares):
    store = store_of([np.zeros(n, np.float32) for n in lengths])
    split = ":".join(map(str, shares))
    bounds = [part_bounds(store, split, part) for part in SPLIT_PARTS]
    assert (bounds[0][0] == 0).all()
    assert np.array_equal(bounds[0][1], bounds[1][0])
    assert np.array_equal(bounds[1][1], bounds[2][0])
    assert bounds[2][1].tolist() == lengths


def test_shares_by_hand():
    store = store_of([np.zeros(10, np.float32), np.zeros(105, np.float32)])
    assert ends(store, "7:1:2") == [7, 8, 10]
    assert ends(store, "8:1:1", 1) == [84, 94, 105]
    assert ends(store, "0.6:0.2:0.2") == [6, 8, 10]


@pytest.mark.parametrize("split", ["banana", "8:1", "8:-1:1", "0:1:1", "nan:1:1", "8:1:1:1", ""])
def test_unreadable_splits(split):
    with usage_error("split.unreadable", repr(split), "8:1:1"):
        part_bounds(store_of([np.zeros(10, np.float32)]), split, "train")


def test_ett_months_of_the_literature():
    hourly_rows, quarter = np.zeros(17420, np.float32), np.zeros(69680, np.float32)
    assert ends(store_of([hourly_rows]), "ett") == [8640, 11520, 14400]
    assert ends(store_of([quarter], "15min"), "ett") == [34560, 46080, 57600]
    with usage_error("split.step_too_long", "memory", "ett"):
        part_bounds(store_of([hourly_rows], "MS"), "ett", "train")


def test_suite_cuts_ett_by_months_and_others_by_shares():
    rows = np.zeros(17420, np.float32)
    store = store_of([rows, rows], datasets=["ETTh1", "beijing"])
    assert ends(store, "suite", 0) == [8640, 11520, 14400]
    assert ends(store, "suite", 1) == [12194, 13936, 17420]
    assert ends(store_of([np.zeros(69680, np.float32)], "15min", ["ETTm1"]), "suite") == [34560, 46080, 57600]


def test_suite_cuts_a_ragged_series_at_the_files_rows_where_that_is_earlier():
    store = store_of([np.zeros(50, np.float32)] * 2)
    store.grid_rows = np.array([100, 100])
    store.first_row = np.array([50, 0])  # begins late; ends early
    assert ends(store, "suite", 0) == [20, 30, 50]
    assert ends(store, "suite", 1) == [35, 40, 50]


def test_dates_end_training_and_validation(tmp_path):
    write(tmp_path, "a.csv", hourly(np.sin(np.arange(240))))
    store = opened(tmp_path)
    assert ends(store, "2024-01-03,2024-01-05 12:00:00") == [48, 108, 240]
    assert ends(store, "2024-01-03 00:30:00,2030-01-01") == [49, 240, 240]
    assert ends(store, "1999-01-01,1999-02-01") == [0, 0, 240]
    for key, wrong in (
        ("split.dates_out_of_order", "2024-01-05,2024-01-03"),
        ("split.unreadable", "soon,later"),
        ("split.unreadable", "2024-01-01,2024-01-02,2024-01-03"),
    ):
        with usage_error(key, "data.split", wrong):
            part_bounds(store, wrong, "train")


@pytest.mark.parametrize(
    ("frequency", "start", "first", "second", "expected"),
    [
        ("MS", "2000-01-01", "2001-01-01", "2002-06-15", [12, 30, 100]),
        ("ME", "2000-01-31", "2001-01-01", "2001-01-31", [12, 12, 100]),
        ("QS", "2000-01-01", "2000-04-02", "2001-01-01", [2, 4, 100]),
        ("B", "2024-01-01", "2024-01-08", "2024-01-13", [5, 10, 100]),
        ("W", "2024-01-01", "2024-01-08", "2024-01-09", [1, 2, 100]),
    ],
)
def test_dates_on_calendar_steps(frequency, start, first, second, expected):
    store = store_of([np.zeros(100, np.float32)], frequency)
    store.starts = np.array([np.datetime64(start, "us").astype(np.int64)])
    assert ends(store, f"{first},{second}") == expected
    stamps = store.timestamps(0, 0, 100)
    assert (stamps < np.datetime64(first)).sum() == expected[0]
    assert (stamps < np.datetime64(second)).sum() == expected[1]


def test_dates_need_time():
    with usage_error("split.no_time", "memory", "timestamps"):
        part_bounds(store_of([np.zeros(9, np.float32)], ""), "2020-01-01,2021-01-01", "train")


@given(files=st.integers(3, 40))
def test_whole_files_in_one_part_each(files):
    store = store_of([np.zeros(30, np.float32)] * files, datasets=[f"f{i}" for i in range(files)])
    rows = np.stack([np.subtract(*part_bounds(store, "by-file", part)[::-1]) for part in SPLIT_PARTS])
    assert (rows.sum(0) == 30).all()
    counts = (rows > 0).sum(1)
    tenth = max(round(files / 10), 1)
    assert counts.tolist() == [files - 2 * tenth, tenth, tenth]


def test_by_file_needs_three_and_does_not_depend_on_the_order_of_files():
    names = [f"f{i}" for i in range(10)]
    one = store_of([np.zeros(5, np.float32)] * 10, datasets=names)
    other = store_of([np.zeros(5, np.float32)] * 10, datasets=names[::-1])
    assert part_bounds(one, "by-file", "test")[1].tolist() == part_bounds(other, "by-file", "test")[1][::-1].tolist()
    with usage_error("split.too_few_files", "by-file", "3", "2"):
        part_bounds(store_of([np.zeros(5, np.float32)] * 2, datasets=["a", "b"]), "by-file", "train")


def test_the_scaler_sees_the_training_part_only():
    rng = np.random.default_rng(0)
    x = rng.normal(5, 2, size=100).astype(np.float32)
    x[3] = np.nan
    later = x.copy()
    later[80:] = 1e6
    mean, std = standardisation(store_of([x]), "8:1:1")
    assert (mean, std) == standardisation(store_of([later]), "8:1:1")
    np.testing.assert_allclose(mean, np.nanmean(x[:80].astype(np.float64)))
    np.testing.assert_allclose(std, np.nanstd(x[:80].astype(np.float64)))


def test_a_constant_has_deviation_one_and_files_without_training_rows_use_the_pooled_scale():
    store = store_of([np.full(10, 3, np.float32), np.arange(10, dtype=np.float32)], datasets=["a", "b"])
    mean, std = standardisation(store, "8:1:1")
    assert (mean[0], std[0]) == (3, 1)
    series = [np.arange(10, dtype=np.float32) + k for k in range(4)]
    store = store_of(series, datasets=list("abcd"))
    trains = part_bounds(store, "by-file", "train")[1] > 0
    mean, std = standardisation(store, "by-file")
    pooled = np.concatenate([x for x, used in zip(series, trains, strict=True) if used])
    np.testing.assert_allclose(mean[~trains], pooled.mean())
    np.testing.assert_allclose(std[~trains][0] ** 2, 8.25 + np.var(np.flatnonzero(trains)) + 1 / 12, rtol=0.02)


@pytest.mark.parametrize("split", ["8:1:1", "suite", "ett", "by-file", "2024-01-03,2024-01-05"])
def test_data_sets_that_are_only_trained_on_have_no_other_part(split, tmp_path):
    """Whatever the split needs (time, steps below a day), it needs of the others alone."""
    names = ["other", "a", "b", "c"]
    store = store_of([np.zeros(300, np.float32)] * 4, datasets=names)
    store.frequency, store.regular = ["", "h", "h", "h"], [False, True, True, True]
    store.starts = np.full(4, np.datetime64("2024-01-01", "us").astype(np.int64))
    store.train_only = frozenset({"other"})
    bounds = {part: part_bounds(store, split, part) for part in SPLIT_PARTS}
    assert [int(end[0] - start[0]) for start, end in bounds.values()] == [300, 0, 0]
    alone = store_of([np.zeros(300, np.float32)] * 3, datasets=names[1:])
    alone.starts = store.starts[1:]
    for part, (start, end) in bounds.items():
        expected = part_bounds(alone, split, part)
        assert (start[1:].tolist(), end[1:].tolist()) == (expected[0].tolist(), expected[1].tolist())


def test_train_only_is_found_by_path_and_kept_by_a_copy_of_the_store(tmp_path):
    import pickle

    for name in ("one/a.csv", "two/a.csv", "two/b.csv"):
        write(tmp_path, name, hourly(np.sin(np.arange(50))))
    folders = [str(tmp_path / "files" / name) for name in ("one", "two")]
    store = opened(tmp_path, paths=folders, train_only=folders[1:], exclude=["b"])
    assert len(store.datasets) == 2
    assert store.train_only == {name for name in store.datasets if name != store.datasets[0]}
    assert pickle.loads(pickle.dumps(store)).train_only == store.train_only
    assert opened(tmp_path, paths=folders).train_only == frozenset()
