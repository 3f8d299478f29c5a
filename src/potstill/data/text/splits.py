"""Which examples train, validate and test: by a hash of their content, so that duplicates stay together."""

from __future__ import annotations

import numpy as np

from potstill.errors import UserError

PARTS = ("train", "validation", "test")
_ALL = 2.0**64


def shares_of(split: str) -> np.ndarray:
    """``[3]`` shares of a split such as ``8:1:1``; they sum to 1.

    Raises
    ------
    UserError
        Anything else: series are split by time, examples by chance.
    """
    try:
        shares = np.array([float(share) for share in split.split(":")])
    except ValueError:
        shares = np.zeros(0)
    if len(shares) != 3 or not np.isfinite(shares).all() or (shares < 0).any() or not shares.sum():
        raise UserError(f"data.split: {split!r} does not split text; write shares such as 8:1:1.")
    return shares / shares.sum()


def members(numbers: np.ndarray, split: str, part: str) -> np.ndarray:
    """``[n]`` int64, ascending: which examples belong to a part.

    A part with a share has an example, as long as there are as many different ones as such parts; fewer all train.

    Parameters
    ----------
    numbers
        ``[N]`` uint64 hash of each example's content.
    """
    if part not in PARTS:
        raise ValueError(f"no part {part!r}; parts are {', '.join(PARTS)}")
    which = PARTS.index(part)
    bounds = _bounds(np.unique(numbers), shares_of(split))
    ranks = np.unique(numbers, return_inverse=True)[1]
    return np.flatnonzero((ranks >= bounds[which]) & (ranks < bounds[which + 1]))


def _bounds(different: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """``[4]`` ranks among the ascending hashes between which the parts lie."""
    n, wanted = len(different), (shares > 0).astype(np.int64)
    if n < wanted.sum():
        first = int(np.flatnonzero(wanted)[0])
        return np.where(np.arange(4) > first, n, 0)
    ends = np.cumsum(shares)[:2]
    inner = np.searchsorted(different / _ALL, ends)
    inner[ends > 1 - 1e-9] = n  # rounding must leave nothing to a part without a share
    bounds = np.array([0, *inner, n])
    for k in (1, 2):
        bounds[k] = max(bounds[k], bounds[k - 1] + wanted[k - 1])
    for k in (2, 1):
        bounds[k] = min(bounds[k], bounds[k + 1] - wanted[k])
    return bounds
