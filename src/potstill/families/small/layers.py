"""Layers and helpers of the small students.

Shapes: B windows, C context, H horizon, Q levels, N patches, P steps per patch, D d_model.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist

import torch
from torch import Tensor, nn

INITIAL_SPREAD = 0.02  # of a head's outputs before training, in units of the context's spread


def forward_fill(scaled: Tensor, known: Tensor) -> Tensor:
    """Fill gaps in ``[B, C]`` with the last known step; before the first known step they stay 0, the mean."""
    # a traced model (export) must not branch on the data
    if not torch.compiler.is_compiling() and bool(known.all()):
        return scaled
    reach = 1
    while reach < scaled.shape[1]:
        before = nn.functional.pad(scaled, (reach, 0))[:, :-reach]
        scaled = torch.where(known, scaled, before)
        known = known | nn.functional.pad(known, (reach, 0))[:, :-reach]
        reach *= 2
    return scaled


def patched(x: Tensor, size: int) -> Tensor:
    """Split ``[B, C]`` into patches ``[B, N, P]``, with zeros (mask: False) at the start if P does not divide C."""
    return nn.functional.pad(x, (-x.shape[1] % size, 0)).unflatten(1, (-1, size))


def ascending(median: Tensor, gaps: Tensor, middle: int) -> Tensor:
    """Quantiles that cannot cross: the middle level plus or minus the cumulative gaps between neighbouring levels.

    Parameters
    ----------
    median
        ``[B, H]``: the quantile with index ``middle`` of Q.
    gaps
        ``[B, Q - 1, H]``, any numbers; their softplus is the gap between two neighbouring quantiles.

    Returns
    -------
    Tensor
        ``[B, Q, H]`` float32.
    """
    median, gaps = median.float()[:, None], nn.functional.softplus(gaps.float())
    below = gaps[:, :middle].flip(1).cumsum(1).flip(1)
    return torch.cat([median - below, median, median + gaps[:, middle:].cumsum(1)], dim=1)


def normal_start(levels: list[float], middle: int) -> tuple[float, Tensor]:
    """The middle quantile and the gaps ``[Q - 1]`` (before softplus) of a standard normal, in arcsinh space.

    An untrained student thus forecasts a normal distribution with the context's mean and spread.
    """
    quantiles = [math.asinh(NormalDist().inv_cdf(level)) for level in levels]
    gaps = [math.log(math.expm1(b - a)) for a, b in pairwise(quantiles)]
    return quantiles[middle], torch.tensor(gaps)


def init_small(layer: nn.Linear, bias: Tensor | float = 0.0) -> None:
    """Initialise with weights so small that the layer's outputs are close to its bias before training."""
    nn.init.normal_(layer.weight, std=INITIAL_SPREAD / layer.in_features**0.5)
    with torch.no_grad():
        layer.bias.copy_(torch.as_tensor(bias))


class FlatHead(nn.Module):
    """Maps all tokens together to the quantiles, with an additional linear path from the context to the median.

    Parameters
    ----------
    features, hidden
        Size N · D of a window's tokens, and the hidden width that they are projected to.
    context, horizon
        Lengths in steps.
    levels, middle
        Quantile levels and the index of the median among them.
    """

    def __init__(self, features: int, hidden: int, context: int, horizon: int, levels: list[float], middle: int):
        super().__init__()
        self.middle = middle
        self.hidden = nn.Linear(features, hidden)
        self.out = nn.Linear(hidden, len(levels) * horizon)
        start, gaps = normal_start(levels, middle)
        init_small(self.out, torch.cat([torch.tensor([start]), gaps]).repeat_interleave(horizon))
        self.direct = nn.Linear(context, horizon, bias=False)
        nn.init.zeros_(self.direct.weight)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Quantiles ``[B, Q, H]`` from ``tokens [B, N, D]`` and the whole ``context [B, C]``."""
        out = self.out(nn.functional.gelu(self.hidden(tokens.flatten(1))))
        out = out.unflatten(1, (-1, self.direct.out_features))
        return ascending(out[:, 0] + self.direct(context), out[:, 1:], self.middle)
