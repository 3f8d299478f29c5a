"""Synthetic series: each index has a different structure, drawn from families that resemble real data.

A series depends only on ``(seed, index, length)``, so that it can be stored by id and made again in any process.
"""

from __future__ import annotations

import numpy as np

from potstill.data.rng import Rng
from potstill.data.synthetic.finish import finish
from potstill.data.synthetic.kernels import gaussian_process
from potstill.data.synthetic.noise import unit
from potstill.data.synthetic.seasonal import structural
from potstill.data.synthetic.special import cloud, counts, cycles, economy, regimes, river

SYNTHETIC_VERSION = 1  # raise it whenever the same (seed, index) gives a different series

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
        ``[n]`` integers, each identifying one series; any order, any batch.
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
    """One series ``[n]`` float32 from a random number generator; :func:`generate` makes one from a seed."""
    x = rng.weighted_choice(FAMILIES)(rng, n)
    if rng.chance(0.06):
        x = unit(x) + rng.log_between(0.2, 1) * unit(rng.weighted_choice(FAMILIES)(rng, n))
    return finish(rng, x)
