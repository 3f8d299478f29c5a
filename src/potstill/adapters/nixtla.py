"""``fit``, ``predict`` and ``cross_validation`` on the long frames of Nixtla's libraries, with their columns.

Shapes: T steps of a series, H horizon steps.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from potstill.adapters.base import name_of, predictor_of, uses_covariates, warn_unused
from potstill.adapters.items import Item, ItemForecaster
from potstill.errors import UserError

ID, TIME, TARGET = "unique_id", "ds", "y"
CUTOFF = "cutoff"
MEDIAN = 0.5


class NixtlaForecaster:
    """Any model of Potstill with the methods and result frames of StatsForecast.

    The column ``NAME`` is the median, ``NAME-lo-80`` and ``NAME-hi-80`` are the 0.1 and 0.9 quantiles. Rows that are
    missing between the first and the last of a series are missing values. The model is not trained: ``fit`` keeps the
    frame.

    Parameters
    ----------
    model
        MODEL as in the verbs, or a loaded forecaster.
    freq
        The step: a pandas offset such as ``h`` or ``MS``, or an integer if ``ds`` is one.
    alias
        NAME of the columns; default: the model's name.
    futr_exog_list, hist_exog_list
        Columns that help to forecast: known ahead (given in ``X_df``), or only up to the last row. A model that cannot
        use them ignores them with a warning.
    device
        Such as ``cpu`` or ``cuda:1``; default: a GPU if there is one.

    Raises
    ------
    UserError
        If there is no forecaster at that place, or ``freq`` is no step.
    """

    def __init__(
        self,
        model: Any,
        freq: str | int,
        alias: str | None = None,
        *,
        futr_exog_list: Sequence[str] = (),
        hist_exog_list: Sequence[str] = (),
        device: str | None = None,
    ):
        self.predictor = predictor_of(model, device)
        self.alias = alias or name_of(self.predictor)
        self.freq = _step(freq)
        self.known, self.past = list(futr_exog_list), list(hist_exog_list)
        self.df_: pd.DataFrame | None = None

    def fit(self, df: pd.DataFrame) -> NixtlaForecaster:
        """Check and keep the history: ``unique_id``, ``ds``, ``y`` and the covariates, in any order of rows.

        Raises
        ------
        UserError
            For missing columns, repeated times, times that are not on the grid of ``freq``, or values that are no
            numbers.
        """
        self.df_ = self._prepared(df, [TARGET, *self.known, *self.past], "df")
        unused = [str(name) for name in df.columns if name not in (ID, TIME, TARGET, *self.known, *self.past)]
        if unused:
            warnings.warn(
                f"columns {', '.join(unused)} are not used; name covariates in futr_exog_list or hist_exog_list",
                stacklevel=2,
            )
        return self

    def predict(self, h: int, X_df: pd.DataFrame | None = None, level: Sequence[float] | None = None) -> pd.DataFrame:
        """Forecast the ``h`` steps after the last row of every series.

        Parameters
        ----------
        h
            Steps ahead.
        X_df
            ``unique_id``, ``ds`` and the columns of ``futr_exog_list`` for these steps.
        level
            Widths of intervals in per cent, such as ``[80, 90]``.

        Returns
        -------
        pandas.DataFrame
            ``unique_id``, ``ds``, ``NAME``, and two columns for each level; sorted by id and time.

        Raises
        ------
        UserError
            Before ``fit``; for a level outside of 0 to 100; if ``X_df`` lacks rows or columns.
        """
        history = self._fitted()
        ahead = None
        if self.known and uses_covariates(self.predictor):
            if X_df is None:
                raise UserError(
                    f"predict: the columns {', '.join(self.known)} of futr_exog_list are needed for the steps ahead;"
                    " give them as X_df.",
                    key="adapter.no_future",
                )
            ahead = self._prepared(X_df, self.known, "X_df", gaps=True)
        return self._forecast(history, ahead, h, level)

    def forecast(
        self, df: pd.DataFrame, h: int, X_df: pd.DataFrame | None = None, level: Sequence[float] | None = None
    ) -> pd.DataFrame:
        """``fit`` and ``predict`` in one call."""
        return self.fit(df).predict(h, X_df, level)

    def cross_validation(
        self,
        df: pd.DataFrame,
        h: int,
        n_windows: int = 1,
        step_size: int | None = None,
        level: Sequence[float] | None = None,
    ) -> pd.DataFrame:
        """Forecast from several origins, the last of them ``h`` steps before the end of each series.

        Parameters
        ----------
        df
            See :meth:`fit`. Columns of ``futr_exog_list`` are known ahead.
        h
            Steps ahead.
        n_windows
            Number of origins.
        step_size
            Steps between them; default: ``h``.
        level
            See :meth:`predict`.

        Returns
        -------
        pandas.DataFrame
            ``unique_id``, ``ds``, ``cutoff`` (the last known time), ``y``, ``NAME`` and two columns for each level.

        Raises
        ------
        UserError
            If a series is too short, and what :meth:`fit` refuses.
        """
        data: Any = self.fit(df)._fitted()
        step = h if step_size is None else step_size
        if min(h, n_windows, step) < 1:
            raise UserError(
                "cross_validation: h, n_windows and step_size must be 1 or more.", key="option.out_of_range"
            )
        longest = h + (n_windows - 1) * step
        size = data.groupby(ID, sort=False)[TARGET].transform("size")
        if (size <= longest).any():
            first = data.loc[size <= longest, ID].iloc[0]
            raise UserError(
                f"{first}: has {int(size[size <= longest].iloc[0]):,} steps; {n_windows} windows of {h} steps need"
                f" {longest + 1:,}: lower n_windows or h, or remove the series.",
                key="adapter.short_series",
            )
        place = data.groupby(ID, sort=False).cumcount() - size  # -1 is the last row
        results = []
        for window in range(n_windows):
            cut = -longest + window * step
            future = data[(place >= cut) & (place < cut + h)]
            ahead = future[[ID, TIME, *self.known]] if self.known and uses_covariates(self.predictor) else None
            result = self._forecast(data[place < cut], ahead, h, level)
            cutoff = data.loc[place == cut - 1, [ID, TIME]].rename(columns={TIME: CUTOFF})
            merged = result.merge(cutoff, on=ID).merge(future[[ID, TIME, TARGET]], on=[ID, TIME])
            results.append(merged[[ID, TIME, CUTOFF, TARGET, *result.columns[2:]]])
        return pd.concat(results).sort_values([ID, CUTOFF, TIME], kind="stable").reset_index(drop=True)

    def _fitted(self) -> Any:
        if self.df_ is None:
            raise UserError("predict: call fit with the history first.", key="adapter.not_fitted")
        return self.df_

    def _forecast(self, history: Any, ahead: Any, h: int, level: Sequence[float] | None) -> Any:
        widths = _widths(level)
        columns = {self.alias: MEDIAN}
        columns |= {f"{self.alias}-lo-{w:g}": round(0.5 - w / 200, 6) for w in widths}
        columns |= {f"{self.alias}-hi-{w:g}": round(0.5 + w / 200, 6) for w in widths}
        forecaster = ItemForecaster(self.predictor, h, list(columns.values()))
        groups: list[Any] = list(history.groupby(ID, sort=False))
        times = [_after(rows[TIME].iloc[-1], self.freq, h) for _, rows in groups]
        found = forecaster.forecast(self._items(groups, times, ahead)).quantiles[:, 0]  # [N, Q, H]
        result = pd.DataFrame({ID: np.repeat([name for name, _ in groups], h), TIME: np.concatenate(times)})
        result[ID] = result[ID].astype(history[ID].dtype)
        result[TIME] = result[TIME].astype(history[TIME].dtype)
        for name, quantile in columns.items():
            result[name] = found[:, forecaster.levels.index(quantile)].ravel()
        return result

    def _items(self, groups: list[Any], times: list[Any], ahead: Any) -> list[Item]:
        used = uses_covariates(self.predictor)
        if not used:
            warn_unused(self.predictor, [*self.known, *self.past])
        future: dict[Any, Any] = {} if ahead is None else dict(list(ahead.groupby(ID, sort=False)))
        items = []
        for (name, rows), steps in zip(groups, times, strict=True):
            item = Item(str(name), rows[[TARGET]].to_numpy(np.float64).T)
            if used and self.past:
                item.past = rows[self.past].to_numpy(np.float64).T
            if ahead is not None:
                known = future.get(name, ahead.iloc[:0]).set_index(TIME).reindex(steps)
                missing = ~np.isin(steps, future[name][TIME]) if name in future else np.ones(len(steps), bool)
                if missing.any():
                    raise UserError(
                        f"{name}: X_df has no row for {steps[int(missing.argmax())]}; give the {len(steps)} steps after"
                        f" {rows[TIME].iloc[-1]}.",
                        key="adapter.no_future",
                    )
                item.known = np.concatenate([rows[self.known], known[self.known]]).astype(np.float64).T
            items.append(item)
        return items

    def _prepared(self, df: Any, columns: Sequence[str], what: str, gaps: bool = False) -> Any:
        """Ids, times and columns in float64, sorted; without ``gaps``, missing rows of a series are added."""
        if not isinstance(df, pd.DataFrame):
            raise UserError(
                f"{what}: is {type(df).__name__}, not a pandas data frame; convert it, as with df.to_pandas().",
                key="frame.not_a_frame",
            )
        missing = [name for name in (ID, TIME, *columns) if name not in df.columns]
        if missing:
            raise UserError(
                f"{what}: has no column {missing[0]!r}; its columns are {', '.join(map(str, df.columns))}.",
                key="frame.no_column",
            )
        if df.empty:
            raise UserError(f"{what}: has no rows.", key="frame.empty")
        data: Any = df[[ID, TIME, *columns]].copy()
        data[TIME] = self._times(data[TIME], what)
        if data[[ID, TIME]].isna().to_numpy().any():
            raise UserError(f"{what}: a row has no {ID} or no {TIME}; fill it or drop it.", key="frame.missing_key")
        for name in columns:
            try:
                numbers: Any = pd.to_numeric(data[name])
                data[name] = numbers.astype(np.float64)
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"{what}: column {name!r} is not numbers ({error}); convert it.", key="frame.not_numbers"
                ) from None
        data = data.sort_values([ID, TIME], kind="stable").reset_index(drop=True)
        twice = data.duplicated([ID, TIME])
        if twice.any():
            row = data[twice].iloc[0]
            raise UserError(
                f"{what}: {row[ID]} has two rows for {row[TIME]}; keep one of them.", key="frame.repeated_time"
            )
        return data if gaps else self._filled(data, what)

    def _times(self, times: Any, what: str) -> Any:
        """Integers, or times; text is read as times."""
        if isinstance(self.freq, int):
            if pd.api.types.is_integer_dtype(times):
                return times
            raise UserError(
                f"{what}: {TIME} holds no integers, but freq is {self.freq}; give a pandas offset, such as freq='D'.",
                key="frame.freq",
            )
        if pd.api.types.is_integer_dtype(times):
            raise UserError(
                f"{what}: {TIME} holds integers, but freq is {self.freq.freqstr!r}; give freq=1.", key="frame.freq"
            )
        try:
            return pd.to_datetime(times)
        except (ValueError, TypeError) as error:
            raise UserError(f"{what}: {TIME} holds no times ({error}).", key="frame.no_times") from None

    def _filled(self, data: Any, what: str) -> Any:
        """The frame with a row for every step from the first to the last of each series."""
        grids = []
        for name, rows in data.groupby(ID, sort=False):
            first, last = rows[TIME].iloc[[0, -1]]
            grid = _between(first, last, self.freq)
            outside = ~rows[TIME].isin(grid)
            if outside.any():
                raise UserError(
                    f"{what}: {name} has a row at {rows[TIME][outside].iloc[0]}, which is not a whole number of steps"
                    f" of {getattr(self.freq, 'freqstr', self.freq)} after {first}; correct freq or the times.",
                    key="frame.off_grid",
                )
            grids.append(pd.DataFrame({ID: name, TIME: grid}))
        grid = pd.concat(grids, ignore_index=True).astype(data.dtypes[[ID, TIME]])
        if len(grid) == len(data):
            return data
        warnings.warn(f"{what}: {len(grid) - len(data):,} rows are missing; they become missing values", stacklevel=4)
        return grid.merge(data, how="left", on=[ID, TIME])


def _step(freq: Any) -> Any:
    """A pandas offset, or an integer as it is."""
    if isinstance(freq, int) and freq > 0:
        return freq
    try:
        return cast("Any", pd.tseries.frequencies.to_offset)(freq)
    except ValueError:
        raise UserError(
            f"freq {freq!r}: is no step; give a pandas offset such as 'h', 'D' or 'MS', or a positive integer.",
            key="frame.freq",
        ) from None


def _between(first: Any, last: Any, freq: Any) -> Any:
    """All steps from the first to the last time."""
    if isinstance(freq, int):
        return np.arange(first, last + 1, freq)
    return pd.date_range(first, last, freq=freq)


def _after(last: Any, freq: Any, h: int) -> Any:
    """The ``h`` steps after a time."""
    if isinstance(freq, int):
        return last + freq * np.arange(1, h + 1)
    return pd.date_range(last, periods=h + 1, freq=freq)[1:]


def _widths(level: Sequence[float] | None) -> list[float]:
    """Widths of intervals, ascending, once each."""
    widths = sorted(set(level or []))
    if not all(0 < width < 100 for width in widths):
        raise UserError(
            f"level {list(level or [])}: give widths in per cent between 0 and 100, such as [80, 90].",
            key="quantiles.bad_levels",
        )
    return widths
