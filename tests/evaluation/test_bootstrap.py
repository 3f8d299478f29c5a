import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.evaluation.bootstrap import draw_weights, geometric_mean_ratio, mean_ratio


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 100))
def test_windows_of_a_block_are_resampled_together(series, blocks, seed):
    of_series = np.repeat(np.arange(series), blocks * 2)
    block = np.tile(np.repeat(np.arange(blocks), 2), series)
    weights = draw_weights(of_series, block, repeats=5, seed=seed)
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    # every series has the same number of blocks, so every sample has the same number of windows
    assert (weights.sum(1) == len(of_series)).all()


def test_many_series_are_resampled_as_clusters():
    weights = draw_weights(np.repeat(np.arange(10), 3), np.tile(np.arange(3), 10), repeats=200)
    by_series = weights.reshape(200, 10, 3).sum(2)
    assert (by_series % 3 == 0).all()
    assert (by_series == 0).any()


def test_same_seed_same_samples():
    arguments = np.arange(20) // 4, np.arange(20) % 4
    assert (draw_weights(*arguments, seed=1) == draw_weights(*arguments, seed=1)).all()
    assert (draw_weights(*arguments, seed=1) != draw_weights(*arguments, seed=2)).any()


def test_the_interval_agrees_with_the_normal_approximation():
    rng = np.random.default_rng(0)
    below = np.ones(4000)
    above = rng.normal(1.0, 0.2, 4000)
    interval, _ = mean_ratio(above, below, draw_weights(np.zeros(4000, int), np.arange(4000), repeats=2000))
    wide = 1.96 * above.std() / np.sqrt(4000)
    assert interval.value == pytest.approx(above.mean())
    assert interval.high - interval.low == pytest.approx(2 * wide, rel=0.1)


def test_clusters_widen_the_interval():
    rng = np.random.default_rng(0)
    series = np.repeat(np.arange(20), 50)
    above = 1 + rng.normal(0, 0.3, 20)[series]
    clustered, _ = mean_ratio(above, np.ones(1000), draw_weights(series, np.arange(1000)))
    single, _ = mean_ratio(above, np.ones(1000), draw_weights(np.zeros(1000, int), np.arange(1000)))
    assert clustered.high - clustered.low > 3 * (single.high - single.low)


def test_pairing_cancels_the_difficulty_of_windows():
    hard = np.random.default_rng(0).uniform(0.1, 10, 500)
    interval, _ = mean_ratio(0.9 * hard, hard, draw_weights(np.zeros(500, int), np.arange(500)))
    assert [interval.value, interval.low, interval.high] == pytest.approx([0.9, 0.9, 0.9])


def test_geometric_mean_over_data_sets():
    logs = [np.log(np.full(100, 0.5)), np.log(np.full(100, 2.0))]
    interval = geometric_mean_ratio([0.5, 2.0], logs)
    assert [interval.value, interval.low, interval.high] == pytest.approx([1, 1, 1])
    assert np.isnan(geometric_mean_ratio([], []).value)
