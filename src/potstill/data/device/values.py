"""Arithmetic on windows of which some values are missing (NaN).

Shapes: n windows, L steps, C context.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from potstill.data.device.draws import Draws

SHORTENED, SHORTEST = 0.35, 8  # share of windows with a shortened history, and its shortest length
GAPPED, LARGEST_GAP_RATE = 0.06, 0.4  # share of windows with gaps, and the largest share of missing values in one
LEAST_KNOWN = 4  # values that a context needs for its future to count
LARGEST_JUMP = math.sinh(12.0)  # a future value further from the context's mean, in its deviations, is left out


def mean_and_deviation(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the known values of ``x [n, L]``, both ``[n, 1]``; NaN if there is none."""
    mean = x.nanmean(dim=1, keepdim=True)
    return mean, (x - mean).square().nanmean(dim=1, keepdim=True).sqrt()


def unit(x: Tensor) -> Tensor:
    """``x [n, L]`` with mean 0 and deviation 1 in each row; a constant row becomes 0."""
    mean, deviation = mean_and_deviation(x)
    return (x - mean) / deviation.clamp(min=1e-6)


def remove_values(draws: Draws, context: Tensor) -> Tensor:
    """Shorten the histories of some windows of ``context [n, C]`` and add gaps to a few; the newest steps stay."""
    rows, length = context.shape
    kept = (SHORTEST * (length / SHORTEST) ** draws.uniform(rows, 1)).long()
    before = torch.arange(length, device=context.device) < length - kept
    lost = draws.chance(SHORTENED, rows, 1) & before
    rate = LARGEST_GAP_RATE * draws.uniform(rows, 1)
    lost |= draws.chance(GAPPED, rows, 1) & (draws.uniform(rows, length) < rate)
    return context.masked_fill(lost, torch.nan)


def remove_useless_futures(context: Tensor, future: Tensor) -> Tensor:
    """``future [n, H]`` without values that teach nothing.

    Without enough known values in the context all of them are removed. Values beyond ``LARGEST_JUMP`` deviations of
    the context are removed, too: they follow almost constant contexts, and one of them outweighs a batch.
    """
    known = (~context.isnan()).sum(dim=1, keepdim=True)
    mean, deviation = mean_and_deviation(context)
    jump = (future - mean).abs() > LARGEST_JUMP * deviation.clamp(min=1e-30)
    return future.masked_fill((known < LEAST_KNOWN) | jump, torch.nan)
