"""Augmented windows: deterministic, diverse, and never a value from beyond the training part."""

import numpy as np
import pytest
from training_series import small_windows

from potstill.data.series.augment import augment
from potstill.data.series.sampling import WindowSampler
from potstill.data.series.splits import part_bounds


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return small_windows(tmp_path_factory.mktemp("data"))


def augmented(windows, seed, ids, **options):
    return augment(windows, part_bounds(windows.store, "8:1:1", "train"), seed, np.asarray(ids), **options)


def test_the_same_in_every_batch(windows):
    ids = np.array([5, 900, 17, 5])
    batch = augmented(windows, 3, ids)
    assert batch.shape == (4, 80)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, np.concatenate([augmented(windows, 3, ids[i : i + 1]) for i in range(4)]))
    assert not np.array_equal(batch, augmented(windows, 4, ids), equal_nan=True)


def test_usable_and_diverse(windows):
    x = augmented(windows, 0, np.arange(400))
    assert not np.isinf(x).any()
    assert (np.isfinite(x).sum(1) >= 16).all()
    assert (np.nanmax(x, 1) > np.nanmin(x, 1)).all()
    assert len(np.unique(np.nan_to_num(x), axis=0)) >= 390  # data set c holds few windows


def test_nothing_comes_from_beyond_the_training_part(tmp_path):
    """Whatever stands in the later parts, the windows are the same; and it does appear where it is asked for."""
    ids = np.arange(600)
    reference = augmented(small_windows(tmp_path / "1", later=1e5), 1, ids)
    np.testing.assert_array_equal(reference, augmented(small_windows(tmp_path / "2", later=-1e30), 1, ids))
    windows = small_windows(tmp_path / "1", later=1e5)
    everything = (np.zeros(len(windows.store), np.int64), windows.store.lengths)
    assert not np.array_equal(reference, augment(windows, everything, 1, ids), equal_nan=True)


def test_confined_augmentation_reads_its_windows_alone(tmp_path):
    """Three scarce windows: what stands in the rows that none of them holds changes nothing."""
    windows = small_windows(tmp_path, train_windows=3)
    reference = augmented(windows, 1, np.arange(300), confined=True)
    assert not np.array_equal(reference, augmented(windows, 1, np.arange(300)), equal_nan=True)
    series, origin = windows.locate(np.arange(3))
    inside = np.zeros(len(windows.store.values), bool)
    for s, o in zip(series, origin, strict=True):
        inside[windows.store.offsets[s] + max(o - 64, 0) : windows.store.offsets[s] + o + 16] = True
    windows.store.values = np.where(inside, windows.store.values, np.float32(1e20))
    np.testing.assert_array_equal(reference, augmented(windows, 1, np.arange(300), confined=True))


def test_missing_values_stay_missing_or_give_way(tmp_path):
    windows = small_windows(tmp_path, missing=0.2)
    x = augmented(windows, 0, np.arange(200))
    assert not np.isinf(x).any()
    assert (np.isfinite(x).sum(1) >= 16).all()
    assert np.isnan(x[:, 64:]).any()


@pytest.mark.parametrize("balance", [1.0, 0.5, 0.0])
def test_draws_follow_the_balance(windows, balance):
    sizes = np.array([np.diff(windows.range_of(d))[0] for d in range(3)], float)
    assert len(set(sizes)) == 3
    rng = np.random.default_rng(0)
    ids = WindowSampler(windows, balance).ids(rng.random(20000), rng.random(20000))
    shares = np.bincount(windows.store.dataset_of[windows.locate(ids)[0]]) / 20000
    np.testing.assert_allclose(shares, sizes**balance / (sizes**balance).sum(), atol=0.015)


def test_draws_reach_every_window(windows):
    rng = np.random.default_rng(0)
    ids = WindowSampler(windows, 1.0).ids(rng.random(200000), rng.random(200000))
    assert len(np.unique(ids)) == len(windows)


def test_series_too_short_for_a_window_take_part(tmp_path):
    """Only the 140-row files have 112 training rows; windows of 400 + 100 steps know some of their future alone."""
    windows = small_windows(tmp_path, context_length=400, prediction_length=100)
    assert np.diff(windows.range_of(2))[0] == 0
    x = augmented(windows, 0, np.arange(300))
    part = np.isnan(x[:, -1]) & np.isfinite(x[:, 400])
    assert 0.05 < part.mean() < 0.2
    assert (np.isfinite(x[part]).sum(1) >= 24).all()
    known = np.isfinite(x[part, 400:]).sum(1)
    assert known.min() >= 1
    assert len(np.unique(known)) > 5
