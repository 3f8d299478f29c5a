"""Infer the step of a series from its timestamps: a fixed length, or a calendar unit that they follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
_HALF, _ZERO = 32, 1 << 31  # bits of a day, of 64 for two; a distance of 0, as local days may go back


@dataclass(frozen=True)
class Spacing:
    """Rows of sorted times, and the distances between neighbouring ones of one series; equal ones may be counted.

    Attributes
    ----------
    gaps, gap_counts
        Microseconds between neighbours, and how often each occurs; None: once each.
    days, day_counts
        The rows' days since 1970.
    before, after, pair_counts
        The days of two neighbours.
    """

    gaps: np.ndarray
    days: np.ndarray
    before: np.ndarray
    after: np.ndarray
    gap_counts: np.ndarray | None = None
    day_counts: np.ndarray | None = None
    pair_counts: np.ndarray | None = None

    @classmethod
    def of(cls, times: np.ndarray, breaks: np.ndarray) -> Spacing:
        """The spacing of times; see ``infer_step``."""
        days = times // DAY
        return cls(np.diff(times)[~breaks], days, days[:-1][~breaks], days[1:][~breaks])

    @classmethod
    def joined(cls, parts: Sequence[Spacing]) -> Spacing:
        """The rows of all parts, with equal ones counted: memory follows the number of distinct ones."""
        gaps, gap_counts = _counted(*_ends([(part.gaps, part.gap_counts) for part in parts]))
        days, day_counts = _counted(*_ends([(part.days, part.day_counts) for part in parts]))
        pairs = [((part.before << _HALF) + (part.after - part.before + _ZERO), part.pair_counts) for part in parts]
        pairs, pair_counts = _counted(*_ends(pairs))
        before = pairs >> _HALF
        after = before + (pairs & ((1 << _HALF) - 1)) - _ZERO
        return cls(gaps, days, before, after, gap_counts, day_counts, pair_counts)


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
    return step_of(Spacing.of(times, breaks))


def step_of(rows: Spacing) -> tuple[TimeStep, bool]:
    """The step of rows whose spacing is known; see ``infer_step``."""
    if not len(rows.gaps):
        return TimeStep(), False
    micros = _median(rows.gaps, rows.gap_counts)
    if micros >= _NEARLY * DAY:
        step = _calendar_step(rows, micros)
        if step is not None:
            return step, True
    micros = _rounded(micros).micros
    step = TimeStep(micros=micros, anchor=_weekday(rows) if micros % WEEK == 0 else "")
    return step, _share(off_multiples(rows.gaps, micros), rows.gap_counts) <= _ODD


def _ends(parts: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Values of all parts one after the other, and their counts."""
    counts = [np.ones(len(values), np.int64) if count is None else count for values, count in parts]
    return np.concatenate([values for values, _ in parts]), np.concatenate(counts)


def _counted(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values, and the sum of the counts of each."""
    order = np.argsort(values, kind="stable")
    first = np.flatnonzero(np.diff(values[order], prepend=values[order[:1]] - 1))
    return values[order[first]], np.add.reduceat(counts[order], first) if len(first) else counts[:0]


def _median(values: np.ndarray, counts: np.ndarray | None) -> int:
    if counts is None:
        return int(np.sort(values)[len(values) // 2])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(counts[order])
    return int(values[order[np.searchsorted(reached, reached[-1] // 2, side="right")]])


def _total(values: np.ndarray, counts: np.ndarray | None) -> int:
    return int(values.sum() if counts is None else (values * counts).sum())


def _share(flags: np.ndarray, counts: np.ndarray | None) -> float:
    return _total(flags, counts) / (len(flags) if counts is None else int(counts.sum()))


def _calendar_step(rows: Spacing, micros: int) -> TimeStep | None:
    """A calendar unit that the days follow: exactly, or else all but a tenth of them."""
    gaps, counts = rows.after - rows.before, rows.pair_counts
    if micros < WEEK:
        return _business_step(rows, max(round(micros / DAY), 1))
    if micros % WEEK == 0 and _share(off_multiples(gaps * DAY, micros), counts) <= _ODD:
        return None
    for exact in (True, False):
        for name in _units_of(rows, micros):
            unit = calendar_unit(name)
            fits = unit.days(unit.periods(rows.days)) == rows.days
            if not (fits.all() if exact else _share(fits, rows.day_counts) >= 1 - _ODD):
                continue
            steps = unit.periods(rows.after) - unit.periods(rows.before)
            count = _median(steps, counts)
            if count >= 1 and _share((steps % count != 0) | (steps < 1), counts) <= _ODD:
                return _named(name, count, rows.days)
    return None


def _business_step(rows: Spacing, usual: int) -> TimeStep | None:
    """Business days, if no row is on a weekend and a grid of them has fewer empty rows than one of all days."""
    gaps, counts, unit = rows.after - rows.before, rows.pair_counts, calendar_unit("B")
    steps = unit.periods(rows.after) - unit.periods(rows.before)
    number = len(rows.days) if rows.day_counts is None else int(rows.day_counts.sum())
    if number <= _LEAST_BUSINESS_DAYS or ((rows.days + 3) % 7 > 4).any():  # 1970-01-01 was a Thursday
        return None
    count = _median(steps, counts)
    if count < 1 or _share(steps % count != 0, counts) > _ODD:
        return None
    fewer = _total(steps, counts) / count < _total(gaps, counts) / usual or _share(gaps % usual != 0, counts) > _ODD
    return TimeStep(unit="B", count=count) if fewer else None


def _units_of(rows: Spacing, micros: int) -> Iterator[str]:
    """The calendar units that the days may follow, the most usual first."""
    if micros < 25 * DAY:
        yield from ("SMS", "SME")
        return
    yield from ("MS", "ME")
    days = rows.days
    month = days.astype("M8[D]").astype("M8[M]")
    in_month = days - month.astype("M8[D]").astype(np.int64)
    for day in dict.fromkeys((int(in_month.max()), int(np.bincount(in_month, rows.day_counts).argmax()))):
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


def _weekday(rows: Spacing) -> str:
    """The weekday of the rows, or an empty text if a tenth of them are on other days."""
    counts = np.bincount((rows.days + 3) % 7, rows.day_counts, minlength=7)
    return WEEKDAYS[int(counts.argmax())] if counts.max() >= (1 - _ODD) * counts.sum() else ""


def median_step(gaps: np.ndarray) -> TimeStep:
    """The median of distances, rounded to whole days, hours, minutes or seconds if they differ by half a percent."""
    return _rounded(_median(gaps, None))


def _rounded(micros: int) -> TimeStep:
    for unit in (DAY, HOUR, MINUTE, SECOND):
        whole = round(micros / unit) * unit
        if whole and abs(whole - micros) <= 0.005 * micros:
            return TimeStep(micros=whole)
    return TimeStep(micros=micros)
