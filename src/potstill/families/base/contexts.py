"""A user's contexts as one tensor: arrays, tensors, Series, lists of them with different lengths, objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from potstill.errors import UserError


def contexts_of(data: Any) -> Tensor:
    """Contexts ``[B, C]``, NaN where missing; float32 if the data is, else float64.

    Parameters
    ----------
    data
        One series ``[C]`` or several ``[B, C]`` as an array, tensor, pandas Series or list of numbers; or a list of
        series, whose lengths may differ: shorter ones are padded with missing values at their start. Infinite values
        become missing.

    Raises
    ------
    UserError
        For anything else, in one sentence.
    """
    if isinstance(data, Tensor):
        context = data.detach()
        if context.ndim not in (1, 2) or context.is_complex():
            raise _wrong_shape(tuple(context.shape))
    elif hasattr(data, "columns"):
        raise UserError(
            "context: is a data frame; use predict_df or potstill.forecast for tables, and predict for arrays.",
            key="context.data_frame",
        )
    elif _is_list_of_series(data):
        context = _padded([_one(item, f"context {place}") for place, item in enumerate(data)])
    else:
        context = torch.from_numpy(_numbers(data, "context"))
        if context.ndim not in (1, 2):
            raise _wrong_shape(tuple(context.shape))
    context = context[None] if context.ndim == 1 else context
    if not len(context) or not context.shape[1]:
        raise UserError("context: has no values; give at least one series with one value.", key="context.empty")
    context = _real(context)
    return torch.where(context.isinf(), torch.nan, context)


def _is_list_of_series(data: Any) -> bool:
    """Whether data is a list (or an array of objects) with an item that is itself a series."""
    if isinstance(data, np.ndarray):
        return data.dtype == object and data.ndim == 1 and any(np.ndim(item) > 0 for item in data)
    return isinstance(data, (list, tuple)) and any(np.ndim(item) > 0 for item in data)


def _one(item: Any, name: str) -> Tensor:
    values = _real(item.detach().cpu()) if isinstance(item, Tensor) else torch.from_numpy(_numbers(item, name))
    if values.ndim != 1:
        raise UserError(
            f"{name}: has {values.ndim} dimensions; a list takes series of one dimension [C].", key="context.bad_shape"
        )
    return values


def _real(values: Tensor) -> Tensor:
    """Float32 as it is, all else as float64, which has every number of the smaller types."""
    return values if values.dtype == torch.float32 else values.double()


def _numbers(values: Any, name: str) -> np.ndarray:
    """Numbers as float64 (float32 stays); None and pandas' NA are missing."""
    if hasattr(values, "to_numpy"):  # a pandas Series or an array of its nullable types
        values = values.to_numpy()
    try:
        single = getattr(values, "dtype", None) == np.float32
        array = np.ma.filled(np.ma.asarray(values, dtype=np.float32 if single else np.float64), np.nan)
    except (TypeError, ValueError):
        array = _from_objects(values, name)
    if np.asarray(values).dtype.kind in "mMSUc":
        raise _not_numbers(name, np.asarray(values).dtype)
    return array


def _from_objects(values: Any, name: str) -> np.ndarray:
    import pandas as pd

    try:
        objects = np.asarray(values, dtype=object)
        return np.where(pd.isna(objects), np.nan, objects).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise _not_numbers(name, str(error).splitlines()[0]) from None


def _padded(series: list[Tensor]) -> Tensor:
    """``[B, C]`` with missing values at the start of shorter series."""
    length = max(len(one) for one in series)
    kind = torch.float64 if any(one.dtype == torch.float64 for one in series) else torch.float32
    padded = torch.full((len(series), length), torch.nan, dtype=kind)
    for row, one in zip(padded, series, strict=True):
        row[length - len(one) :] = one
    return padded


def _not_numbers(name: str, why: Any) -> UserError:
    return UserError(
        f"{name}: cannot be read as numbers ({why}); give numbers, and NaN where a value is missing.",
        key="context.not_numbers",
    )


def _wrong_shape(shape: tuple[int, ...]) -> UserError:
    return UserError(
        f"context: has the shape {list(shape)}; give one series [C], several [B, C], or a list of series.",
        key="context.bad_shape",
    )
