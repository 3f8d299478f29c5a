"""Forecasts as distributions: linear between the quantiles, with power tails beyond the outermost ones.

Shapes: B windows, H steps, Q quantile levels, E edges of E + 1 bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from potstill.types import Forecast

#: in the context's scale; the distance of equal quantiles is that of a logistic distribution of this scale
RESOLUTION = 0.2
#: the probability beyond the outermost quantile falls with this power of the distance, so that it does not underflow
TAIL_POWER = 4.0
_SMALLEST = 1e-300  # in place of a probability that float64 rounds to 0


@dataclass
class Distributions:
    """The distributions of a forecast's steps, in float64.

    Attributes
    ----------
    levels
        ``[Q]``, ascending.
    quantiles
        ``[B, H, Q]``: the forecast's quantiles, sorted.
    points
        ``[B, H, Q]``: the quantiles of the distribution, strictly ascending: those of the forecast, widened.
    """

    levels: Tensor
    quantiles: Tensor
    points: Tensor

    @classmethod
    def of(cls, forecast: Forecast) -> Distributions:
        """The distributions of a forecast, in the scale of its values and differentiable in them.

        Crossing quantiles are sorted, and then widened: the distance d of neighbours becomes ``√(d² + r²)``, where r is
        the distance that they have in a logistic distribution of scale ``RESOLUTION``. So no density is infinite, and
        forecasts much wider than the resolution hardly change. The middle quantile stays in its place.
        """
        levels = forecast.levels.to(forecast.values.device, torch.float64)
        values = forecast.values.transpose(1, 2).double().contiguous().sort(dim=-1).values
        gaps = (values.diff(dim=-1).square() + (RESOLUTION * levels.logit().diff()).square()).sqrt()
        middle = len(levels) // 2
        centre = values[..., middle : middle + 1]
        lower = centre - gaps[..., :middle].flip(-1).cumsum(dim=-1).flip(-1)
        return cls(levels, values, torch.cat([lower, centre, centre + gaps[..., middle:].cumsum(dim=-1)], dim=-1))

    @property
    def tail_scales(self) -> tuple[Tensor, Tensor]:
        """Scales ``[B, H, 1]`` of the lower and the upper tail, in the unit of the points.

        A tail continues the two outermost quantiles: the probability falls from the inner to the outer one as it falls
        beyond them. For a single level the scale is 1, that of the context.
        """
        if len(self.levels) == 1:
            return torch.ones_like(self.points), torch.ones_like(self.points)
        gaps = self.points.diff(dim=-1)
        falls = self.levels[0] / self.levels[1], (1 - self.levels[-1]) / (1 - self.levels[-2])
        low, high = (TAIL_POWER * (1 - fall ** (1 / TAIL_POWER)) for fall in falls)
        return gaps[..., :1] / low, gaps[..., -1:] / high

    def points_at(self, levels: Tensor) -> Tensor:
        """Points ``[B, H, N]`` at levels ``[N]``; beyond the outermost levels, the outermost point."""
        if len(self.levels) == 1:
            return self.points.expand(*self.points.shape[:2], len(levels))
        right = torch.searchsorted(self.levels, levels).clamp(1, len(self.levels) - 1)
        left = right - 1
        share = ((levels - self.levels[left]) / (self.levels[right] - self.levels[left])).clamp(0, 1)
        return torch.lerp(self.points[..., left], self.points[..., right], share)

    def masses(self, edges: Tensor) -> Tensor:
        """Probabilities ``[B, H, E + 1]`` of the bins between ascending edges ``[B, H, E]`` and of both tails.

        They sum to 1.
        """
        below, above = self._below_and_above(edges)
        zero, one = torch.zeros_like(below[..., :1]), torch.ones_like(below[..., :1])
        below, above = torch.cat([zero, below, one], dim=-1), torch.cat([one, above, zero], dim=-1)
        # the difference of the two smaller numbers keeps the digits of small probabilities
        upper = below[..., :-1] > 0.5
        masses = torch.where(upper, above[..., :-1] - above[..., 1:], below[..., 1:] - below[..., :-1])
        return masses.clamp(min=_SMALLEST)

    def _below_and_above(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities below and above ``x [B, H, E]``; the smaller one is never computed as 1 minus the other."""
        levels, count = self.levels, len(self.levels)
        place = torch.searchsorted(self.points.detach(), x.contiguous())
        start, end = self.tail_scales
        lower = levels[0] * _tail((self.points[..., :1] - x) / start)
        upper = (1 - levels[-1]) * _tail((x - self.points[..., -1:]) / end)
        inside = lower
        if count > 1:
            right = place.clamp(1, count - 1)
            left_point, right_point = self.points.gather(-1, right - 1), self.points.gather(-1, right)
            inside = torch.lerp(levels[right - 1], levels[right], (x - left_point) / (right_point - left_point))
        left_of_all, right_of_all = place == 0, place == count
        below = torch.where(left_of_all, lower, torch.where(right_of_all, 1 - upper, inside))
        return below, torch.where(left_of_all, 1 - lower, torch.where(right_of_all, upper, 1 - inside))


def _tail(z: Tensor) -> Tensor:
    """The share of a tail's probability that is more than ``z`` scales beyond the outermost quantile."""
    return (1 + z.clamp(min=0) / TAIL_POWER) ** -TAIL_POWER
