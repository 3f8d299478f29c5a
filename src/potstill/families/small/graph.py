"""A small student as a graph for export; it always reads and forecasts its longest lengths.

Shapes: B windows, C context, H horizon, Q levels.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from potstill.families.base.graph import Graph
from potstill.families.small.base import SmallStudentForecaster
from potstill.families.standardise import ZERO_CONTEXT_SCALE


class _SmallGraph(nn.Module):
    def __init__(self, module: Any, spread: float):
        super().__init__()
        self.module, self.spread = copy.deepcopy(module).float().eval(), spread

    def forward(self, context: Tensor) -> Tensor:
        """``[B, Q, H]``."""
        known = ~context.isnan()
        values = self.module(torch.where(known, context, 0.0), known)
        return values if self.spread == 1 else torch.lerp(values[:, self.module.middle, None], values, self.spread)


def graph_of(model: SmallStudentForecaster) -> Graph:
    """The graph of a small student."""
    return Graph(
        module=_SmallGraph(model.module, model.spread),
        fixed=True,
        context_multiple=1,
        horizon_multiple=1,
        arcsinh=True,
        constant_scale=ZERO_CONTEXT_SCALE,
        rounding=True,
        rollout="paths",
    )
