"""Synthetic series: every index has a structure of its own, drawn from families that look like the real world.

A series depends on ``(seed, index, length)`` alone, so that it can be stored by id, resumed, and made in any process.
"""

from __future__ import annotations

import numpy as np

from potstill.data.rng import Rng
from potstill.data.synthetic.finish import finish
from potstill.data.synthetic.kernels import gaussian_process
from potstill.data.synthetic.noise import unit
from potstill.data.synthetic.seasonal import structural
from potstill.data.synthetic.special import cloud, counts, cycles, economy, regimes, river

VERSION = 1  # raise it whenever the same (seed, index) gives another series

FAMILIES = (
    (38, structural),
    (20, gaussian_process),
    (8, counts),
    (9, cloud),
    (4, river),
    (10, economy),
    (6, regimes),
    (5, cycles),
)

_SALT = 0x5E71E5


def generate(seed: int, indices: np.ndarray, length: int = 608) -> np.ndarray:
    """Draw synthetic series.

    Parameters
    ----------
    seed
        Seed of the whole collection.
    indices
        ``[n]`` whole numbers, each naming one series; any order, any batch.
    length
        Steps of each series.

    Returns
    -------
    ``[n, length]`` float32: finite, not constant, magnitudes below 1e6.
    """
    out = np.empty((len(indices), length), np.float32)
    for row, index in enumerate(np.asarray(indices).tolist()):
        out[row] = draw(Rng(seed, index, _SALT), length)
    return out


def draw(rng: Rng, n: int) -> np.ndarray:
    """One series ``[n]`` float32 from whatever rng are given: :func:`generate` without the seeds."""
    x = rng.weighted_choice(FAMILIES)(rng, n)
    if rng.chance(0.06):
        x = unit(x) + rng.log_between(0.2, 1) * unit(rng.weighted_choice(FAMILIES)(rng, n))
    return finish(rng, x)
