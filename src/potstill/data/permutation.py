"""A shuffled order of range(n), computed without a list of n numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import overload

import numpy as np

_ROUNDS = 6
_BLOCK = 4096


def splitmix64(x: np.ndarray) -> np.ndarray:
    """Scramble uint64 values: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Permutation:
    """A bijection of ``range(n)`` that depends on ``seed`` alone; memory O(1).

    A Feistel network over the smallest power of two that is at least ``n``. Values outside ``range(n)`` are mapped
    again until they are inside (cycle walking; Black and Rogaway, 2002), in fewer than two passes on average.

    Examples
    --------
    >>> sorted(Permutation(5, seed=1)) == [0, 1, 2, 3, 4]
    True
    """

    def __init__(self, n: int, seed: int):
        if n < 0 or n > 2**62:
            raise ValueError(f"a permutation needs 0 <= n <= 2^62, not {n}")
        self.n = n
        bits = max((n - 1).bit_length(), 2)
        self._low_bits = np.uint64(bits // 2)
        self._low = np.uint64((1 << (bits // 2)) - 1)
        self._high = np.uint64((1 << (bits - bits // 2)) - 1)
        state = np.arange(1, _ROUNDS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        self._keys = splitmix64(state + splitmix64(np.array([seed % 2**64], dtype=np.uint64)))

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: np.ndarray) -> np.ndarray: ...

    def __getitem__(self, index: int | np.ndarray) -> int | np.ndarray:
        """Image of one position, or of an array of positions (int64, any shape)."""
        positions = np.atleast_1d(np.asarray(index))
        if positions.size and (positions.min() < 0 or positions.max() >= self.n):
            raise IndexError(f"position out of range({self.n})")
        images = self._once(positions.astype(np.uint64))
        limit = np.uint64(self.n)
        outside = images >= limit
        while outside.any():
            images[outside] = self._once(images[outside])
            outside = images >= limit
        images = images.astype(np.int64)
        return int(images[0]) if np.ndim(index) == 0 else images

    def __iter__(self) -> Iterator[int]:
        for first in range(0, self.n, _BLOCK):
            yield from self[np.arange(first, min(first + _BLOCK, self.n))].tolist()

    def _once(self, x: np.ndarray) -> np.ndarray:
        """One pass: each round scrambles one half with a hash of the other, so every round is invertible."""
        high, low = x >> self._low_bits, x & self._low
        for k, key in enumerate(self._keys):
            if k % 2:
                low = low ^ (splitmix64(high + key) & self._low)
            else:
                high = high ^ (splitmix64(low + key) & self._high)
        return (high << self._low_bits) | low
