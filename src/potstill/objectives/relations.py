"""How the relations of tokens are compared: a row of scores for each token, over the tokens it is related to.

Shapes: B windows, R relation heads, G cells (tokens on the common grid).
"""

from __future__ import annotations

import torch
from torch import Tensor

_EXCLUDED = -1e30  # a score whose probability is exactly 0; with −inf, 0 · (−inf + inf) would be NaN


def kl_of_rows(teacher: Tensor, student: Tensor, visible: Tensor) -> Tensor:
    """KL(softmax of the teacher's scores ‖ softmax of the student's), ``[B, G]``, averaged over heads.

    Parameters
    ----------
    teacher, student
        Scores ``[B, R, G, G]``; softmax is over the last axis.
    visible
        Bool, broadcasts to the scores: False for pairs that are left out.
    """
    p, q = (scores.masked_fill(~visible, _EXCLUDED).log_softmax(dim=3) for scores in (teacher, student))
    return (p.exp() * (p - q)).sum(dim=3).mean(dim=1)


def mean_of_rows(values: Tensor, visible: Tensor) -> Tensor:
    """Mean of ``values [B, R, G, G]`` over the visible pairs of each row, ``[B, G]``, averaged over heads."""
    visible = visible.expand_as(values)
    return (torch.where(visible, values, 0.0).sum(dim=3) / visible.sum(dim=3).clamp(min=1)).mean(dim=1)
