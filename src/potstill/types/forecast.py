"""The output of every forecaster: quantiles of each window's future.

Shapes: B windows, H horizon steps, Q quantile levels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Forecast:
    """The output of every forecaster: quantiles of each window's future.

    Attributes
    ----------
    levels
        ``[Q]`` float32, ascending, in (0, 1).
    values
        ``[B, Q, H]`` quantiles in the context's scale: ``(x - loc) / scale``, and the arcsinh of that where
        ``arcsinh`` is set. fp32 when computed, fp16 in stores.
    loc, scale
        ``[B, 1]`` float64, which keeps the precision of series with a large mean and a small spread.
    arcsinh
        Whether arcsinh was applied to ``values`` after scaling (as in Chronos-2).
    double
        Whether ``quantiles`` are float64, as the contexts were: float32 keeps nothing of a signal of 3 on a level of
        2e9.
    """

    levels: Tensor
    values: Tensor
    loc: Tensor
    scale: Tensor
    arcsinh: bool = False
    double: bool = False

    @property
    def quantiles(self) -> Tensor:
        """``[B, Q, H]`` float32 (float64 if ``double``) on the CPU, in the units of the contexts, sorted along Q."""
        scaled = self.values.detach().double()
        scaled = scaled.sinh() if self.arcsinh else scaled
        quantiles = (scaled * self.scale[:, :, None] + self.loc[:, :, None]).cpu()
        quantiles = quantiles if self.double else quantiles.float()
        # sorting takes most of the time, and the quantiles of some students cannot cross
        return quantiles if bool((quantiles[:, 1:] >= quantiles[:, :-1]).all()) else quantiles.sort(dim=1).values

    def at_levels(self, levels: Tensor) -> Forecast:
        """The same forecast at other levels: sorted, interpolated linearly, constant beyond the outermost levels."""
        import torch

        own = self.levels.to(self.values.device, torch.float32)
        levels = levels.to(own)
        values = self.values.float().sort(dim=1).values
        # on a GPU comparing would wait for the device, and interpolation gives the same values at the same levels
        if own.device.type == "cpu" and own.shape == levels.shape and torch.allclose(own, levels, atol=1e-6):
            return replace(self, values=values, levels=levels)
        if len(own) == 1:
            return replace(self, values=values.expand(-1, len(levels), -1), levels=levels)
        right = torch.searchsorted(own, levels).clamp(1, len(own) - 1)
        left = right - 1
        share = ((levels - own[left]) / (own[right] - own[left])).clamp(0, 1)[None, :, None]
        return replace(self, values=values[:, left] * (1 - share) + values[:, right] * share, levels=levels)

    def in_scale_of(self, other: Forecast) -> Forecast:
        """The same forecast with another forecast's loc, scale and arcsinh (computed in float64)."""
        same = self.loc is other.loc and self.scale is other.scale and self.arcsinh == other.arcsinh
        if same:
            return self
        values = self.values.double()
        values = values.sinh() if self.arcsinh else values
        loc, scale = other.loc.to(values.device), other.scale.to(values.device)
        raw = values * self.scale.to(values.device)[:, :, None] + self.loc.to(values.device)[:, :, None]
        values = (raw - loc[:, :, None]) / scale[:, :, None]
        values = values.asinh() if other.arcsinh else values
        return replace(self, values=values.float(), loc=loc, scale=scale, arcsinh=other.arcsinh)

    def scaled(self, x: Tensor) -> Tensor:
        """Map ``x [B, H]`` from input units into the space of ``values``."""
        z = (x.double() - self.loc.to(x.device)) / self.scale.to(x.device)
        return (z.asinh() if self.arcsinh else z).float()

    def take(self, rows: Any) -> Forecast:
        """The forecasts of some windows, by index."""
        return replace(self, values=self.values[rows], loc=self.loc[rows], scale=self.scale[rows])

    def first_steps(self, horizon: int) -> Forecast:
        """The forecast of the first ``horizon`` steps, or of all steps if it has fewer."""
        return self if horizon >= self.values.shape[2] else replace(self, values=self.values[..., :horizon])
