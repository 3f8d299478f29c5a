"""A caller's series as one array."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import ExportError


def contexts_of(data: Any) -> np.ndarray:
    """Contexts ``[B, C]`` float64, NaN where missing; infinite values become missing.

    Parameters
    ----------
    data
        One series ``[C]``, several ``[B, C]``, or a list of series of different lengths, which are padded with missing
        values at their start.

    Raises
    ------
    ExportError
        For anything else.
    """
    if isinstance(data, np.ndarray) and data.dtype != object:
        context = _numbers(data, "context")
    else:
        items = list(data)
        if not items:
            raise _empty()
        if all(np.ndim(item) == 0 for item in items):
            context = _numbers(items, "context")
        else:
            context = _padded([_numbers(item, f"context {place}") for place, item in enumerate(items)])
    if context.ndim not in (1, 2):
        raise ExportError(
            f"context: has the shape {list(context.shape)}; give one series [C], several [B, C], or a list of series."
        )
    context = context[None] if context.ndim == 1 else context
    if not context.size:
        raise _empty()
    return context if np.isfinite(context).all() else np.where(np.isinf(context), np.nan, context)


def _numbers(values: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
        if array.dtype == object:
            array = np.array([np.nan if value is None else value for value in values], np.float64)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"they are {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ExportError(
            f"{name}: cannot be read as numbers ({error}); give numbers, and NaN where a value is missing."
        ) from None


def _padded(series: list[np.ndarray]) -> np.ndarray:
    for place, one in enumerate(series):
        if one.ndim != 1:
            raise ExportError(f"context {place}: has {one.ndim} dimensions; a list takes series of one dimension [C].")
    padded = np.full((len(series), max(len(one) for one in series)), np.nan)
    for row, one in zip(padded, series, strict=True):
        row[len(row) - len(one) :] = one
    return padded


def _empty() -> ExportError:
    return ExportError("context: has no values; give at least one series with one value.")
