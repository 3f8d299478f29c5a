"""The order of day and month in dates such as 01/02/2020: the order under which the series have regular steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from potstill.data.series.steps import group_by_step
from potstill.data.series.times import Times

_AS_GOOD = 0.9  # another order is possible if it reaches this share of the chosen order's regularity
_YEAR_1000 = int(np.datetime64("1000-01-01", "us").astype(np.int64))
_ORDERS = {"%d%m": "day/month", "%m%d": "month/day", "%y%m": "year/month"}
_UNUSUAL = "%y/%m/%d"


@dataclass
class Readings:
    """A column read in several formats, by the order of day and month; formats with one order are the same."""

    times: dict[str, Times] = field(default_factory=dict)

    def add(self, order: str, times: Times) -> None:
        """Add a reading unless it is in the same order as an earlier one."""
        self.times.setdefault(order, times)


def order_of(form: str) -> str:
    """The order of day, month and a year of two digits in a numeric format; else the format itself."""
    return _ORDERS.get(form[:2] + form[3:5], form) if not form.startswith(_UNUSUAL) else _UNUSUAL


def choose_order(readings: Readings) -> Times:
    """The reading that reads most cells; among equal ones the most regular, with all of them kept."""
    most = max(int(times.valid.sum()) for times in readings.times.values())
    full = {order: times for order, times in readings.times.items() if int(times.valid.sum()) == most}
    # a year below 1000 shows that %Y has read a day, as in 12/02/01
    modern = {order: t for order, t in full.items() if t.micros[t.valid].min() >= _YEAR_1000} or full
    distinct: dict[str, Times] = {}
    for order, times in modern.items():
        if not any(np.array_equal(times.micros, other.micros) for other in distinct.values()):
            distinct[order] = times
    first = next(iter(distinct.values()))
    if len(distinct) > 1:
        first.readings = {order: times.micros for order, times in distinct.items()}
        settle(first, np.zeros(len(first.micros), np.int64))
    return first


def settle(times: Times, codes: np.ndarray) -> str:
    """Choose among the readings by the regularity of each series.

    Parameters
    ----------
    times
        Changed in place.
    codes
        ``[N]`` series of each row, -1 for none.

    Returns
    -------
    str
        Another order that fits about as well; empty if there is none.
    """
    if not times.readings:
        return ""
    rows = np.flatnonzero(times.valid & (codes >= 0))
    scores = {order: _regularity(micros[rows], codes[rows]) for order, micros in times.readings.items()}
    order = max(scores, key=lambda order: (scores[order], order != _UNUSUAL, -_distances(times.readings[order][rows])))
    times.order, times.micros = order, times.readings[order]
    return _as_good(scores, order)


def _as_good(scores: Mapping[str, float], chosen: str) -> str:
    return next((o for o in scores if o != chosen and scores[o] >= _AS_GOOD * scores[chosen]), "")


def _regularity(micros: np.ndarray, codes: np.ndarray) -> float:
    """Share of the steps from the first to the last row of each series that have a row; irregular rows do not count."""
    order = np.lexsort((micros, codes))
    micros, codes = micros[order], codes[order]
    distinct = np.append(True, (np.diff(micros) != 0) | (np.diff(codes) != 0)) if len(micros) else np.zeros(0, bool)
    micros, codes = micros[distinct], codes[distinct]
    codes = np.unique(codes, return_inverse=True)[1]
    bounds = np.searchsorted(codes, np.arange(int(codes.max(initial=-1)) + 2))
    groups = group_by_step(micros, bounds)
    good = total = 0
    for group, step in enumerate(groups.steps):
        rows = np.flatnonzero(groups.group_of[codes] == group)
        if not groups.regular[group] or not step.timed:
            total += len(rows)
            continue
        inside = np.diff(codes[rows]) == 0
        good += int(inside.sum())
        total += int(step.increments(micros[rows])[inside].sum())
    return round(good / max(total, 1), 6)


def _distances(micros: np.ndarray) -> int:
    """The number of different distances between neighbours. It breaks ties: days before months."""
    return len(np.unique(np.diff(micros)))
