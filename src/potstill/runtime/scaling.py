"""Standardised contexts, as the models read them.

Shapes: B windows, C context.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .units import SafeContexts, in_safe_units

ROUNDING = 1e-6  # of a context's mean: the spread that float32 rounding alone gives a constant context
UNI2TS_VARIANCE = 1e-5
MIN_SCALE = 1e-30  # dividing by less overflows in float32


class Scaled(NamedTuple):
    """Contexts in the space of a model: ``(x - loc) / scale``, and the arcsinh of that if the model wants it.

    Attributes
    ----------
    values
        ``[B, C]`` float32, NaN where missing.
    loc, scale
        ``[B, 1]`` float64, in units of the input.
    """

    values: np.ndarray
    loc: np.ndarray
    scale: np.ndarray


def standardise(safe: SafeContexts, constant_scale: float, rounding: bool, arcsinh: bool) -> Scaled:
    """Standardise contexts by their mean and standard deviation; a context without any value has 0 and 1.

    Parameters
    ----------
    safe
        Contexts in safe units.
    constant_scale
        The scale where the standard deviation is 0.
    rounding
        Whether the scale is at least ``ROUNDING`` times the mean, as in Potstill's own students.
    arcsinh
        Whether arcsinh is applied.
    """
    x = safe.values.astype(np.float64)
    known = ~np.isnan(x)
    complete = bool(known.all())
    count = known.sum(1, keepdims=True)
    some = np.maximum(count, 1)
    loc = (x if complete else np.where(known, x, 0.0)).sum(1, keepdims=True) / some
    loc = loc.astype(np.float32).astype(np.float64)  # as in PyTorch, whose models were trained with that
    x = x - loc
    square = np.einsum("bc,bc->b", *[x if complete else np.where(known, x, 0.0)] * 2)[:, None]
    scale = np.sqrt(square / some) * safe.varies
    if rounding:
        scale = np.maximum(scale, ROUNDING * np.abs(loc))
    scale = np.where(scale < MIN_SCALE, constant_scale, scale)
    scale = np.where(count == 0, 1.0, scale)
    x = x / scale
    values = (np.arcsinh(x) if arcsinh else x).astype(np.float32)
    return Scaled(values, safe.loc + safe.scale * loc, safe.scale * scale)


def standardise_as_uni2ts(safe: SafeContexts) -> Scaled:
    """Standardise contexts as uni2ts's scaler does: by the unbiased variance of the known values plus 1e-5."""
    x = safe.values.astype(np.float64)
    known = ~np.isnan(x)
    count = known.sum(1, keepdims=True)
    loc = np.where(known, x, 0.0).sum(1, keepdims=True) / np.maximum(count, 1)
    square = (np.where(known, x - loc, 0.0) ** 2).sum(1, keepdims=True)
    scale = np.sqrt(square / np.maximum(count - 1, 1) + UNI2TS_VARIANCE)
    loc, scale = (part.astype(np.float32).astype(np.float64) for part in (loc, scale))
    values = ((x - loc) / scale).astype(np.float32)
    return Scaled(values, safe.loc + safe.scale * loc, safe.scale * scale)


def standardise_with_future(
    context: np.ndarray, future: np.ndarray, constant_scale: float, rounding: bool, arcsinh: bool
) -> tuple[Scaled, np.ndarray]:
    """Contexts ``[B, C]`` as by :func:`standardise`, and values ahead ``[B, H]`` float32 by the contexts' scale."""
    length = context.shape[1]
    safe = in_safe_units(np.concatenate([context, future], axis=1))
    values, ahead = safe.values[:, :length], safe.values[:, length:].astype(np.float64)
    missing = np.isnan(values)
    low, high = (np.where(missing, end, values) for end in (np.inf, -np.inf))
    varies = (high.max(1) > low.min(1))[:, None]
    scaled = standardise(SafeContexts(values, safe.loc, safe.scale, varies), constant_scale, rounding, arcsinh)
    ahead = (ahead - (scaled.loc - safe.loc) / safe.scale) / (scaled.scale / safe.scale)
    return scaled, (np.arcsinh(ahead) if arcsinh else ahead).astype(np.float32)
