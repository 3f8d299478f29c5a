"""A caller's series as one array."""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import suppress
from typing import Any

import numpy as np

from .errors import ExportError


def contexts_of(data: Any, longest: int) -> np.ndarray:
    """Contexts ``[B, C]`` float64, NaN where missing; infinite values become missing.

    Parameters
    ----------
    data
        One series ``[C]``, several ``[B, C]``, or a list of series of different lengths, which are padded with missing
        values at their start.
    longest
        Only so many of the newest steps are kept.

    Raises
    ------
    ExportError
        For anything else.
    """
    if hasattr(data, "__array__"):  # also series and frames of pandas and polars, and tensors
        data = np.asanyarray(data)
    if isinstance(data, np.ndarray) and data.dtype != object and data.ndim:
        context = numbers_of(data[..., -longest:], "context")
    else:
        context = _of_items(_items(data), longest)
    if context.ndim not in (1, 2):
        raise ExportError(
            f"context: has the shape {list(context.shape)}; give one series [C], several [B, C], or a list of series."
        )
    context = context[None] if context.ndim == 1 else context
    if not context.size:
        raise _empty()
    return finite(context)


def finite(values: np.ndarray) -> np.ndarray:
    """The values, where infinite ones are missing."""
    return values if np.isfinite(values).all() else np.where(np.isinf(values), np.nan, values)


def _items(data: Any) -> list[Any]:
    """The items of a sequence, in their order."""
    if not isinstance(data, (str, bytes, Mapping, Set)):
        with suppress(TypeError):
            return list(data)
    raise ExportError(
        f"context: is of the type {type(data).__name__}; give one series [C], several [B, C], or a list of series."
    )


def _of_items(items: list[Any], longest: int) -> np.ndarray:
    if not items:
        raise _empty()
    if all(_is_number(item) for item in items):
        return numbers_of(items[-longest:], "context")
    return padded([_series(item, place)[-longest:] for place, item in enumerate(items)])


def _is_number(item: Any) -> bool:
    return not hasattr(item, "__len__") or np.ndim(item) == 0


def numbers_of(values: Any, name: str) -> np.ndarray:
    """Values as float64, NaN where missing; ``name`` is theirs in messages.

    Raises
    ------
    ExportError
        If they are no numbers.
    """
    try:
        if hasattr(values, "filled"):  # a masked array; importing numpy.ma takes longer than a forecast
            return values.astype(np.float64).filled(np.nan)
        array = np.asarray(values)
        if array.dtype == object:
            array = np.array([_number(value) for value in array], np.float64)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"they are {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ExportError(
            f"{name}: cannot be read as numbers ({error}); give numbers, and NaN where a value is missing."
        ) from None


def _number(value: Any) -> float:
    """A number of an array of objects, NaN for None and pandas' NA."""
    if value is None or type(value).__name__ == "NAType":
        return np.nan
    if isinstance(value, (str, bytes)):
        raise ValueError(f"{value[:40]!r} is text")
    return float(value)


def _series(item: Any, place: int) -> np.ndarray:
    series = numbers_of(item, f"context {place}")
    if series.ndim != 1:
        raise ExportError(f"context {place}: has {series.ndim} dimensions; a list takes series of one dimension [C].")
    return series


def padded(series: list[np.ndarray]) -> np.ndarray:
    """Series ``[C]`` of any lengths as ``[B, C]``, with missing values at the start of shorter ones."""
    rows = np.full((len(series), max(len(one) for one in series)), np.nan)
    for row, one in zip(rows, series, strict=True):
        row[len(row) - len(one) :] = one
    return rows


def _empty() -> ExportError:
    return ExportError("context: has no values; give at least one series with one value.")
