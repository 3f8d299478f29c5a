"""Samplers. A pseudo-random permutation shuffles an epoch of any length without storing its order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from potstill.data.permutation import Permutation

IDS_PER_CHUNK = 8192


class PermutedSampler(Sampler[int]):
    """Every id of ``range(length)`` once per epoch, in an order that depends on (seed, epoch) alone."""

    def __init__(self, length: int, seed: int):
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """The trainer calls this before each epoch, also when it resumes."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        order = Permutation(self.length, self.seed * 1_000_003 + self.epoch)
        for start in range(0, self.length, IDS_PER_CHUNK):
            yield from order[np.arange(start, min(start + IDS_PER_CHUNK, self.length))].tolist()


class LengthSampler(Sampler[int]):
    """Every id once per epoch, with examples of similar length in one batch, so that batches need little padding.

    The ids of ``POOL`` batches are drawn as by :class:`PermutedSampler`, sorted by length and cut into batches; the
    order of these batches is then shuffled. Everything depends on (seed, epoch) alone.

    Parameters
    ----------
    lengths
        Number of tokens of each example ``[n]``.
    batch_size
        Ids per batch.
    seed
        The run's seed.
    """

    POOL = 32

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int):
        self.lengths, self.batch_size = np.asarray(lengths), batch_size
        self.order = PermutedSampler(len(self.lengths), seed)

    def set_epoch(self, epoch: int) -> None:
        """The trainer calls this before each epoch, also when it resumes."""
        self.order.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        ids = np.fromiter(self.order, np.int64, len(self))
        pool = self.batch_size * self.POOL
        for start in range(0, len(ids), pool):
            run = ids[start : start + pool]
            run = run[np.argsort(self.lengths[run], kind="stable")]
            batches = [run[first : first + self.batch_size] for first in range(0, len(run), self.batch_size)]
            # an incomplete batch stays last; otherwise the trainer's batches would not coincide with these
            whole = len(run) // self.batch_size
            shuffled = np.random.default_rng([self.order.seed, self.order.epoch, start]).permutation(whole)
            for place in [*shuffled.tolist(), *range(whole, len(batches))]:
                yield from batches[place].tolist()
