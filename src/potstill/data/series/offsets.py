"""Times from a start and a pandas offset, as data sets in the layout of GluonTS give them."""

from __future__ import annotations

import warnings

import numpy as np

_CALENDAR = {"ME": 1, "MS": 1, "QE": 3, "QS": 3, "YE": 12, "YS": 12}  # months


def stamps_from(start: np.datetime64, freq: str, count: int) -> np.ndarray | None:
    """``[count]`` datetime64[us] from ``start`` at a frequency; None if there are no such times.

    Fixed steps and weeks keep the phase of the start. Months, quarters and years keep its day of the month, or the last
    day if the start is one and the offset says so; every other offset is as in pandas.
    """
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    rows = np.arange(count)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # data sets use the aliases of older pandas: H, T, M, Q
            offset = to_offset(freq)
            if isinstance(offset, pd.tseries.offsets.Tick):
                return start + (rows * (offset.nanos // 1000)).astype("m8[us]")
            if isinstance(offset, pd.tseries.offsets.Week):
                return start + (rows * offset.n * 7).astype("m8[D]")
            begin = start.astype("M8[us]").item()
            months = _CALENDAR.get(offset.name.partition("-")[0], 0) * offset.n
            if months and not offset.is_on_offset(begin):
                return _by_months(start, rows * months)
            return pd.date_range(begin, periods=count, freq=offset).to_numpy().astype("M8[us]")
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None


def _by_months(start: np.datetime64, months: np.ndarray) -> np.ndarray:
    """``start`` and the same day of later months, or their last day where they are shorter."""
    month = start.astype("M8[M]")
    inside = start - month.astype("M8[us]")
    first = (month + months).astype("M8[us]")
    longest = (month + months + 1).astype("M8[us]") - first - np.timedelta64(1, "D")
    clock = inside % np.timedelta64(1, "D")
    return first + np.minimum(inside - clock, longest) + clock
