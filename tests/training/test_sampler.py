"""Orders of ids: every one once an epoch, like lengths together, the same for the same seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.training.sampler import LengthSampler, PermutedSampler


@given(st.lists(st.integers(1, 500), max_size=300), st.integers(1, 9), st.integers(0, 3), st.integers(0, 3))
def test_every_id_comes_once(lengths: list[int], batch: int, seed: int, epoch: int):
    sampler = LengthSampler(np.array(lengths, dtype=np.int64), batch, seed)
    sampler.set_epoch(epoch)
    assert sorted(sampler) == list(range(len(lengths)))
    assert len(sampler) == len(lengths)


def test_batches_hold_like_lengths():
    lengths = np.random.default_rng(0).integers(1, 1000, 2048)

    def padding(order: list[int]) -> float:
        batches = lengths[np.array(order)].reshape(-1, 16)
        return (batches.max(axis=1, keepdims=True) - batches).mean() / lengths.mean()

    assert padding(list(LengthSampler(lengths, 16, seed=1))) < 0.1 * padding(list(PermutedSampler(2048, seed=1)))


@pytest.mark.parametrize(("seed", "epoch"), [(1, 1), (2, 0)])
def test_another_epoch_or_seed_is_another_order(seed: int, epoch: int):
    lengths = np.arange(200)
    first, again, other = (LengthSampler(lengths, 8, s) for s in (1, 1, seed))
    other.set_epoch(epoch)
    assert list(first) == list(again) != list(other)


def test_batches_do_not_come_in_order_of_length():
    firsts = np.array(list(LengthSampler(np.arange(512), 8, seed=0)))[::8]
    assert (np.diff(firsts) < 0).any()
