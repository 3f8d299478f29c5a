"""Augmented windows: deterministic, diverse, and never a value from beyond the training part."""

import numpy as np
import pytest
from fake_windows import FakeWindows, fake_windows

from potstill.data.augment import augment
from potstill.data.draws import RealDraws


def test_the_same_in_every_batch():
    windows = fake_windows()
    ids = np.array([5, 900, 17, 5])
    batch = augment(windows, 3, ids)
    assert batch.shape == (4, 80)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, np.concatenate([augment(windows, 3, ids[i : i + 1]) for i in range(4)]))
    assert not np.array_equal(batch, augment(windows, 4, ids), equal_nan=True)


def test_usable_and_diverse():
    x = augment(fake_windows(), 0, np.arange(400))
    assert not np.isinf(x).any()
    assert (np.isfinite(x).sum(1) >= 16).all()
    assert (np.nanmax(x, 1) > np.nanmin(x, 1)).all()
    assert len(np.unique(np.nan_to_num(x), axis=0)) >= 395  # data set 2 holds only 21 windows


def test_nothing_comes_from_beyond_the_training_part():
    """The same windows whatever stands outside the bounds: sentinels there change nothing."""
    ids = np.arange(600)
    reference = augment(fake_windows(sentinel=1e5), 1, ids)
    np.testing.assert_array_equal(reference, augment(fake_windows(sentinel=np.nan), 1, ids))
    np.testing.assert_array_equal(reference, augment(fake_windows(sentinel=-1e30), 1, ids))


def test_a_pool_confines_augmentation_to_its_windows():
    windows = fake_windows()
    pool = np.array([40, 900, 2300])
    draws = RealDraws(windows, 0.5, pool)
    reference = augment(windows, 1, np.arange(300), draws)
    series, origin = windows.locate(pool)
    inside = np.zeros(len(windows.store.values), bool)
    for s, o in zip(series, origin, strict=True):
        inside[windows.store.offsets[s] + o - 64 : windows.store.offsets[s] + o + 16] = True
    windows.store.values = np.where(inside, windows.store.values, np.float32(1e20))
    np.testing.assert_array_equal(reference, augment(windows, 1, np.arange(300), draws))


def test_missing_values_stay_missing_or_give_way():
    rng = np.random.default_rng(0)
    series = [np.where(rng.random(600) < 0.2, np.nan, rng.normal(size=600)), np.full(300, np.nan), np.full(300, 7.0)]
    windows = FakeWindows(series, [0, 0, 0], [500, 300, 300], [0, 1, 2])
    x = augment(windows, 0, np.arange(200))
    assert not np.isinf(x).any()
    assert (np.isfinite(x).sum(1) >= 16).all()
    assert np.isnan(x).any()


@pytest.mark.parametrize(("balance", "expected"), [(1.0, (2342, 392, 21)), (0.5, (48.4, 19.8, 4.6)), (0.0, (1, 1, 1))])
def test_draws_follow_the_balance(balance, expected):
    windows = fake_windows()
    rng = np.random.default_rng(0)
    ids = RealDraws(windows, balance).ids(rng.random(20000), rng.random(20000))
    shares = np.bincount(windows.store.dataset_of[windows.locate(ids)[0]]) / 20000
    np.testing.assert_allclose(shares, np.array(expected) / sum(expected), atol=0.015)


def test_draws_reach_every_window_of_interleaved_data_sets():
    windows = fake_windows()
    windows.store.dataset_of = np.array([1, 0, 2, 0, 1], np.int32)
    rng = np.random.default_rng(0)
    ids = RealDraws(windows, 1.0).ids(rng.random(200000), rng.random(200000))
    assert len(np.unique(ids)) == len(windows)
