"""From a model's values to quantiles: the arithmetic of every forecast, for numpy arrays and torch tensors alike.

Only functions that both libraries have under the same name are used, so that a forecast in PyTorch and one in the
runtime are computed by the same lines.

Shapes: B windows, Q levels, H horizon steps.
"""

from __future__ import annotations

import sys
from typing import Any


def library(x: Any) -> Any:
    """numpy or torch: the library that an array belongs to."""
    return sys.modules[type(x).__module__.partition(".")[0]]


def double(x: Any) -> Any:
    """An array in float64."""
    return x.double() if hasattr(x, "double") else x.astype("float64")


def unscale(values: Any, loc: Any, scale: Any, arcsinh: bool) -> Any:
    """Values ``[B, Q, H]`` in units of the contexts, float64; ``loc`` and ``scale`` are ``[B, 1]``."""
    values = double(values)
    if arcsinh:
        values = library(values).sinh(values)
    return values * double(scale)[:, :, None] + double(loc)[:, :, None]


def increasing(quantiles: Any) -> Any:
    """Quantiles ``[B, Q, H]`` sorted along Q; the same array if they are sorted already, as sorting is slow."""
    if bool((quantiles[:, 1:] >= quantiles[:, :-1]).all()):
        return quantiles
    return sort(quantiles, 1)


def sort(x: Any, axis: int) -> Any:
    """An array sorted along an axis."""
    ordered = library(x).sort(x, axis)
    return ordered.values if hasattr(ordered, "values") else ordered


def mean_of_quantiles(quantiles: Any, levels: Any) -> Any:
    """The mean ``[B, H]`` of quantiles ``[B, Q, H]``: linear between levels, constant beyond the outer ones."""
    return (quantiles * masses(double(levels))[None, :, None]).sum(1)


def masses(levels: Any) -> Any:
    """The probability ``[Q]`` that each level represents: up to halfway to its neighbours."""
    return library(levels).diff(edges(levels))


def edges(levels: Any) -> Any:
    """The ends ``[Q + 1]`` of the parts of the probability that levels represent."""
    ends = library(levels)
    middles = (levels[1:] + levels[:-1]) / 2
    return ends.concatenate([ends.zeros_like(levels[:1]), middles, ends.ones_like(levels[:1])])


def interpolate_levels(values: Any, own: Any, levels: Any) -> Any:
    """Sorted values ``[B, Q, H]`` of ``own`` levels ``[Q]`` at other ``levels``, constant beyond the outer ones."""
    if len(own) == 1:
        return values[:, [0] * len(levels)]
    right = library(own).clip(library(own).searchsorted(own, levels), 1, len(own) - 1)
    left = right - 1
    share = library(own).clip((levels - own[left]) / (own[right] - own[left]), 0, 1)[None, :, None]
    return values[:, left] * (1 - share) + values[:, right] * share
