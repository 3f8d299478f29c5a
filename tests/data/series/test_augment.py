"""Augmented windows: deterministic, diverse, and without values from after the training part."""

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


def test_a_window_is_the_same_in_every_batch(windows):
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
    assert len(np.unique(np.nan_to_num(x), axis=0)) >= 390  # data set c has few windows


def test_only_the_training_part_is_read(tmp_path):
    """Later parts do not change the windows, and they do if they are within the bounds."""
    ids = np.arange(600)
    reference = augmented(small_windows(tmp_path / "1", later=1e5), 1, ids)
    np.testing.assert_array_equal(reference, augmented(small_windows(tmp_path / "2", later=-1e30), 1, ids))
    windows = small_windows(tmp_path / "1", later=1e5)
    everything = (np.zeros(len(windows.store), np.int64), windows.store.lengths)
    assert not np.array_equal(reference, augment(windows, everything, 1, ids), equal_nan=True)


def test_confined_augmentation_reads_only_its_windows(tmp_path):
    """With three training windows, the rows outside of them change nothing."""
    windows = small_windows(tmp_path, train_windows=3)
    reference = augmented(windows, 1, np.arange(300), confined=True)
    assert not np.array_equal(reference, augmented(windows, 1, np.arange(300)), equal_nan=True)
    series, origin = windows.locate(np.arange(3))
    inside = np.zeros(len(windows.store.values), bool)
    for s, o in zip(series, origin, strict=True):
        inside[windows.store.offsets[s] + max(o - 64, 0) : windows.store.offsets[s] + o + 16] = True
    windows.store.values = np.where(inside, windows.store.values, np.float32(1e20))
    np.testing.assert_array_equal(reference, augmented(windows, 1, np.arange(300), confined=True))


def test_missing_values_stay_missing_and_enough_values_remain(tmp_path):
    windows = small_windows(tmp_path, missing=0.2)
    x = augmented(windows, 0, np.arange(200))
    assert not np.isinf(x).any()
    assert (np.isfinite(x).sum(1) >= 16).all()
    assert np.isnan(x[:, 64:]).any()


@pytest.mark.parametrize("balance", [1.0, 0.5, 0.0])
def test_sampling_follows_the_balance(windows, balance):
    sizes = np.array([np.diff(windows.range_of(d))[0] for d in range(3)], float)
    assert len(set(sizes)) == 3
    rng = np.random.default_rng(0)
    ids = WindowSampler(windows, balance).ids(rng.random(20000), rng.random(20000))
    shares = np.bincount(windows.store.dataset_of[windows.locate(ids)[0]]) / 20000
    np.testing.assert_allclose(shares, sizes**balance / (sizes**balance).sum(), atol=0.015)


def test_sampling_reaches_every_window(windows):
    rng = np.random.default_rng(0)
    ids = WindowSampler(windows, 1.0).ids(rng.random(200000), rng.random(200000))
    assert len(np.unique(ids)) == len(windows)


def test_series_shorter_than_a_window_are_used(tmp_path):
    """The 140-row files have 112 training rows, so that windows of 400 + 100 steps miss a part of their future."""
    windows = small_windows(tmp_path, context_length=400, prediction_length=100)
    assert np.diff(windows.range_of(2))[0] == 0
    x = augmented(windows, 0, np.arange(300))
    part = np.isnan(x[:, -1]) & np.isfinite(x[:, 400])
    assert 0.05 < part.mean() < 0.2
    assert (np.isfinite(x[part]).sum(1) >= 24).all()
    known = np.isfinite(x[part, 400:]).sum(1)
    assert known.min() >= 1
    assert len(np.unique(known)) > 5
