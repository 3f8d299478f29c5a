"""Samplers. A pseudo-random permutation shuffles an epoch of any length without storing its order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import BatchSampler, Sampler

from potstill.data.permutation import Permutation

IDS_PER_CHUNK = 8192


class SpareBatch(list[int]):
    """The batch of a process for which no id is left: its windows are computed, and weigh nothing."""


class SharedBatches(BatchSampler):
    """The batches of one process, which together with those of the others are the batches of a single process.

    One after the other, ``processes · batch_size`` ids of the order are divided into consecutive parts. So an optimizer
    step has the windows that it has in one process with a batch of that size, at the end of an epoch as well.

    Parameters
    ----------
    sampler
        The order of the ids, the same in all processes.
    batch_size
        Ids per batch and process.
    drop_last
        Whether ids that do not fill the batches of all processes are left out.
    rank, processes
        The number of this process and how many there are.
    """

    def __init__(self, sampler: Sampler[int], batch_size: int, drop_last: bool, rank: int, processes: int):
        self.together = BatchSampler(sampler, batch_size * processes, drop_last)
        self.sampler, self.rank, self.processes = sampler, rank, processes

    def __len__(self) -> int:
        return len(self.together)

    def __iter__(self) -> Iterator[list[int]]:
        for ids in self.together:
            own = slice(len(ids) * self.rank // self.processes, len(ids) * (self.rank + 1) // self.processes)
            yield ids[own] or SpareBatch(ids[:1])


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
        Ids per optimizer step, over all processes: so the order does not depend on how a step is divided.
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
