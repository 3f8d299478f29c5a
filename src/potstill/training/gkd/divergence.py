"""Forecasts as tokens for TRL's divergence: values become bins, and quantiles become distributions over bins.

Shapes: B windows, Q levels, H steps, E edges of E + 1 bins.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from trl.experimental.gkd import GKDTrainer

from potstill.objectives.levels import level_weights
from potstill.types import Forecast

Form = Literal["heads", "bins"]
EDGE_COUNT, EDGE_RANGE = (
    40,
    5.0,
)  # in the context's scale, after arcsinh in Chronos-2: 5 corresponds to 74 standard deviations


def divergence(student: Forecast, teacher: Forecast, beta: float = 0.5, form: Form = "heads") -> Tensor:
    """TRL's generalised Jensen-Shannon divergence between two forecasts, ``[B, H]``; in nats times the context's scale.

    Each quantile ``v`` becomes a soft step over the edges ``e``, ``σ((e − v) / width)``.

    ``bins`` averages the steps of all heads into one cumulative distribution, whose increments are the probabilities of
    the bins. It does not distinguish the heads. ``heads`` compares the steps level by level; each edge is a token with
    two values, below and above. For close quantiles this is quadratic in their distance. For distant ones every edge
    between them contributes, so the loss grows with the distance. A divergence between bins that do not overlap is
    constant instead, without a gradient.
    """
    teacher = teacher.at_levels(student.levels).in_scale_of(student)
    edges = torch.linspace(-EDGE_RANGE, EDGE_RANGE, EDGE_COUNT, device=student.values.device)
    weights = level_weights(student.levels)
    width = 2 * EDGE_RANGE / (EDGE_COUNT - 1)
    logits = [_steps(f.values.to(student.values).float(), edges, width) for f in (student, teacher)]
    if form == "bins":
        logits = [_as_bins(step, weights) for step in logits]
        return width * GKDTrainer.generalized_jsd_loss(*logits, beta=beta, reduction="none").sum(dim=-1)
    pairs = [torch.stack([step, torch.zeros_like(step)], dim=-1) for step in logits]
    jsd = GKDTrainer.generalized_jsd_loss(*pairs, beta=beta, reduction="none")  # [B, Q, H, E, 2]
    return width * torch.einsum("bqhen,q->bh", jsd, weights)


def _steps(values: Tensor, edges: Tensor, width: float) -> Tensor:
    """``[B, Q, H, E]``: the logit of each quantile being below each edge."""
    return (edges - values[..., None]) / width


def _as_bins(steps: Tensor, weights: Tensor) -> Tensor:
    """``[B, H, E + 1]``: logarithms of the probabilities of the bins between edges."""
    below = torch.einsum("bqhe,q->bhe", steps.sigmoid(), weights)
    return (
        torch.diff(below, prepend=torch.zeros_like(below[..., :1]), append=torch.ones_like(below[..., :1]))
        .clamp(min=1e-9)
        .log()
    )
