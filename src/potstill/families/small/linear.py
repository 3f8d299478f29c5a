"""A linear student: separate linear maps from the context's trend and season to the median, and a low-rank spread.

The decomposition is that of DLinear (Zeng et al., "Are Transformers Effective for Time Series Forecasting?", AAAI
2023): the trend is a moving average, the season is the remainder. Both maps and the average are linear, so they are
folded into one matrix. The gaps between levels are a low-rank function of the context and of its step-to-step changes.

Shapes: B windows, C context, H horizon, Q levels, K blocks of the context, R rank.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from potstill.errors import UserError
from potstill.families.recorder import Recorder
from potstill.families.small.base import SmallStudentConfig, SmallStudentModel
from potstill.families.small.family import SmallStudentFamily
from potstill.families.small.layers import ascending, forward_fill, init_small, normal_start, patched

CHANGE_BLOCK = 16  # steps over which the context's absolute changes are averaged


class LinearConfig(SmallStudentConfig):
    """Sizes of a linear student.

    Parameters
    ----------
    window
        Steps of the moving average, odd.
    rank
        Hidden width of the map that computes the spread.
    """

    model_type = "potstill_linear"

    def __init__(self, window: int = 25, rank: int = 64, **rest: Any):
        self.window = window
        self.rank = rank
        super().__init__(**rest)


class LinearModel(SmallStudentModel):
    """The model described in :mod:`potstill.families.small.linear`."""

    config_class = LinearConfig

    def __init__(self, config: LinearConfig):
        super().__init__(config)
        length, horizon = config.context_length, config.prediction_length
        self.trend = nn.Parameter(torch.zeros(horizon, length))
        self.season = nn.Parameter(torch.zeros(horizon, length))
        start, gaps = normal_start(config.levels, self.middle)
        self.bias = nn.Parameter(torch.full((horizon,), start))
        self.spread_in = nn.Linear(length + -(-length // CHANGE_BLOCK), config.rank)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.spread_out = nn.Linear(config.rank, len(gaps) * horizon)
        init_small(self.spread_out, gaps.repeat_interleave(horizon))
        self.post_init()

    def forward(self, scaled: Tensor, known: Tensor, recorder: Recorder | None = None) -> Tensor:
        """``values [B, Q, H]``; nothing is recorded, because the model has no layers."""
        x = forward_fill(scaled, known).to(self.dtype)
        median = nn.functional.linear(x, self.folded(), self.bias)
        changes = patched(nn.functional.pad(x.diff(dim=1).abs(), (1, 0)), CHANGE_BLOCK).mean(dim=2)
        features = nn.functional.silu(self.spread_in(torch.cat([x, changes], dim=1)))
        gaps = self.spread_out(self.dropout(features)).unflatten(1, (-1, len(self.bias)))
        return ascending(median, gaps, self.middle)

    def folded(self) -> Tensor:
        """``[H, C]``: both maps folded into one, so that the moving average is not computed per window."""
        half = self.config.window // 2
        steps = torch.arange(self.season.shape[1], device=self.season.device)
        # at the ends the average is over the existing steps
        count = (steps + half).clamp(max=len(steps) - 1) - (steps - half).clamp(min=0) + 1
        difference = (self.trend.float() - self.season.float()) / count
        total = nn.functional.pad(difference, (half + 1, half)).cumsum(dim=1)
        averaged = total[:, self.config.window :] - total[:, : -self.config.window]
        return self.season + averaged.to(self.season.dtype)


class LinearFamily(SmallStudentFamily):
    """Linear students."""

    name = "linear"
    config: ClassVar = LinearConfig
    model: ClassVar = LinearModel
    sizes = ("window", "rank")

    def check(self, config: LinearConfig, where: str) -> None:
        """The moving average is centred, so its window must be odd."""
        if config.window % 2 == 0:
            raise UserError(
                f"{where}: window={config.window} is even; the moving average needs an odd number.",
                key="student.bad_value",
            )
