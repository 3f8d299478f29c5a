"""A permutation maps to every number once for any size and seed, without memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.data.permutation import Permutation


@given(n=st.integers(1, 5000), seed=st.integers(0, 2**63))
def test_every_number_occurs_once(n, seed):
    images = Permutation(n, seed)[np.arange(n)]
    assert np.array_equal(np.sort(images), np.arange(n))


@given(n=st.integers(1, 2**62), seed=st.integers(0, 2**32), data=st.data())
def test_distinct_positions_of_a_huge_range_have_distinct_images(n, seed, data):
    positions = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=50, unique=True)))
    images = Permutation(n, seed)[positions]
    assert len(set(images.tolist())) == len(positions)
    assert images.min() >= 0
    assert images.max() < n


def test_one_index_an_array_and_the_iterator_agree():
    permutation = Permutation(10_000, seed=3)
    images = permutation[np.arange(10_000)]
    assert [permutation[i] for i in (0, 7, 9999)] == images[[0, 7, 9999]].tolist()
    assert list(permutation) == images.tolist()


def test_seeds_differ_and_repeat():
    positions = np.arange(1000)
    assert np.array_equal(Permutation(1000, 1)[positions], Permutation(1000, 1)[positions])
    assert (Permutation(1000, 1)[positions] == Permutation(1000, 2)[positions]).mean() < 0.02


def test_neighbours_are_spread_evenly():
    """The first tenth of the order is in every tenth of the range about equally often."""
    images = Permutation(100_000, seed=5)[np.arange(10_000)]
    counts = np.bincount(images // 10_000, minlength=10)
    assert np.abs(counts - 1000).max() < 150


def test_an_empty_range_and_positions_outside():
    assert list(Permutation(0, 1)) == []
    with pytest.raises(IndexError):
        Permutation(5, 1)[5]
    with pytest.raises(ValueError, match="2\\^62"):
        Permutation(-1, 1)
