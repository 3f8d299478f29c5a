"""Convert windows to the packed tokens that uni2ts's modules read.

Shapes: B windows, C context, H horizon, P steps per patch, T tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Tokens:
    """A packed batch with one series per row, as ``MoiraiForecast._convert`` returns it.

    Attributes
    ----------
    target, observed
        ``[B, T, P]`` values (0 where missing), and bool: which of them are known.
    sample_id
        ``[B, T]`` 1, or 0 for tokens that are entirely padding.
    time_id
        ``[B, T]`` position, counted from the first token with a value.
    future
        ``[B, T]`` bool: which tokens are to be forecast (the last ones).
    """

    target: Tensor
    observed: Tensor
    sample_id: Tensor
    time_id: Tensor
    future: Tensor

    @property
    def variate_id(self) -> Tensor:
        """``[B, T]`` zeros, because every row is one series."""
        return torch.zeros_like(self.time_id)


def pack(context: Tensor, horizon: int, patch: int, filled: Tensor | None = None) -> Tokens:
    """Split contexts into patches, aligned to their end, and append empty patches for the horizon.

    Parameters
    ----------
    context
        ``[B, C]``, NaN where missing. A run of NaN at the start is padding; a later one is a gap.
    horizon
        Steps to forecast, H.
    patch
        Steps per patch, P.
    filled
        ``[B, C]`` values that replace NaN; default: 0, as in upstream's training.
    """
    rows, length = context.shape
    observed = ~context.isnan()
    values = torch.nan_to_num(context) if filled is None else filled
    started = observed.cummax(dim=1).values
    before, count = -length % patch, math.ceil(horizon / patch)
    after = count * patch - horizon

    def tokens(past: Tensor, future: Tensor) -> Tensor:
        whole = torch.cat([past.new_zeros(rows, before), past, future, future.new_zeros(rows, after)], dim=1)
        return whole.view(rows, whole.shape[1] // patch, patch)

    known = tokens(observed, observed.new_ones(rows, horizon))
    present = tokens(started, started.new_ones(rows, horizon)).any(-1)
    sample_id = present.int()
    past = (present.long().cumsum(1)[:, :-count] - 1).clamp_min(0)
    ahead = torch.arange(1, count + 1, device=context.device) + past.amax(dim=1, keepdim=True)
    future = torch.zeros_like(present)
    future[:, -count:] = True
    target = tokens(values, values.new_zeros(rows, horizon))
    return Tokens(target, known, sample_id, torch.cat([past, ahead], dim=1), future)


def filled_by_mean(context: Tensor) -> Tensor:
    """Fill each gap by the mean of all earlier values, as in the training of Moirai-MoE and Moirai-2.

    In that mean, an earlier gap counts as the last value before it.

    The run of NaN at the start of ``context [B, C]`` is padding and becomes 0.
    """
    observed = ~context.isnan()
    place = torch.arange(context.shape[1], device=context.device).expand_as(context)
    last = torch.where(observed, place, 0).cummax(dim=1).values
    carried = torch.nan_to_num(context.gather(1, last)).double()
    carried = torch.where(observed.cummax(dim=1).values, carried, 0.0)
    before = carried.cumsum(1) - carried
    counted = observed.cummax(dim=1).values.long().cumsum(1) - 1
    mean = before / counted.clamp_min(1)
    return torch.where(observed | (counted < 0), carried, mean).to(context.dtype)
