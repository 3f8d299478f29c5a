"""Contexts in units that float32 can represent: around 0 and of moderate size. The rule is that of the main package.

Shapes: B windows, C context.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LARGEST_LEVEL = 2.0**13  # relative to the range of a context: forecasts then change by less than 4e-3 of the range
SMALLEST, LARGEST = 1e-6, 1e12  # a smaller range or a larger size is converted
SMALLEST_CONSTANT = 0.01  # Chronos-2 and Chronos-Bolt forecast constants with a spread of about 1e-5
SMALLEST_OF_UNI2TS = 0.25  # its scaler adds 1e-5 to the variance, which leaves little of smaller ranges
UNIT_EXPONENT = 7  # a context that is converted then has a range (if that was small) or a size of 2^6 to 2^7


class SafeContexts(NamedTuple):
    """Contexts in safe units: the input is ``loc + scale * values``.

    Attributes
    ----------
    values
        ``[B, C]`` float32, NaN where missing.
    loc, scale
        ``[B, 1]`` float64.
    varies
        ``[B, 1]`` bool: whether two known values differ.
    """

    values: np.ndarray
    loc: np.ndarray
    scale: np.ndarray
    varies: np.ndarray


def in_safe_units(context: np.ndarray, smallest: float = SMALLEST) -> SafeContexts:
    """Convert the contexts ``[B, C]`` float64 that need other units; the others are only rounded to float32.

    Contexts with a smaller range than ``smallest`` are converted.
    """
    low, high = context.min(1, keepdims=True), context.max(1, keepdims=True)
    if np.isnan(low).any():
        missing = np.isnan(context)
        low = np.where(missing, np.inf, context).min(1, keepdims=True)
        high = np.where(missing, -np.inf, context).max(1, keepdims=True)
        low, high = (np.where(np.isinf(end), 0.0, end) for end in (low, high))
    size = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(over="ignore"):  # an infinite range is compared only
        change = high - low
    varies = change > 0
    far = varies & (size > LARGEST_LEVEL * change)
    least, most = np.where(varies, change, size), np.where(far, change, size)
    small = (least > 0) & (least < np.where(varies, smallest, SMALLEST_CONSTANT))
    unsafe = small | (most > LARGEST)
    loc, scale = np.zeros_like(size), np.ones_like(size)
    if far.any() or unsafe.any():
        loc = np.where(far, low + change / 2, 0.0)
        exponent = np.maximum(np.frexp(np.where(small, least, most))[1] - UNIT_EXPONENT, -1022)
        scale = np.where(unsafe, np.ldexp(1.0, exponent), 1.0)
        context = (context - loc) / scale
    return SafeContexts(context.astype(np.float32), loc, scale, varies)
