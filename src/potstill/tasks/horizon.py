"""The default horizon: what is usually forecast at the step of the series, shortened to what the split can hold."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np

from potstill.data.series.store import Store
from potstill.data.series.windows import longest_horizons
from potstill.recipe import SeriesData
from potstill.reporting.data_words import step_words

LEAST_STEPS, MOST_STEPS = 8, 96  # of a default for steps below a day: longer ones cost time, shorter ones show little
VERDICT_WINDOWS = 20  # the longer end of a range is taken where a part still has so many windows
SHORT_SHARE = 0.1  # of the series, which may be too short for the horizon; they are left out and reported
SAMPLED_SERIES = 100
SECONDS = {"D": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
CALENDAR = {"B": (10, 20), "C": (10, 20), "W": (8, 13), "M": (12, 12), "Q": (8, 8), "Y": (5, 5), "A": (5, 5)}
"""Shortest and longest default, in steps, by the unit of the step."""


def default_horizon(store: Store, data: SeriesData) -> tuple[int, str]:
    """The horizon of a recipe that names none, and a sentence that says why.

    It is 24 to 48 hours for steps of hours (for shorter steps at most 96), 14 to 28 days, 8 to 13 weeks, 12 months, 8
    quarters or 5 years, and no more than every part of the split can hold. Of several data sets the shortest counts.
    """
    longest = longest_horizons(store, data.split, data.context_length)
    found = [_of_dataset(store, int(number), longest) for number in np.unique(store.dataset_of)]
    known = [one for one in found if one is not None]
    if not known:  # no part has a row: the error about windows says so
        low, high, alias = *steps_ahead("", 1), ""
        return low, _sentence(low, low, high, alias)
    return min(known, key=lambda one: one[0])


def steps_ahead(alias: str, season: int) -> tuple[int, int]:
    """The shortest and longest default horizon for a pandas offset alias; without dates ``season`` decides."""
    match = re.fullmatch(r"(\d*)([A-Za-z]+)(-\w+)?", alias)
    if match is None:
        return (season, 2 * season) if LEAST_STEPS <= season <= MOST_STEPS // 2 else (24, 48)
    count, unit = int(match[1] or 1), match[2]
    seconds = SECONDS.get(unit, 0.0) * count
    if seconds >= SECONDS["D"]:
        return _steps(14 * SECONDS["D"], seconds), _steps(28 * SECONDS["D"], seconds)
    if seconds > 0:
        one, two = (min(max(_steps(days * SECONDS["D"], seconds), LEAST_STEPS), MOST_STEPS) for days in (1, 2))
        return one, two
    unit = "M" if unit in ("WOM", "LWOM") else unit  # a weekday of a month, such as the third Friday
    kind = next(
        (key for key in ("W", "Q", "Y", "A", "M", "B", "C") if key in unit.removeprefix("B") or key == unit), ""
    )
    low, high = CALENDAR.get(kind, (24, 48))
    return _steps(low, count), _steps(high, count)


def _steps(length: float, step: float) -> int:
    return max(1, math.ceil(length / step))


def _of_dataset(store: Store, dataset: int, longest: np.ndarray) -> tuple[int, str] | None:
    """The horizon of one data set and the reason; None if no part of its series can hold a step."""
    series = np.flatnonzero(store.dataset_of == dataset)
    parts = [values[values > 0] for values in longest[:, series] if (values >= 0).any()]
    if not parts or not all(len(values) for values in parts):
        return None
    held = min(int(np.quantile(values, SHORT_SHARE, method="lower")) for values in parts)
    sample = series[np.linspace(0, len(series) - 1, min(len(series), SAMPLED_SERIES)).astype(np.int64)]
    alias = Counter(store.step(int(i)).alias for i in sample).most_common(1)[0][0]
    low, high = steps_ahead(alias, int(store.season[sample[0]]))
    chosen = min(held, max(low, min(high, held - VERDICT_WINDOWS + 1)))
    return chosen, _sentence(chosen, low, high, alias)


def _sentence(chosen: int, low: int, high: int, alias: str) -> str:
    usual = f"{low} to {high}" if low < high else str(low)
    what = f"steps that are {step_words(alias)}" if alias else "series without dates"
    short = ", shortened to what every part of the split can hold" if chosen < low else ""
    return f"prediction_length is {chosen}: by default {usual} for {what}{short}"
