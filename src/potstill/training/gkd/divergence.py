"""From forecasts to tokens: values become bins, quantile heads distributions over them, for TRL's divergence.

Shapes: B windows, Q levels, H steps, E edges of E + 1 bins.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from trl.experimental.gkd import GKDTrainer

from potstill.objectives.output import level_weights
from potstill.types import Forecast

Form = Literal["heads", "bins"]
EDGES, REACH = 40, 5.0  # in the context's scale, of which Chronos-2 takes the arcsinh: 5 stands for 74 deviations


def divergence(student: Forecast, teacher: Forecast, beta: float = 0.5, form: Form = "heads") -> Tensor:
    """TRL's generalised Jensen-Shannon divergence of two forecasts, ``[B, H]``; in nats times the context's scale.

    Each quantile ``v`` becomes a soft step over the edges ``e``, ``σ((e − v) / width)``.

    ``bins`` averages the steps of all heads into one cumulative distribution, whose increments are the bins'
    probabilities. It does not see which head stands where. ``heads`` compares the steps level by level, each edge being
    a token with two values, below and above. Near one another this is quadratic in the distance of the two quantiles;
    further apart every edge between them adds its share, so that it grows with the distance, where a divergence of
    bins that do not overlap stays what it is and gives no gradient.
    """
    teacher = teacher.at_levels(student.levels).in_scale_of(student)
    edges = torch.linspace(-REACH, REACH, EDGES, device=student.values.device)
    weights = level_weights(student.levels)
    width = 2 * REACH / (EDGES - 1)
    logits = [_steps(f.values.to(student.values).float(), edges, width) for f in (student, teacher)]
    if form == "bins":
        logits = [_as_bins(step, weights) for step in logits]
        return width * GKDTrainer.generalized_jsd_loss(*logits, beta=beta, reduction="none").sum(dim=-1)
    pairs = [torch.stack([step, torch.zeros_like(step)], dim=-1) for step in logits]
    jsd = GKDTrainer.generalized_jsd_loss(*pairs, beta=beta, reduction="none")  # [B, Q, H, E, 2]
    return width * torch.einsum("bqhen,q->bh", jsd, weights)


def _steps(values: Tensor, edges: Tensor, width: float) -> Tensor:
    """``[B, Q, H, E]``: the logit of each quantile lying below each edge."""
    return (edges - values[..., None]) / width


def _as_bins(steps: Tensor, weights: Tensor) -> Tensor:
    """``[B, H, E + 1]``: logarithms of the probabilities of the bins between edges."""
    below = torch.einsum("bqhe,q->bhe", steps.sigmoid(), weights)
    return (
        torch.diff(below, prepend=torch.zeros_like(below[..., :1]), append=torch.ones_like(below[..., :1]))
        .clamp(min=1e-9)
        .log()
    )
