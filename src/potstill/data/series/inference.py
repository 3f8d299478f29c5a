"""Infer the step of a series from its timestamps: a fixed length, or a calendar unit that they follow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from potstill.data.series.calendar import (
    DAY,
    HOUR,
    MINUTE,
    MONTH_NAMES,
    SECOND,
    WEEK,
    TimeStep,
    off_multiples,
    quarter_anchor,
)
from potstill.data.series.units import WEEKDAYS, calendar_unit

_ODD = 0.1  # at most this share of the rows may be off a regular step
_NEARLY = 0.9
_LEAST_BUSINESS_DAYS = 5


def infer_step(times: np.ndarray, breaks: np.ndarray) -> tuple[TimeStep, bool]:
    """Infer the step of sorted, distinct ``times`` and whether the rows are regular.

    Parameters
    ----------
    times
        ``[N]`` int64 microseconds, ascending within each series.
    breaks
        ``[N - 1]`` bool: True where the next row belongs to another series.

    Returns
    -------
    The median step (months, half months and business days are recognised), and whether at least 90 % of the distances
    are multiples of it: within a tenth of a step, or exactly if all rows have one time of day.
    """
    gaps = np.diff(times)[~breaks]
    if not len(gaps):
        return TimeStep(), False
    micros = int(np.sort(gaps)[len(gaps) // 2])
    if micros >= _NEARLY * DAY:
        step = _calendar_step(times // DAY, breaks, micros)
        if step is not None:
            return step, True
    micros = median_step(gaps).micros
    step = TimeStep(micros=micros, anchor=_weekday(times) if micros % WEEK == 0 else "")
    return step, bool(off_multiples(gaps, micros).mean() <= _ODD)


def _calendar_step(days: np.ndarray, breaks: np.ndarray, micros: int) -> TimeStep | None:
    """A calendar unit that the days follow: exactly, or else all but a tenth of them."""
    gaps = np.diff(days)[~breaks]
    if micros < WEEK:
        return _business_step(days, breaks, max(round(micros / DAY), 1))
    if micros % WEEK == 0 and off_multiples(gaps * DAY, micros).mean() <= _ODD:
        return None
    for exact in (True, False):
        for name in _units_of(days, micros):
            unit = calendar_unit(name)
            periods = unit.periods(days)
            fits = unit.days(periods) == days
            if not (fits.all() if exact else fits.mean() >= 1 - _ODD):
                continue
            steps = np.diff(periods)[~breaks]
            count = int(np.sort(steps)[len(steps) // 2])
            if count >= 1 and ((steps % count != 0) | (steps < 1)).mean() <= _ODD:
                return _named(name, count, days)
    return None


def _business_step(days: np.ndarray, breaks: np.ndarray, usual: int) -> TimeStep | None:
    """Business days, if no row is on a weekend and a grid of them has fewer empty rows than one of all days."""
    steps, gaps = np.diff(calendar_unit("B").periods(days))[~breaks], np.diff(days)[~breaks]
    if len(days) <= _LEAST_BUSINESS_DAYS or ((days + 3) % 7 > 4).any():  # 1970-01-01 was a Thursday
        return None
    count = int(np.sort(steps)[len(steps) // 2])
    if count < 1 or (steps % count != 0).mean() > _ODD:
        return None
    fewer = steps.sum() / count < gaps.sum() / usual or (gaps % usual != 0).mean() > _ODD
    return TimeStep(unit="B", count=count) if fewer else None


def _units_of(days: np.ndarray, micros: int) -> Iterator[str]:
    """The calendar units that the days may follow, the most usual first."""
    if micros < 25 * DAY:
        yield from ("SMS", "SME")
        return
    yield from ("MS", "ME")
    month = days.astype("M8[D]").astype("M8[M]")
    in_month = days - month.astype("M8[D]").astype(np.int64)
    for day in dict.fromkeys((int(in_month.max()), int(np.bincount(in_month).argmax()))):
        yield f"M-{day + 1}"
    yield from ("BMS", "BME")
    weekday, week = np.unique((days + 3) % 7), np.unique(in_month // 7)
    if len(weekday) == len(week) == 1 and week[0] < 4:
        yield f"WOM-{int(week[0]) + 1}{WEEKDAYS[int(weekday[0])]}"


def _named(unit: str, count: int, days: np.ndarray) -> TimeStep:
    """The step with the month that its quarters or years are counted from, if all rows agree on it."""
    if unit.endswith(("S", "E")) and not unit.startswith("S") and (count == 3 or count % 12 == 0):
        months = np.unique(days.astype("M8[D]").astype("M8[M]").astype(np.int64) % (3 if count == 3 else 12))
        if len(months) == 1:
            month = int(months[0])
            return TimeStep(
                unit=unit, count=count, anchor=quarter_anchor(month, unit[-1]) if count == 3 else MONTH_NAMES[month]
            )
    return TimeStep(unit=unit, count=count)


def _weekday(times: np.ndarray) -> str:
    """The weekday of the rows, or an empty text if a tenth of them are on other days."""
    counts = np.bincount((times // DAY + 3) % 7, minlength=7)
    return WEEKDAYS[int(counts.argmax())] if counts.max() >= (1 - _ODD) * len(times) else ""


def median_step(gaps: np.ndarray) -> TimeStep:
    """The median of distances, rounded to whole days, hours, minutes or seconds if they differ by half a percent."""
    micros = int(np.sort(gaps)[len(gaps) // 2])
    for unit in (DAY, HOUR, MINUTE, SECOND):
        whole = round(micros / unit) * unit
        if whole and abs(whole - micros) <= 0.005 * micros:
            return TimeStep(micros=whole)
    return TimeStep(micros=micros)
