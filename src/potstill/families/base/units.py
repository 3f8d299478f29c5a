"""Contexts in units that every model can compute with in float32: around 0 and of moderate size.

Models standardise contexts in float32. A mean of values of 2e9 that differ by 3 is wrong by more than their spread, the
squares of values above 1e19 are infinite, and those of values below 1e-19 are 0. Only contexts that need it are
converted; all others stay as they are, bit by bit.

Shapes: B windows, C context.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from potstill.runtime.units import LARGEST, LARGEST_LEVEL, SMALLEST, SMALLEST_CONSTANT, UNIT_EXPONENT
from potstill.types import Forecast, Windows


class Units(NamedTuple):
    """The input is ``loc + scale * context``; both ``[B, 1]`` float64."""

    loc: Tensor
    scale: Tensor

    def to_input(self, forecast: Forecast) -> Forecast:
        """A forecast of converted contexts as one of the input."""
        loc, scale = self.loc.to(forecast.loc.device), self.scale.to(forecast.scale.device)
        return replace(forecast, loc=loc + scale * forecast.loc, scale=scale * forecast.scale)


def in_safe_units(windows: Windows, smallest: float = SMALLEST) -> tuple[Windows, Units | None]:
    """Convert contexts, and covariates, to float32 in units that are safe for any model.

    Parameters
    ----------
    windows
        Contexts in float32 or float64. Covariates are inputs only, so that their units are not returned.
    smallest
        Contexts with a smaller range are converted.

    Returns
    -------
    tuple
        Windows in float32, and the units of the contexts; None if no context needs other units.
    """
    context, units = _convert(windows.context, smallest)
    changed = {"context": context}
    for name in ("past_covariates", "future_covariates"):
        values = getattr(windows, name)
        if values is not None and values.numel():
            changed[name] = _convert(values.flatten(0, 1), smallest)[0].view_as(values)
    return replace(windows, **changed), units


def _bounds(x: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest known value of each row of ``x [B, C]``, ``[B, 1]`` float64; infinite if none is known."""
    low, high = x.aminmax(dim=1, keepdim=True)
    if bool(low.isnan().any()):  # one pass suffices where no value is missing
        missing = x.isnan()
        low = x.masked_fill(missing, torch.inf).amin(dim=1, keepdim=True)
        high = x.masked_fill(missing, -torch.inf).amax(dim=1, keepdim=True)
    return low.double(), high.double()


def _convert(x: Tensor, smallest: float) -> tuple[Tensor, Units | None]:
    """``x [B, C]`` in float32, and its units if one row needs other units than those of ``x``."""
    low, high = _bounds(x)
    size, change = torch.maximum(low.abs(), high.abs()), high - low
    far = (change > 0) & (size > LARGEST_LEVEL * change)
    varies = change > 0
    least, most = torch.where(varies, change, size), torch.where(far, change, size)
    small = (least > 0) & (least < torch.where(varies, smallest, SMALLEST_CONSTANT))
    unsafe = small | ((most > LARGEST) & most.isfinite())  # infinite: nothing is known
    if not bool((far | unsafe).any()):
        return x.float(), None
    loc = torch.where(far, low + change / 2, 0.0)
    exponent = (torch.frexp(torch.where(small, least, most)).exponent - UNIT_EXPONENT).clamp(min=-1022)
    scale = torch.where(unsafe, torch.ldexp(torch.ones_like(size), exponent), 1.0)
    rows = (far | unsafe)[:, 0]
    safe = x.float().clone()
    safe[rows] = ((x[rows].double() - loc[rows]) / scale[rows]).float()
    return safe, Units(loc, scale)
