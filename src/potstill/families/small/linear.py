"""A linear student: trend and season of the context, each with a map of its own to the median, and a cheap spread.

The decomposition is DLinear's (Zeng et al., "Are Transformers Effective for Time Series Forecasting?", AAAI 2023): a
moving average, and what is left of it. Both maps and the average are linear, so one product with a folded matrix does.
The distances between levels come from a low-rank map of the context and of how much it moves from step to step.

Shapes: B windows, C context, H horizon, Q levels, K blocks of the context, R rank.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from potstill.errors import UserError
from potstill.families.small.base import SmallStudentConfig, SmallStudentModel
from potstill.families.small.family import SmallStudentFamily
from potstill.families.small.layers import Layers, ascending, begin_small, carry_on, normal_start, patched

BLOCK = 16  # steps over which the context's movement is averaged


class LinearConfig(SmallStudentConfig):
    """Sizes of a linear student.

    Parameters
    ----------
    window
        Steps of the moving average, odd.
    rank
        Width through which the spread is computed.
    """

    model_type = "potstill_linear"

    def __init__(self, window: int = 25, rank: int = 64, **rest: Any):
        self.window = window
        self.rank = rank
        super().__init__(**rest)


class LinearModel(SmallStudentModel):
    """The maps of :mod:`potstill.families.small.linear`."""

    config_class = LinearConfig

    def __init__(self, config: LinearConfig):
        super().__init__(config)
        length, horizon = config.context_length, config.prediction_length
        self.trend = nn.Parameter(torch.zeros(horizon, length))
        self.season = nn.Parameter(torch.zeros(horizon, length))
        start, gaps = normal_start(config.levels, self.middle)
        self.bias = nn.Parameter(torch.full((horizon,), start))
        self.spread_in = nn.Linear(length + -(-length // BLOCK), config.rank)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.spread_out = nn.Linear(config.rank, len(gaps) * horizon)
        begin_small(self.spread_out, gaps.repeat_interleave(horizon))
        self.post_init()

    def forward(
        self, scaled: Tensor, known: Tensor, hidden: tuple[int, ...] = (), attention: tuple[int, ...] = ()
    ) -> tuple[Tensor, Layers, Layers]:
        """``values [B, Q, H]``; it has no layers, hence no states and no maps."""
        x = carry_on(scaled, known).to(self.dtype)
        median = nn.functional.linear(x, self.folded(), self.bias)
        moves = patched(nn.functional.pad(x.diff(dim=1).abs(), (1, 0)), BLOCK).mean(dim=2)
        features = nn.functional.silu(self.spread_in(torch.cat([x, moves], dim=1)))
        gaps = self.spread_out(self.dropout(features)).unflatten(1, (-1, len(self.bias)))
        return ascending(median, gaps, self.middle), {}, {}

    def folded(self) -> Tensor:
        """``[H, C]``: both maps as one, so that the moving average costs nothing per window."""
        half = self.config.window // 2
        steps = torch.arange(self.season.shape[1], device=self.season.device)
        # at the ends the average is of the steps that are there
        count = (steps + half).clamp(max=len(steps) - 1) - (steps - half).clamp(min=0) + 1
        difference = (self.trend.float() - self.season.float()) / count
        total = nn.functional.pad(difference, (half + 1, half)).cumsum(dim=1)
        moved = total[:, self.config.window :] - total[:, : -self.config.window]
        return self.season + moved.to(self.season.dtype)


class LinearFamily(SmallStudentFamily):
    """Linear students."""

    name = "linear"
    config: ClassVar = LinearConfig
    model: ClassVar = LinearModel
    sizes = ("window", "rank")

    def check(self, config: LinearConfig) -> None:
        """The moving average needs a middle."""
        if config.window % 2 == 0:
            raise UserError(f"--student: window={config.window} is even; the moving average needs an odd number.")
