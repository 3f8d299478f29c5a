"""Windows that are forecast on their own: synthetic, real, mixed and warped ones.

Shapes: n windows, C context, H horizon, L = C + H steps.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from potstill.data.device.draws import Draws
from potstill.data.device.pool import SyntheticPool
from potstill.data.device.series import Drawn, ResidentSeries
from potstill.data.device.values import unit

FLIPPED = 0.15  # share of synthetic windows whose sign is changed
WARPED = 0.25  # share of the augmented windows that are warped; the others are mixed
DRIFTED, CENSORED = 0.4, 0.3  # shares of the warped windows; the others have regular spikes
CENSORED_ABOVE = 0.85  # quantile of a window's values
SPIKE_PERIODS = (6, 97)
#: shares of the mixtures: without the first real part; with all three parts; the others are of two real parts
WITHOUT_FIRST, WITH_ALL = 0.3, 0.2


class Shares(NamedTuple):
    """Shares of synthetic and of augmented windows; the others are real."""

    synthetic: float
    augmented: float


def draw_singles(
    draws: Draws,
    pool: SyntheticPool,
    real: ResidentSeries | None,
    shares: Shares,
    count: int,
    context: int,
    horizon: int,
) -> Drawn:
    """Windows of all kinds, one kind after the other; series -1 where a window is not of one real series."""
    synthetic = count if real is None else round(count * shares.synthetic)
    augmented = round(count * (shares.synthetic + shares.augmented)) - synthetic
    warped = round(augmented * WARPED)
    parts = [synthetic_windows(draws, pool, synthetic, context + horizon)]
    unmixed = 0
    series = origin = torch.zeros(0, dtype=torch.int64, device=draws.device)
    if real is not None:
        unmixed = count - synthetic - augmented
        drawn = real.draw(draws, unmixed + warped, context, horizon)
        series, origin = drawn.series[:unmixed], drawn.origin[:unmixed]
        mixed = mixed_windows(draws, pool, real, augmented - warped, context, horizon)
        parts += [drawn.values[:unmixed], mixed, warp(draws, drawn.values[unmixed:])]
    none = series.new_full((count,), -1)
    at = slice(synthetic, synthetic + unmixed)
    none[at] = series
    places = torch.zeros_like(none)
    places[at] = origin
    return Drawn(torch.cat(parts), none, places)


def synthetic_windows(draws: Draws, pool: SyntheticPool, count: int, length: int) -> Tensor:
    """``[n, L]``: stretches of series of the pool, some with the opposite sign."""
    row = draws.integers(0, pool.filled, count, 1)
    begin = draws.integers(0, pool.rows.shape[1] - length + 1, count, 1)
    x = pool.rows[row, begin + torch.arange(length, device=row.device)]
    return x * torch.where(draws.chance(FLIPPED, count, 1), -1.0, 1.0)


def mixed_windows(
    draws: Draws, pool: SyntheticPool, real: ResidentSeries, count: int, context: int, horizon: int
) -> Tensor:
    """``[n, L]``: weighted means of standardised windows, two real ones and a synthetic one, or two of these three.

    The idea is TSMixup's (Ansari et al., Chronos, 2024).
    """
    of_real = real.draw(draws, 2 * count, context, horizon).values
    parts = unit(torch.cat([of_real, synthetic_windows(draws, pool, count, context + horizon)]))
    parts = parts.unflatten(0, (3, count))
    kind, weights = draws.uniform(count), draws.dirichlet(3, count)
    used = torch.stack([kind >= WITHOUT_FIRST, kind >= 0, kind < WITHOUT_FIRST + WITH_ALL])
    weights = (weights * used)[..., None]
    return torch.where(weights > 0, weights * parts, 0.0).sum(dim=0)


def warp(draws: Draws, x: Tensor) -> Tensor:
    """``x [n, L]`` standardised, with a drifting amplitude, cut off at the top, or with regular spikes.

    As in TiRex (Auer et al., 2025).
    """
    count, length = x.shape
    if not count:
        return x
    x, kind = unit(x), draws.uniform(count, 1)
    time = torch.linspace(0, 1, length, device=x.device)
    wave = torch.sin(2 * math.pi * (3 * draws.uniform(count, 1) * time + draws.uniform(count, 1)))
    drifted = x * (1 + 0.5 * draws.uniform(count, 1) * wave)
    censored = torch.minimum(x, torch.nanquantile(x, CENSORED_ABOVE, dim=1, keepdim=True))
    steps = torch.arange(length, device=x.device) + draws.integers(0, SPIKE_PERIODS[1] - 1, count, 1)
    spike = steps % draws.integers(*SPIKE_PERIODS, count, 1) == 0
    spiked = x + spike * (1 + 3 * draws.uniform(count, 1))
    return torch.where(kind < DRIFTED, drifted, torch.where(kind < DRIFTED + CENSORED, censored, spiked))
