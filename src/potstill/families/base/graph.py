"""A forecaster as one module of tensors in, tensors out, for export.

Shapes: B windows, C context, N output patches, P steps per patch, Q levels, H horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn


@dataclass(frozen=True)
class Graph:
    """What a family gives for export.

    Contexts are standardised outside the graph, in float64: their units would not survive bf16 or int8.

    Attributes
    ----------
    module
        Maps ``context [B, C]`` float32, standardised (with arcsinh if ``arcsinh``), NaN where missing, to values
        ``[B, Q, H]`` in the same space. Unless ``fixed``, its second input is ``patches [N]`` float32, of which only
        the length counts: the number of output patches.
    fixed
        Whether C and H are always the longest.
    context_multiple, horizon_multiple
        C and H are multiples of these.
    arcsinh
        See ``module``.
    constant_scale
        The scale of contexts whose standard deviation is 0.
    rounding
        Whether the scale is at least a millionth of the mean.
    rollout
        The rule of forecasts beyond the longest horizon, in ``potstill.runtime.rollout``.
    groups
        Whether rows are series and covariates, and those with one group id are forecast together. The inputs after
        ``context`` are then ``future [B, N, P]`` float32, scaled like the row's context, NaN where unknown, and
        ``group [B]`` int64.
    scaling
        How contexts are standardised: see ``potstill.runtime.scaling``. With ``uni2ts`` the graph has a second input
        ``missing [B, 1]``, the scaled 0.
    distribution
        Names of components, of ``potstill.runtime.distribution.KINDS``: the graph's values are then the parameters of a
        mixture distribution. Empty: they are quantiles.
    student_t
        Coefficients of the Student-t curve, if a component is one.
    """

    module: nn.Module
    fixed: bool
    context_multiple: int
    horizon_multiple: int
    arcsinh: bool
    constant_scale: float
    rounding: bool
    rollout: Literal["paths", "deciles", "pooled"]
    groups: bool = False
    scaling: Literal["standard", "uni2ts"] = "standard"
    distribution: Sequence[str] = ()
    student_t: Sequence[Sequence[float]] = ()
