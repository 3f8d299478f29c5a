"""How much each model of an ensemble counts: the same everywhere, by data set, or by its recent skill on each window.

Shapes: B windows, C context, H horizon, N models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from potstill.families.base import Forecaster
from potstill.types import Request, Windows

_POWER = 2.0  # weights are proportional to 1 / loss², as variances are weighted by Bates and Granger
_LEAST_KNOWN = 4  # values before and after the earlier origin


class Weighting(Protocol):
    """Gives the weights of an ensemble's models."""

    key: str  # everything that determines the weights besides the models, for fingerprints

    def of(self, windows: Windows) -> Tensor:
        """``[N]``, or ``[N, B]`` where windows differ; not negative, and not all zero."""
        ...


class FixedWeights:
    """Weights that are the same for all windows of a data set.

    Parameters
    ----------
    default
        One weight per model, for all data sets without weights of their own and for generated windows.
    by_dataset
        Weights by number of the data set, as in ``Windows.dataset``.
    """

    def __init__(self, default: Sequence[float], by_dataset: Mapping[int, Sequence[float]] | None = None):
        self.default = list(default)
        self.by_dataset = {number: list(weights) for number, weights in (by_dataset or {}).items()}
        self.key = repr((self.default, sorted(self.by_dataset.items())))

    def of(self, windows: Windows) -> Tensor:
        """``[N]``, or ``[N, B]`` if some data sets have weights of their own."""
        if not self.by_dataset or windows.dataset is None:
            return torch.tensor(self.default)
        size = max(self.by_dataset) + 2
        table = torch.tensor([self.by_dataset.get(number, self.default) for number in range(size)])
        numbers = windows.dataset.clamp(max=size - 1)
        return table.to(numbers.device)[torch.where(numbers < 0, size - 1, numbers)].T


class RecentSkill:
    """Weights from how well each model would have forecast the newest known steps of each window.

    Every model forecasts the last ``steps`` steps of the context from what precedes them. Its weight is proportional to
    1 / loss², with the pinball loss. Where too little is known, all models count the same.

    Parameters
    ----------
    models
        The ensemble's models, in order.
    steps
        Steps H that are forecast again.

    References
    ----------
    Bates and Granger, "The Combination of Forecasts", 1969.
    """

    def __init__(self, models: Sequence[Forecaster], steps: int):
        self.models, self.steps = list(models), steps
        self.key = f"recent {steps}"

    def of(self, windows: Windows) -> Tensor:
        """``[N, B]``."""
        losses = torch.stack([recent_loss(model, windows, self.steps) for model in self.models])
        losses = losses / losses.mean(dim=0, keepdim=True)
        weights = losses.clamp(min=1e-3) ** -_POWER
        return torch.where(weights.isfinite().all(dim=0, keepdim=True), weights, 1.0)


@torch.no_grad()
def recent_loss(model: Forecaster, windows: Windows, steps: int) -> Tensor:
    """A model's loss on the newest known steps of each window, forecast from the values before them.

    Parameters
    ----------
    model
        Any forecaster; a horizon above its own is cut.
    windows
        Their futures are not read.
    steps
        Number of steps to forecast again, at most half of the context.

    Returns
    -------
    Tensor
        ``[B]``: the pinball loss, averaged over the known steps, in units of the standard deviation of the earlier
        context; NaN where fewer than four values are known before or after the earlier origin.
    """
    steps = min(steps, model.max_horizon, windows.context.shape[1] // 2)
    earlier = windows.earlier(steps)
    forecast = model.forward(earlier, Request(steps)).forecast
    scaled = (earlier.future.double() - forecast.loc) / forecast.scale
    values = forecast.values.double()
    values = values.sinh() if forecast.arcsinh else values
    known = scaled.isfinite()
    error = scaled.nan_to_num(0.0)[:, None] - values
    levels = forecast.levels.to(values)[None, :, None]
    loss = 2 * torch.maximum(levels * error, (levels - 1) * error).mean(dim=1)
    count = known.sum(dim=1)
    enough = (count >= _LEAST_KNOWN) & (earlier.context.isfinite().sum(dim=1) >= _LEAST_KNOWN)
    return torch.where(enough, (loss * known).sum(dim=1) / count.clamp(min=1), torch.nan).float()
