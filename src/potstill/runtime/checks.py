"""Checks of options and forecasts."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from .errors import ExportError, NotFinite
from .forecast import Forecast

SAFE_VALUE, SAFE_BOUND = 60.0, 1e280  # sinh(60) is 6e25, and float64 ends at 1.8e308


def whole_number(name: str, value: Any, largest: int | None = None) -> int:
    """An option as a whole number from 1 to ``largest``.

    Raises
    ------
    ExportError
        If it is something else.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or (largest and number > largest):
        bounds = f"from 1 to {largest:,}" if largest else "of at least 1"
        raise ExportError(f"{name}: is {value!r}; it must be a whole number {bounds}.")
    return number


def levels_of(quantiles: Any) -> list[float]:
    """Quantile levels, ascending and each once.

    Raises
    ------
    ExportError
        Unless there is one and all are in (0, 1).
    """
    given = list(quantiles) if isinstance(quantiles, Iterable) else [quantiles]
    try:
        levels = sorted({float(level) for level in given})
    except (TypeError, ValueError):
        levels = []
    if not levels or not all(0 < level < 1 for level in levels):
        raise ExportError(f"quantiles: {given} must be levels between 0 and 1, such as [0.1, 0.5, 0.9].")
    return levels


def check_finite(forecast: Forecast, context: np.ndarray) -> None:
    """Check the forecast of each context ``[B, C]`` that has a value.

    Raises
    ------
    NotFinite
        If one is NaN or infinite.
    """
    bound = max(np.abs(forecast.loc).max(), forecast.scale.max())
    if np.abs(forecast.values).max() < SAFE_VALUE and bound < SAFE_BOUND:  # False for NaN
        return
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(forecast.in_units()).all(axis=(1, 2))
    rows = np.flatnonzero(~finite & ~np.isnan(context).all(axis=1)).tolist()
    if rows:
        raise NotFinite(
            f"context {rows[0]}: its forecast is NaN or infinite ({len(rows)} of {len(context)} are); the model is"
            " broken, or the values are too large for it: convert them to another unit.",
            rows,
        )
