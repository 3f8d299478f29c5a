"""Splits of text by hash: duplicates stay together, and no part is empty unless there are too few examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from usage_errors import usage_error

from potstill.data.text.splits import SPLIT_PARTS, members, shares_of

NUMBERS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9), min_size=1, max_size=60)
SPLITS = st.sampled_from(["8:1:1", "1:1:1", "98:1:1", "1:0:1", "0:0:1", "1:0:0", "0.7:0.1:0.2"])


@given(NUMBERS, SPLITS)
def test_every_example_is_in_one_part_with_its_duplicates(numbers, split):
    numbers = np.array(numbers, np.uint64)
    parts = [members(numbers, split, part) for part in SPLIT_PARTS]
    assert sorted(np.concatenate(parts)) == list(range(len(numbers)))
    contents = [set(numbers[part].tolist()) for part in parts]
    assert sum(map(len, contents)) == len(set(numbers.tolist()))
    has_shares = shares_of(split) > 0
    for content, has_share in zip(contents, has_shares, strict=True):
        assert has_share or not content
        assert content or not has_share or len(set(numbers.tolist())) < has_shares.sum()


def test_shares_are_kept():
    numbers = np.random.default_rng(0).integers(0, 2**64, 10_000, np.uint64)
    sizes = [len(members(numbers, "8:1:1", part)) for part in SPLIT_PARTS]
    assert np.allclose(sizes, [8000, 1000, 1000], atol=120)


def test_more_data_moves_no_example_to_another_part():
    numbers = np.random.default_rng(0).integers(0, 2**64, 2000, np.uint64)
    some, more = (set(numbers[:n][members(numbers[:n], "8:1:1", "test")].tolist()) for n in (1000, 2000))
    assert some < more


def test_too_few_examples_are_training_data():
    assert members(np.array([7, 7], np.uint64), "8:1:1", "train").tolist() == [0, 1]


@pytest.mark.parametrize(
    "split", ["ett", "suite", "by-file", "2017-07-01,2017-11-01", "8:1", "0:0:0", "8:-1:1", "nan:1:1", ""]
)
def test_other_splits_are_usage_errors(split):
    with usage_error("split.unreadable", "data.split", repr(split), "8:1:1"):
        shares_of(split)


def test_unknown_parts():
    with pytest.raises(ValueError, match="unknown part 'dev'"):
        members(np.zeros(1, np.uint64), "8:1:1", "dev")
