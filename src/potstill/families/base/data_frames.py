"""Forecasts of long data frames, with the signature and the result of chronos-forecasting's ``predict_df``.

Frames are checked, sorted and encoded by its functions, so that categories become the same numbers.

Shapes: B windows (a target of an item each), C context, H horizon, P past covariates, F known-future covariates.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from potstill.errors import UserError
from potstill.families.base.units import LARGEST_LEVEL
from potstill.types import Forecast, Windows

if TYPE_CHECKING:
    import pandas as pd

    from potstill.families.base.forecaster import Forecaster

_MEDIAN = 0.5


def predict_frame(
    forecaster: Forecaster,
    df: pd.DataFrame,
    future_df: pd.DataFrame | None,
    columns: tuple[str, str, list[str]],
    prediction_length: int,
    levels: Sequence[float],
    *,
    batch_size: int,
    context_length: int | None,
    cross_learning: bool,
    validate_inputs: bool,
    freq: str | None,
) -> pd.DataFrame:
    """See :meth:`Forecaster.predict_df`; ``columns`` are those of ids, times and targets."""
    from chronos.chronos2.preprocess import from_data_frame

    identity, time, targets = columns
    _check(df, future_df, columns, levels)
    df, future_df = _without_covariates(forecaster, df, future_df, columns)
    zone = getattr(df[time].dtype, "tz", None)
    try:
        df, future_df = _in_order(df, future_df, columns, prediction_length, validate_inputs)
        df, offsets = _without_offsets(df, identity, targets)
        prepared = from_data_frame(
            df, targets, prediction_length, future_df, None, identity, time, validate_inputs=False
        )
        future = _future(df, prediction_length, freq, identity, time, zone)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"predict_df: {_first_line(error)}", key="frame.invalid") from None
    if validate_inputs and future_df is not None and not (future_df[time].array == future[time].array).all():
        raise UserError(
            f"predict_df: the times of future_df are not those of the {prediction_length} steps after each series;"
            " correct them, or pass validate_inputs=False to use the rows in their order.",
            key="frame.future_times",
        )
    longest = min(context_length or forecaster.max_context, forecaster.max_context)
    together = "forecast" in forecaster.group_signals
    forecasts = []
    for items in _batches(prepared, batch_size):
        windows = _windows(items, prediction_length, longest, together, cross_learning)
        forecasts.append(forecaster.predict(windows, prediction_length, batch_size=max(batch_size, len(windows))))
    point = np.concatenate([_at(one, [_MEDIAN]) for one in forecasts])[:, 0]
    quantiles = np.concatenate([_at(one, levels) for one in forecasts])
    rows = np.arange(len(future)).reshape(-1, prediction_length)  # of each item, once for each target
    result = future.iloc[rows.repeat(len(targets), axis=0).ravel()].reset_index(drop=True)
    result["target_name"] = np.tile(np.repeat(targets, prediction_length), len(prepared))
    if offsets.any():  # else the columns stay in single precision, as upstream's
        point, quantiles = point + offsets[:, None], quantiles + offsets[:, None, None]
    result["predictions"] = point.ravel()
    for q, level in enumerate(levels):
        result[str(level)] = quantiles[:, q].ravel()
    return result


def _without_offsets(df: Any, identity: str, targets: list[str]) -> tuple[Any, np.ndarray]:
    """The frame without the offsets of its series, and these ``[items · targets]`` float64.

    The offset is 0, or the middle of a series that varies little around a large level: chronos-forecasting computes in
    single precision, which would leave nothing of a signal of 3 on a level of 2e9.
    """
    series = df.groupby(identity, sort=False)[targets]
    low, high = series.min().to_numpy(np.float64), series.max().to_numpy(np.float64)
    far = (high > low) & (np.maximum(np.abs(low), np.abs(high)) > LARGEST_LEVEL * (high - low))
    offsets = np.where(far, low + (high - low) / 2, 0.0)
    if far.any():
        rows = series.ngroup().to_numpy()
        df = df.assign(**{name: df[name] - offsets[rows, place] for place, name in enumerate(targets)})
    return df, offsets.ravel()


def _check(df: Any, future_df: Any, columns: tuple[str, str, list[str]], levels: Sequence[float]) -> None:
    """Raise UserError for what chronos-forecasting would not find, or misread."""
    import pandas as pd

    for name, frame in (("df", df), ("future_df", future_df)):
        if frame is None:
            continue
        if not isinstance(frame, pd.DataFrame):
            raise UserError(
                f"predict_df: {name} is {type(frame).__name__}, not a pandas data frame.", key="frame.not_a_frame"
            )
        missing = [c for c in (*columns[:2], *(columns[2] if name == "df" else [])) if c not in frame.columns]
        if missing:
            raise UserError(
                f"predict_df: {name} has no column {missing[0]!r}; its columns are"
                f" {', '.join(map(str, frame.columns))}: name yours with id_column, timestamp_column and target.",
                key="frame.no_column",
            )
        if not len(frame):
            raise UserError(f"predict_df: {name} has no rows.", key="frame.empty")
        for column in columns[:2]:
            if frame[column].isna().to_numpy().any():
                row = int(frame[column].isna().to_numpy().argmax())
                raise UserError(
                    f"predict_df: {name} has no {column} in row {row}; fill it or drop the row.",
                    key="frame.missing_key",
                )
    if not levels or not all(0 < level < 1 for level in levels):
        raise UserError(
            f"predict_df: quantile_levels {list(levels)} must be between 0 and 1, such as [0.1, 0.5, 0.9].",
            key="quantiles.bad_levels",
        )


def _without_covariates(
    forecaster: Forecaster, df: Any, future_df: Any, columns: tuple[str, str, list[str]]
) -> tuple[Any, Any]:
    """The frames without covariates, if the model cannot use them: past ones with a warning, known ones refused."""
    if "forecast" in forecaster.group_signals:
        return df, future_df
    identity, time, targets = columns
    known = [] if future_df is None else [c for c in future_df.columns if c not in (identity, time)]
    if known:
        raise UserError(
            f"{forecaster.source.name}: {forecaster.family} models cannot use covariates such as {known[0]!r} of"
            f" future_df; leave future_df out, or {forecaster.groups_advice}.",
            key="model.no_groups",
        )
    extra = [str(c) for c in df.columns if c not in (identity, time, *targets)]
    if extra:
        warnings.warn(
            f"{forecaster.source.name} cannot use covariates; ignored columns: {', '.join(extra)}", stacklevel=4
        )
    return df[[identity, time, *targets]], None


def _in_order(
    df: Any, future_df: Any, columns: tuple[str, str, list[str]], prediction_length: int, validate: bool
) -> tuple[Any, Any]:
    """Both frames checked, grouped by id in order of appearance, and sorted by time; times without their zone (UTC)."""
    from chronos.df_utils import validate_and_normalize_df

    identity, time, targets = columns
    df, future_df = _utc(df, time), None if future_df is None else _utc(future_df, time)
    if not validate:
        return df, future_df
    return validate_and_normalize_df(
        df, future_df, targets, prediction_length, id_column=identity, timestamp_column=time
    )


def _utc(frame: Any, time: str) -> Any:
    return (
        frame
        if getattr(frame[time].dtype, "tz", None) is None
        else frame.assign(**{time: frame[time].dt.tz_convert(None)})
    )


def _future(df: Any, steps: int, freq: str | None, identity: str, time: str, zone: Any) -> Any:
    """Ids and times of the steps after each item, in the zone of the times.

    Steps of a day or more keep the time of day of the zone, shorter ones their distance.
    """
    from chronos.df_utils import make_future_df

    def ahead(frame: Any) -> Any:
        return make_future_df(frame, steps, freq, identity, time)

    if zone is None:
        return ahead(df)
    local = df.assign(**{time: df[time].dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)})
    try:
        daily = ahead(local)
        if ((daily[time] - daily[time].dt.normalize()).nunique()) == 1:
            stamps = daily[time].dt.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
            return daily.assign(**{time: stamps})
    except ValueError:  # an hour stands twice or never in local time
        pass
    return _zoned(ahead(df), time, zone)


def _zoned(frame: Any, time: str, zone: Any) -> Any:
    return frame.assign(**{time: frame[time].dt.tz_localize("UTC").dt.tz_convert(zone)})


def _batches(prepared: Sequence[Any], batch_size: int) -> Iterator[list[Any]]:
    """Items of about ``batch_size`` rows, as chronos-forecasting batches them: targets and covariates are rows."""
    items: list[Any] = []
    for item in prepared:
        items.append(item)
        if sum(len(one["context"]) for one in items) >= batch_size:
            yield items
            items = []
    if items:
        yield items


def _windows(items: list[Any], horizon: int, longest: int, together: bool, cross_learning: bool) -> Windows:
    """The targets of a batch of prepared items, with their covariates if the model reads windows ``together``."""
    targets, known = items[0]["n_targets"], items[0]["n_future_covariates"]
    past = items[0]["n_covariates"] - known
    length = min(max(item["context"].shape[1] for item in items), longest)
    rows = torch.full((len(items), targets + past + known, length), torch.nan)
    for row, item in zip(rows, items, strict=True):
        context = item["context"][:, -length:]
        row[:, length - context.shape[1] :] = context
    rows = torch.where(rows.isinf(), torch.nan, rows)
    context = rows[:, :targets].flatten(0, 1)
    if not together or (targets == 1 and not past and not known and not cross_learning):
        return Windows.of_context(context, horizon)
    ahead = torch.stack([item["future_covariates"][targets + past :] for item in items])
    number = torch.arange(len(items)) if not cross_learning else torch.zeros(len(items), dtype=torch.int64)
    return Windows.of_context(
        context,
        horizon,
        group=number.repeat_interleave(targets),
        past_covariates=_first_only(rows[:, targets : targets + past], targets),
        future_covariates=_first_only(torch.cat([rows[:, targets + past :], ahead], dim=2), targets),
    )


def _first_only(covariates: torch.Tensor, targets: int) -> torch.Tensor | None:
    """Covariates ``[items, K, …]`` at the first target of each item, ``[B, K, …]``; None if there are none."""
    if not covariates.shape[1]:
        return None
    spread = covariates.new_full((len(covariates), targets, *covariates.shape[1:]), torch.nan)
    spread[:, 0] = covariates
    return spread.flatten(0, 1)


def _at(forecast: Forecast, levels: Sequence[float]) -> np.ndarray:
    """``[B, Q, H]`` in input units, not sorted; between the model's levels interpolated in input units."""
    from chronos.utils import interpolate_quantiles

    own = [round(level, 6) for level in forecast.levels.tolist()]
    values = forecast.in_units()
    if set(levels) <= set(own):
        return values[:, [own.index(level) for level in levels]].numpy()
    return interpolate_quantiles(list(levels), own, values.transpose(1, 2)).transpose(1, 2).numpy()


def _first_line(error: Exception) -> str:
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip()
    return (text.splitlines() or [type(error).__name__])[0].rstrip(".") + "."
