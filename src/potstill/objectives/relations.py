"""How the relations of tokens are compared: a row of scores for each token, over the tokens it is related to.

Shapes: B windows, R relation heads, G cells (tokens on the common grid).
"""

from __future__ import annotations

import torch
from torch import Tensor

_EXCLUDED = -1e30  # a score whose probability is exactly 0; with −inf, 0 · (−inf + inf) would be NaN


def scores(a: Tensor, b: Tensor, visible: Tensor, factor: float) -> Tensor:
    """Scores ``a · b · factor`` of tokens ``[B, R, G, W]``: ``[B, R, G, G]``, far below all others if not visible."""
    heads = a.shape[1]
    # one pass over the scores for the product, the factor and the mask
    bias = a.new_zeros(()).where(visible, _EXCLUDED).expand(-1, heads, -1, -1).flatten(0, 1)
    products = torch.baddbmm(bias, a.flatten(0, 1), b.flatten(0, 1).mT, alpha=factor)
    return products.unflatten(0, (-1, heads))


def kl_of_rows(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(softmax of the teacher's scores ‖ softmax of the student's), ``[B, G]``, averaged over heads.

    ``teacher`` and ``student`` are scores ``[B, R, G, G]``; softmax is over the last axis.
    """
    p, q = teacher.log_softmax(dim=3), student.log_softmax(dim=3)
    return (p.exp() * (p - q)).sum(dim=3).mean(dim=1)


def mean_of_rows(values: Tensor, visible: Tensor) -> Tensor:
    """Mean of ``values [B, R, G, G]`` over the visible pairs of each row, ``[B, G]``, averaged over heads."""
    visible = visible.expand_as(values)
    return (torch.where(visible, values, 0.0).sum(dim=3) / visible.sum(dim=3).clamp(min=1)).mean(dim=1)
