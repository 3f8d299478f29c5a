"""Windows equal plain slices, stay inside their part, and use little memory however many there are."""

import pickle
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from store_files import hourly, opened, store_of, write
from usage_errors import usage_error

from potstill.data.permutation import Permutation
from potstill.data.series.splits import part_bounds
from potstill.data.series.store import Store
from potstill.data.series.windows import SeriesWindows, fill, require_windows, spread
from potstill.errors import UnknownName
from potstill.recipe import SeriesData


def ramp(n, first=0.0):
    return np.arange(n, dtype=np.float32) + first


def config(context=8, horizon=4, **more) -> SeriesData:
    return SeriesData(**{"context_length": context, "prediction_length": horizon, **more})


def sliced(x: np.ndarray, origin: int, context: int, horizon: int) -> np.ndarray:
    padded = np.concatenate([np.full(context, np.nan, np.float32), x])
    return padded[origin : origin + context + horizon]


@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=4),
    context=st.integers(3, 40),
    horizon=st.integers(1, 20),
    stride=st.integers(1, 9),
    part=st.sampled_from(["train", "validation", "test"]),
    seed=st.integers(0, 5),
)
def test_every_window_is_a_plain_slice_with_its_future_inside_the_part(lengths, context, horizon, stride, part, seed):
    rng = np.random.default_rng(seed)
    store = store_of([rng.normal(size=n).astype(np.float32) for n in lengths])
    windows = SeriesWindows(store, config(context, horizon, stride=stride, split="6:2:2"), part)
    start, end = part_bounds(store, "6:2:2", part)
    ids = np.arange(len(windows))
    series, origin = windows.locate(ids)
    assert (origin >= start[series]).all()
    assert (origin + horizon <= end[series]).all()
    assert (np.diff(origin)[np.diff(series) == 0] == stride).all()
    if not len(ids):
        return
    some = rng.permutation(ids)[:20]
    batch = windows.batch(some)
    for row, i in enumerate(some):
        expected = sliced(store.series(int(series[i])), int(origin[i]), context, horizon)
        got = np.concatenate([batch.context[row].numpy(), batch.future[row].numpy()])
        np.testing.assert_array_equal(got, expected)
        assert batch.series[row] == series[i]
        assert batch.origin[row] == origin[i]


@given(n=st.integers(1, 200), context=st.integers(3, 60), horizon=st.integers(1, 30))
def test_training_contexts_are_full_or_else_padded(n, context, horizon):
    store = store_of([ramp(n)])
    windows = SeriesWindows(store, config(context, horizon, split="1:0:0"), "train")
    _, origin = windows.locate(np.arange(len(windows)))
    least = context if n >= context + horizon else min(context, max(16, horizon))
    assert origin.tolist() == list(range(least, n - horizon + 1))


def test_all_windows_of_a_small_store():
    store = store_of([ramp(20), ramp(5, 100), ramp(32, 200)])
    windows = SeriesWindows(store, config(8, 4, split="1:0:0", stride=3), "train")
    series, origin = windows.locate(np.arange(len(windows)))
    assert series.tolist() == [0, 0, 0, 2, 2, 2, 2, 2, 2, 2]
    assert origin.tolist() == [8, 11, 14, 8, 11, 14, 17, 20, 23, 26]
    assert windows[9].future.tolist() == [[226, 227, 228, 229]]
    assert any("too short" in line and "memory/1" in line for line in windows.report.lines())


def test_validation_contexts_reach_back_into_training():
    store = store_of([ramp(100)])
    windows = SeriesWindows(store, config(8, 4, split="8:1:1"), "validation")
    first = windows[0]
    assert first.context.tolist() == [list(range(72, 80))]
    assert first.future.tolist() == [[80, 81, 82, 83]]
    assert len(windows) == 7


def test_the_batch_carries_ids_and_a_batch_of_one_equals_its_row():
    store = store_of([ramp(50), ramp(60, 500)])
    windows = SeriesWindows(store, config(), "train")
    ids = np.array([5, 0, len(windows) - 1])
    batch = windows.batch(ids)
    assert batch.ids.tolist() == ids.tolist()
    assert windows[5].context.tolist() == batch.context[:1].tolist()
    with pytest.raises(IndexError):
        windows[len(windows)]
    with pytest.raises(IndexError):
        windows[-1]


def test_missing_values_are_kept():
    x = ramp(40)
    x[10] = np.nan
    batch = SeriesWindows(store_of([x]), config(split="1:0:0"), "train").batch([0, 3])
    assert np.isnan(batch.future[0].numpy()).tolist() == [False, False, True, False]
    assert np.isnan(batch.context[1].numpy()).sum() == 1


@given(gaps=st.sets(st.integers(0, 79), max_size=12), stride=st.integers(1, 5))
def test_drop_keeps_exactly_the_windows_without_gaps(gaps, stride):
    x, clean = ramp(80), ramp(30, 1000)
    x[list(gaps)] = np.nan
    store = store_of([x, clean])
    everything = SeriesWindows(store, config(split="1:0:0", stride=stride), "train")
    windows = SeriesWindows(store, config(split="1:0:0", stride=stride, missing="drop"), "train")
    series, origin = everything.locate(np.arange(len(everything)))
    whole = [not np.isnan(sliced(store.series(s), o, 8, 4)).any() for s, o in zip(series, origin, strict=True)]
    got_series, got_origin = windows.locate(np.arange(len(windows)))
    assert got_series.tolist() == series[whole].tolist()
    assert got_origin.tolist() == origin[whole].tolist()
    lost = sum(entry["count"] for (kind, _), entry in windows.report.dropped.items() if kind == "windows")
    assert lost == len(everything) - len(windows)


def test_impute_fills_forward_then_backward_in_the_context_only():
    nan = np.nan
    context = np.array([[nan, nan, 3, nan, 5], [nan, nan, nan, nan, nan], [1, 2, 3, 4, 5]], np.float32)
    filled = fill(context)
    np.testing.assert_array_equal(filled, [[3, 3, 3, 3, 5], [nan] * 5, [1, 2, 3, 4, 5]])
    assert np.isnan(context[0, 0])
    x = ramp(40)
    x[[7, 8, 10]] = nan
    batch = SeriesWindows(store_of([x]), config(split="1:0:0", missing="impute"), "train")[0]
    assert batch.context.tolist() == [[0, 1, 2, 3, 4, 5, 6, 6]]
    assert np.isnan(batch.future.numpy()).tolist() == [[True, False, True, False]]


def test_scarce_windows_are_spread_and_only_in_training():
    store = store_of([ramp(1000), ramp(1000, 5000)], datasets=["a", "b"])
    data = config(train_windows=20)
    windows, everything = SeriesWindows(store, data, "train"), SeriesWindows(store, config(), "train")
    assert len(windows) == 20
    series, origin = windows.locate(np.arange(20))
    assert len(set(zip(series.tolist(), origin.tolist(), strict=True))) == 20
    assert (series == 0).sum() == 10
    assert np.diff(origin[series == 0]).max() < 170
    again = SeriesWindows(store, data, "train").locate(np.arange(20))
    assert np.array_equal(again[1], origin)
    assert windows.fingerprint != everything.fingerprint
    assert windows.of_dataset("b").tolist() == list(range(10, 20))
    assert len(SeriesWindows(store, data, "validation")) == len(SeriesWindows(store, config(), "validation"))
    assert len(SeriesWindows(store, config(train_windows=10**9), "train")) == len(everything)


def test_ids_of_a_data_set_and_samples_spread_over_all():
    store = store_of([ramp(1000), ramp(40), ramp(300)], datasets=["big", "small", "middle"])
    windows = SeriesWindows(store, config(), "train")
    ids = [windows.of_dataset(name) for name in store.datasets]
    assert np.concatenate(ids).tolist() == list(range(len(windows)))
    assert (windows.locate(ids[2])[0] == 2).all()
    sample = windows.sample(90, seed=1)
    assert [int(np.isin(sample, i).sum()) for i in ids] == [34, 21, 35]
    assert len(np.unique(sample)) == 90
    assert (np.diff(sample) > 0).all()
    assert not np.array_equal(sample, windows.sample(90, seed=2))
    assert len(windows.sample(10**6)) == len(windows)
    with pytest.raises(UnknownName, match="middle"):
        windows.of_dataset("midle")


@given(n=st.integers(0, 10**18), count=st.integers(1, 300), seed=st.integers(0, 100))
def test_spread_takes_one_number_of_each_range(n, count, seed):
    places = spread(n, count, seed)
    assert len(places) == min(n, count)
    if len(places):
        assert (np.diff(places) > 0).all()
        assert places.min() >= 0
        assert places.max() < n


def test_the_fingerprint_covers_what_a_window_id_means():
    store = store_of([ramp(200)])
    prints = [
        SeriesWindows(store, config(), "train"),
        SeriesWindows(store, config(9), "train"),
        SeriesWindows(store, config(horizon=5), "train"),
        SeriesWindows(store, config(split="6:2:2"), "train"),
        SeriesWindows(store, config(missing="impute"), "train"),
        SeriesWindows(store, config(), "test"),
        SeriesWindows(store, config(), "train", stride=2),
    ]
    assert len({w.fingerprint for w in prints}) == len(prints)
    assert SeriesWindows(store, config(), "train").fingerprint == prints[0].fingerprint


@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=3),
    context=st.integers(3, 60),
    horizon=st.integers(1, 60),
    split=st.sampled_from(["8:1:1", "6:2:2", "1:1:1", "9:1:0"]),
    part=st.sampled_from(["train", "validation", "test"]),
)
@example(lengths=[40], context=8, horizon=96, split="8:1:1", part="train")  # its training part alone would fit 24
def test_without_windows_the_error_names_the_longest_horizon_that_every_part_fits(
    lengths, context, horizon, split, part
):
    store = store_of([ramp(n) for n in lengths], datasets=[f"good{i}" for i in range(len(lengths))])
    windows = SeriesWindows(store, config(context, horizon, split=split), part)

    def every_part_has_windows(horizon: int) -> bool:
        parts = ("train", "validation", "test")
        return all(len(SeriesWindows(store, config(context, horizon, split=split), part)) for part in parts)

    if len(windows):
        require_windows(windows)
        return
    with usage_error("data.no_usable_window", "good0", part) as error:
        require_windows(windows)
    longest = re.search(r"data\.prediction_length to at most (\d+)", str(error.value))
    if longest:
        assert every_part_has_windows(int(longest[1]))
        assert not every_part_has_windows(int(longest[1]) + 1)
    else:
        assert "data.split" in str(error.value)
        assert not every_part_has_windows(1)


def test_a_billion_windows_take_no_memory(tmp_path):
    """10^4 series of 10^5 rows in a sparse file: the windows' arrays stay below a megabyte."""
    series, rows = 10_000, 100_000
    store = store_of([ramp(2)] * series)
    with (tmp_path / "values.f32").open("wb") as file:
        file.truncate(series * rows * 4)
    store.values = np.memmap(tmp_path / "values.f32", dtype=np.float32, mode="r+")
    store.offsets = np.arange(series + 1, dtype=np.int64) * rows
    windows = SeriesWindows(store, config(720, 96, split="1:0:0"), "train")
    assert len(windows) == series * (rows - 815)
    arrays = [v for v in vars(windows).values() if isinstance(v, np.ndarray)]
    assert sum(a.nbytes for a in arrays) < 1_000_000
    store.values[-1] = 7
    permutation = Permutation(len(windows), seed=0)
    batch = windows.batch(permutation[np.arange(256)])
    assert batch.context.shape == (256, 720)
    assert windows[len(windows) - 1].future[0, -1] == 7


def test_windows_survive_pickling_by_reopening_the_store(tmp_path):
    rng = np.random.default_rng(0)
    write(tmp_path, "a.csv", hourly(rng.normal(size=100)))
    data = config()
    windows = SeriesWindows(opened(tmp_path), data, "train")
    pickled = pickle.dumps(windows)
    assert len(pickled) < 10_000
    assert isinstance(windows.store, Store)
    assert pickle.loads(pickled)[3].context.tolist() == windows[3].context.tolist()


@pytest.mark.parametrize("split", ["8:1:1", "suite", "by-file", "2024-01-03,2024-01-05"])
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_unusable_series_change_no_window(tmp_path, split, part):
    rng = np.random.default_rng(0)
    waves = {f"{name}.csv": hourly(rng.normal(size=200)) for name in "bdfh"}
    flat = {"a.csv": hourly([5] * 200), "c.csv": hourly([1, 2]), "e.csv": "y\n" + "7\n" * 200}
    for place, files in (("without", waves), ("with", {**waves, **flat})):
        for name, content in files.items():
            write(tmp_path / place, name, content)
    without, mixed = (
        SeriesWindows(opened(tmp_path / place), config(split=split), part) for place in ("without", "with")
    )
    assert len(without) == len(mixed) > 0
    ids = np.arange(len(mixed))
    before, now = without.batch(ids), mixed.batch(ids)
    assert np.array_equal(before.context, now.context, equal_nan=True)
    assert np.array_equal(before.future, now.future, equal_nan=True)
    assert {mixed.store.names[i] for i in now.series} == {without.store.names[i] for i in before.series}
    assert "constant (2 series)" in mixed.report.reasons()
    assert "fewer than 3 values (1 series)" in mixed.report.reasons()
    assert [mixed.sample(9).tolist(), len(mixed.store)] == [without.sample(9).tolist(), 7]


def test_a_file_with_only_constants_is_a_usage_error(tmp_path):
    write(tmp_path, "flat.csv", hourly([5] * 200))
    with usage_error("data.no_usable_series", "flat.csv", "constant (1 series)"):
        require_windows(SeriesWindows(opened(tmp_path), config(), "train"))


def test_ids_are_drawn_from_one_data_set(tmp_path):
    store = store_of([np.arange(60.0), np.arange(90.0)], datasets=["a", "b"])
    windows = SeriesWindows(store, SeriesData(context_length=4, prediction_length=2), "train")
    every = windows.of_dataset("b")
    drawn = windows.draw("b", 20)
    assert drawn.tolist() == np.sort(np.random.default_rng(0).choice(every, 20, replace=False)).tolist()
    assert windows.draw("b", 1000).tolist() == every.tolist()
