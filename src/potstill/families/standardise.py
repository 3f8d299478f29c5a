"""Mean and standard deviation of contexts, and contexts standardised by them.

Shapes: B windows, C context.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDING = 1e-6  # of a context's mean: the spread that float32 rounding alone gives a constant context
MIN_SCALE = 1e-30  # dividing by less overflows in float32
ZERO_CONTEXT_SCALE = 1e-5  # scale of a context of zeros, as in Chronos-2


def standardise(context: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Standardise contexts by their mean and standard deviation, then apply arcsinh.

    Parameters
    ----------
    context
        ``[B, C]`` in input units, NaN where missing.

    Returns
    -------
    tuple
        ``scaled [B, C]`` float32 with 0 where missing, ``known [B, C]`` bool, and mean and standard deviation
        ``[B, 1]`` float64. The scale of a constant context is its rounding error, so that the forecast stays near the
        constant; a context without any value has mean 0 and scale 1.
    """
    known = ~context.isnan()
    number_known = known.sum(dim=1, keepdim=True)
    count = number_known.clamp(min=1)
    # only the sum needs float64; a mean in float32 is off by no more than the rounding of the values themselves
    loc = (context.nan_to_num(0.0).sum(dim=1, keepdim=True, dtype=torch.float64) / count).float()
    centred = (context.float() - loc).nan_to_num(0.0)
    spread = torch.linalg.vector_norm(centred, dim=1, keepdim=True, dtype=torch.float64) / count.sqrt()
    scale = torch.maximum(spread, ROUNDING * loc.abs().double())
    scale = torch.where(scale < MIN_SCALE, ZERO_CONTEXT_SCALE, scale)
    scale = torch.where(number_known == 0, 1.0, scale)
    x = centred / scale.float()  # at most sqrt(C), so that its square cannot overflow
    # torch.asinh takes three times as long on a CPU, and ONNX has no copysign
    arcsinh = (x.abs() + (x.square() + 1).sqrt()).log() * x.sign()
    return arcsinh, known, loc.double(), scale
