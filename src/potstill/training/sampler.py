"""Shuffling by arithmetic: an epoch's order costs no memory, whatever its length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from potstill.data.permutation import Permutation

CHUNK = 8192


class PermutedSampler(Sampler[int]):
    """Every id of ``range(length)`` once an epoch, in an order that depends on (seed, epoch) alone."""

    def __init__(self, length: int, seed: int):
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """The trainer calls this before each epoch, also when it resumes."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        order = Permutation(self.length, self.seed * 1_000_003 + self.epoch)
        for start in range(0, self.length, CHUNK):
            yield from order[np.arange(start, min(start + CHUNK, self.length))].tolist()
