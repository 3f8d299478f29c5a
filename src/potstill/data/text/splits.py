"""Split examples into training, validation and test by a hash of their content: duplicates stay in one part."""

from __future__ import annotations

import numpy as np

from potstill.errors import UserError

SPLIT_PARTS = ("train", "validation", "test")
_ALL = 2.0**64


def shares_of(split: str) -> np.ndarray:
    """``[3]`` shares of a split such as ``8:1:1``; they sum to 1.

    Raises
    ------
    UserError
        The split is not three shares. Splits by time apply to series only.
    """
    try:
        shares = np.array([float(share) for share in split.split(":")])
    except ValueError:
        shares = np.zeros(0)
    if len(shares) != 3 or not np.isfinite(shares).all() or (shares < 0).any() or not shares.sum():
        raise UserError(
            f"data.split: {split!r} does not split text; write shares such as 8:1:1.", key="split.unreadable"
        )
    return shares / shares.sum()


def members(numbers: np.ndarray, split: str, part: str) -> np.ndarray:
    """``[n]`` int64, ascending: the examples of a part.

    Every part with a share has an example if there are enough different ones; if not, all examples are training data.

    Parameters
    ----------
    numbers
        ``[N]`` uint64 hash of each example's content.
    """
    if part not in SPLIT_PARTS:
        raise ValueError(f"unknown part {part!r}; parts are {', '.join(SPLIT_PARTS)}")
    which = SPLIT_PARTS.index(part)
    bounds = _bounds(np.unique(numbers), shares_of(split))
    ranks = np.unique(numbers, return_inverse=True)[1]
    return np.flatnonzero((ranks >= bounds[which]) & (ranks < bounds[which + 1]))


def _bounds(hashes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """``[4]`` ranks in the ascending hashes: part k has the ranks from bound k to bound k + 1."""
    n, nonempty = len(hashes), (shares > 0).astype(np.int64)
    if n < nonempty.sum():
        first = int(np.flatnonzero(nonempty)[0])
        return np.where(np.arange(4) > first, n, 0)
    ends = np.cumsum(shares)[:2]
    inner = np.searchsorted(hashes / _ALL, ends)
    inner[ends > 1 - 1e-9] = n  # rounding must not give examples to a part without a share
    bounds = np.array([0, *inner, n])
    for k in (1, 2):
        bounds[k] = max(bounds[k], bounds[k - 1] + nonempty[k - 1])
    for k in (2, 1):
        bounds[k] = min(bounds[k], bounds[k + 1] - nonempty[k])
    return bounds
