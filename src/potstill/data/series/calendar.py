"""Time steps: the distance between rows, the row of a date in a series, the number of steps in a season.

Times are int64 microseconds since 1970 without time zone. In a series without time, rows are numbered from 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND
_UNITS = {"W": 7 * DAY, "D": DAY, "h": HOUR, "min": MINUTE, "s": SECOND, "ms": 1000, "us": 1}
_SEASONS = {"D": 7, "B": 5, "W": 52}
_LONGEST_SEASON = 86_400  # a day of seconds


@dataclass(frozen=True)
class TimeStep:
    """The distance between rows: ``micros`` microseconds, ``months`` calendar months, a business day, or no time.

    ``month_end`` marks timestamps on the last day of each month.
    """

    micros: int = 0
    months: int = 0
    business: bool = False
    month_end: bool = False

    @property
    def timed(self) -> bool:
        """Whether rows have timestamps at all."""
        return bool(self.micros or self.months or self.business)

    @property
    def alias(self) -> str:
        """The pandas offset alias (``h``, ``10min``, ``D``, ``B``, ``W``, ``MS``, ``QE`` …); empty without time."""
        if self.business:
            return "B"
        if self.months:
            end = "E" if self.month_end else "S"
            count, unit = next(
                (self.months // m, u) for m, u in ((12, "Y"), (3, "Q"), (1, "M")) if self.months % m == 0
            )
            return f"{count if count > 1 else ''}{unit}{end}"
        if self.micros:
            count, unit = next((self.micros // size, u) for u, size in _UNITS.items() if self.micros % size == 0)
            return f"{count if count > 1 else ''}{unit}"
        return ""

    @classmethod
    def parse(cls, alias: str) -> TimeStep:
        """The inverse of ``alias``."""
        if alias in ("", "B"):
            return cls(business=alias == "B")
        match = re.fullmatch(r"(\d*)([A-Za-z]+)", alias)
        if match is None:
            raise ValueError(f"not a frequency: {alias!r}")
        count, unit = int(match[1] or 1), match[2]
        if unit in _UNITS:
            return cls(micros=count * _UNITS[unit])
        return cls(months=count * {"Y": 12, "Q": 3, "M": 1}[unit[0]], month_end=unit[1:] == "E")

    def stamps(self, start: int, first: int, count: int) -> np.ndarray:
        """Timestamps (datetime64[us]) of ``count`` rows from row ``first`` of a series that begins at ``start``."""
        rows = np.arange(first, first + count, dtype=np.int64)
        if not self.timed:
            return start + rows
        if self.business:
            day, clock = divmod(start, DAY)
            days = np.busday_offset(np.int64(day).astype("M8[D]"), rows, roll="forward")
            return days.astype("M8[us]") + np.timedelta64(clock, "us")
        if not self.months:
            return (start + rows * self.micros).astype("M8[us]")
        month, day, clock = _month_parts(np.array([start]))
        months = (month + rows * self.months).astype("M8[M]")
        last = ((months + 1).astype("M8[D]") - months.astype("M8[D]")).astype(np.int64) - 1
        days = last if self.month_end else np.minimum(day, last)
        return (months.astype("M8[D]") + days).astype("M8[us]") + np.timedelta64(int(clock[0]), "us")

    def rows_before(self, starts: np.ndarray, moment: int) -> np.ndarray:
        """How many rows of series that begin at ``starts`` are before ``moment`` (at least 0, no upper limit)."""
        if self.business:
            first, last = _days(starts), np.int64(-(-moment // DAY)).astype("M8[D]")
            return np.maximum(np.busday_count(first, last), 0)
        if self.months:
            month, day, clock = _month_parts(starts)
            at_month, at_day, at_clock = (int(part[0]) for part in _month_parts(np.array([moment])))
            offset = np.maximum(at_month - month, 0)
            inside = (day * DAY + clock) < (at_day * DAY + at_clock)
            rows = offset // self.months + np.where(offset % self.months > 0, 1, inside.astype(np.int64))
            return np.where(moment > starts, rows, 0)
        return np.maximum(-(-(moment - starts) // self.micros), 0)


def season_of(step: TimeStep) -> int | None:
    """Steps in a season by convention: a day for times of day, a week for days, a year above; None if there is none.

    Hourly 24, 15 minutes 96, daily 7, business days 5, weekly 52, monthly 12, quarterly 4, yearly 1;
    for steps below a minute, an hour, except for steps so short that no history has two such seasons.
    """
    if step.alias in _SEASONS:
        return _SEASONS[step.alias]
    if step.months:
        return max(12 // step.months, 1)
    cycle = DAY if step.micros >= MINUTE else HOUR
    if 0 < step.micros < DAY and cycle % step.micros == 0:
        steps = cycle // step.micros
        return steps if steps <= _LONGEST_SEASON else None
    return None


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
    The median step (calendar months and business days are recognised), and whether at least 90 % of the distances are
    multiples of it, within a tenth of a step.
    """
    gaps = np.diff(times)[~breaks]
    if not len(gaps):
        return TimeStep(), False
    micros = int(np.sort(gaps)[len(gaps) // 2])
    if micros == DAY and _on_business_days(times, gaps):
        return TimeStep(business=True), True
    if micros >= 27 * DAY:
        step = _monthly(times, breaks)
        if step is not None:
            return step, True
    micros = _rounded(micros)
    ratio = gaps / micros
    off = np.abs(ratio - np.maximum(np.rint(ratio), 1)) > 0.1
    return TimeStep(micros=micros), bool(off.mean() <= 0.1)


def increments(times: np.ndarray, step: TimeStep) -> np.ndarray:
    """``[N - 1]`` steps between neighbouring times, at least 1 each; pairwise, so that drift does not add up."""
    if step.business:
        days = _days(times)
        return np.maximum(np.busday_count(days[:-1], days[1:]), 1)
    if step.months:
        month = _month_parts(times)[0]
        return np.maximum(np.diff(month) // step.months, 1)
    return np.maximum(np.rint(np.diff(times) / step.micros), 1).astype(np.int64)


def _rounded(micros: int) -> int:
    """The step rounded to whole days, hours, minutes or seconds, if that changes it by at most half a percent."""
    for unit in (DAY, HOUR, MINUTE, SECOND):
        whole = round(micros / unit) * unit
        if whole and abs(whole - micros) <= 0.005 * micros:
            return whole
    return micros


def _on_business_days(times: np.ndarray, gaps: np.ndarray) -> bool:
    weekday = (times // DAY + 3) % 7  # 1970-01-01 was a Thursday
    return len(times) > 10 and bool((weekday < 5).all()) and bool((gaps % DAY == 0).all())


def _monthly(times: np.ndarray, breaks: np.ndarray) -> TimeStep | None:
    month, day, _ = _month_parts(times)
    gaps = np.diff(month)[~breaks]
    months = int(np.sort(gaps)[len(gaps) // 2])
    if months < 1 or (gaps % months != 0).mean() > 0.1:
        return None
    length = (((month + 1).astype("M8[M]").astype("M8[D]")) - month.astype("M8[M]").astype("M8[D]")).astype(np.int64)
    at_end = bool((day == length - 1).all())
    if not at_end and len(np.unique(day)) > 1:
        return None
    return TimeStep(months=months, month_end=at_end)


def _days(times: np.ndarray) -> np.ndarray:
    return np.asarray(times).astype("M8[us]").astype("M8[D]")


def _month_parts(times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Months since 1970, day of the month from 0, microseconds of the day."""
    stamps = np.asarray(times, dtype=np.int64).astype("M8[us]")
    months, days = stamps.astype("M8[M]"), stamps.astype("M8[D]")
    day = (days - months.astype("M8[D]")).astype(np.int64)
    return months.astype(np.int64), day, (stamps - days.astype("M8[us]")).astype(np.int64)
