"""Time steps: the distance between rows, the row of a date in a series, the number of steps in a season.

Times are int64 microseconds since 1970: UTC for steps below a day, local time for steps of days and longer (see
``zones``). In a series without time, rows are numbered from 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from potstill.data.series.units import WEEKDAYS, CalendarUnit, calendar_unit

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND
WEEK = 7 * DAY
MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_UNITS = {"D": DAY, "h": HOUR, "min": MINUTE, "s": SECOND, "ms": 1000, "us": 1}
_JITTER = 0.1  # of a step and of a day: timestamps may be off by this much
# aliases of older pandas versions
_FORMER = {"H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "M": "ME", "Q": "QE", "Y": "YE", "A": "YE",
           "AS": "YS", "BM": "BME", "BQ": "BQE", "BA": "BYE", "BY": "BYE", "BAS": "BYS", "SM": "SME"}  # fmt: skip
_DEFAULT_ANCHORS = {"QS": "JAN", "YS": "JAN", "QE": "DEC", "YE": "DEC", "BQS": "JAN", "BYS": "JAN",
                    "BQE": "DEC", "BYE": "DEC"}  # fmt: skip


@dataclass(frozen=True)
class TimeStep:
    """The distance between rows: ``micros`` microseconds, or ``count`` periods of a calendar unit, or no time.

    Attributes
    ----------
    micros
        Microseconds, for steps of a fixed length.
    unit, count
        A name of ``units.calendar_unit``, and how many of its periods are one step.
    anchor
        The weekday of steps of weeks (``SUN``), or the month that quarters (1 to 3) or years are counted from. It is
        part of the alias only: timestamps follow from a series' first one.
    """

    micros: int = 0
    unit: str = ""
    count: int = 1
    anchor: str = ""

    @property
    def timed(self) -> bool:
        """Whether rows have timestamps at all."""
        return bool(self.micros or self.unit)

    @property
    def business(self) -> bool:
        """Whether the steps are business days."""
        return self.unit == "B"

    @property
    def months(self) -> int:
        """Months in a step, 0 for steps that are not whole months."""
        return self.count if self.unit and self.unit not in ("B", "SMS", "SME") else 0

    @property
    def wall(self) -> bool:
        """Whether the steps are counted on a clock on the wall: days and longer, as in pandas."""
        return bool(self.unit) or (self.micros > 0 and self.micros % DAY == 0)

    @property
    def alias(self) -> str:
        """The pandas offset alias (``h``, ``10min``, ``D``, ``B``, ``W-SUN``, ``QE-FEB`` …); empty without time.

        ``M-30`` is the 30th of each month, pandas' ``DateOffset(months=1, day=30)``. A quarter or year of the usual
        anchor has none: ``QS``, ``YE``.
        """
        if self.unit:
            return self._calendar_alias()
        if not self.micros:
            return ""
        if self.anchor:
            count, unit = self.micros // WEEK, f"W-{self.anchor}"
        else:
            count, unit = next((self.micros // size, u) for u, size in _UNITS.items() if self.micros % size == 0)
        return _counted(count, unit)

    def _calendar_alias(self) -> str:
        if not self.anchor:
            return _counted(self.count, self.unit)
        letter, months = ("Y", 12) if self.count % 12 == 0 else ("Q", 3)
        name = self.unit.replace("M", letter)
        anchor = "" if _DEFAULT_ANCHORS[name] == self.anchor else f"-{self.anchor}"
        return _counted(self.count // months, name + anchor)

    @classmethod
    def parse(cls, alias: str) -> TimeStep:
        """The inverse of ``alias``; also reads other aliases of pandas, such as ``1h30min``, ``H``, ``QS-OCT``.

        Raises
        ------
        ValueError
            The alias is unknown, or not a positive step of whole microseconds.
        """
        if not alias:
            return cls()
        match = re.fullmatch(r"(\d*)([A-Za-z]+)(?:-(\w+))?", alias)
        if match is None:
            return _compound(alias)
        count, name, anchor = int(match[1] or 1), match[2], (match[3] or "").upper()
        if count < 1:
            raise ValueError(f"not a positive step: {alias!r}")
        if name in ("M", "WOM") and anchor:
            calendar_unit(f"{name}-{anchor}")
            return cls(unit=f"{name}-{anchor}", count=count)
        name = _FORMER.get(name, name)
        if name == "W":
            if anchor and anchor not in WEEKDAYS:
                raise ValueError(f"not a weekday: {anchor!r}")
            return cls(micros=count * WEEK, anchor=anchor or "SUN")
        if name in _DEFAULT_ANCHORS:
            return _anchored(count, name, anchor or _DEFAULT_ANCHORS[name])
        if anchor:
            raise ValueError(f"not a frequency: {alias!r}")
        if name in _UNITS:
            return cls(micros=count * _UNITS[name])
        calendar_unit(name)
        return cls(unit=name, count=count)

    def on_grid(self, times: np.ndarray) -> np.ndarray:
        """``[N]`` bool: which of ``times`` are on a day of the calendar unit, and on the anchor."""
        days = np.asarray(times) // DAY
        if not self.unit:
            return (days + 3) % 7 == WEEKDAYS.index(self.anchor) if self.anchor else np.ones(len(days), bool)
        on = self._unit.days(self._unit.periods(days)) == days
        if self.anchor:
            cycle = 3 if self.count == 3 else 12
            on &= (self._unit.periods(days) - MONTH_NAMES.index(self.anchor)) % cycle == 0
        return on

    def off_steps(self, times: np.ndarray) -> np.ndarray:
        """``[N - 1]`` bool: rows that are no multiple of the step after the row before, or not on the calendar unit.

        Steps of a fixed length may be off by a tenth of the step and of a day.
        """
        if self.unit:
            periods = np.diff(self._unit.periods(np.asarray(times) // DAY))
            return ~self.on_grid(times)[1:] | (periods % self.count != 0) | (periods < 1)
        return off_multiples(np.diff(times), self.micros) | ~self.on_grid(times)[1:]

    def stamps(self, start: int, first: int, count: int) -> np.ndarray:
        """Timestamps (datetime64[us]) of ``count`` rows from row ``first`` of a series that begins at ``start``."""
        rows = np.arange(first, first + count, dtype=np.int64)
        if not self.timed:
            return start + rows
        if not self.unit:
            return (start + rows * self.micros).astype("M8[us]")
        day, clock = divmod(int(start), DAY)
        begin = self._unit.periods(np.array([day]))
        return (self._unit.days(begin + rows * self.count) * DAY + clock).astype("M8[us]")

    def rows_before(self, starts: np.ndarray, moment: int) -> np.ndarray:
        """How many rows of series that begin at ``starts`` are before ``moment`` (at least 0, no upper limit)."""
        if not self.unit:
            return np.maximum(-(-(moment - starts) // self.micros), 0)
        days, clocks = np.divmod(starts, DAY)
        # the last day of a row before the moment: the day itself only if the row's clock is earlier
        last = moment // DAY - (clocks >= moment % DAY)
        periods = self._unit.periods(last) - self._unit.periods(days)
        return np.maximum(periods // self.count + 1, 0)

    def increments(self, times: np.ndarray) -> np.ndarray:
        """``[N - 1]`` steps between neighbouring times, at least 1 each; pairwise, so that drift does not add up."""
        if self.unit:
            return np.maximum(np.diff(self._unit.periods(np.asarray(times) // DAY)) // self.count, 1)
        return np.maximum(np.rint(np.diff(times) / self.micros), 1).astype(np.int64)

    @property
    def _unit(self) -> CalendarUnit:
        return calendar_unit(self.unit)


def off_multiples(gaps: np.ndarray, micros: int) -> np.ndarray:
    """``[G]`` bool: distances that are no multiples of a step, within a tenth of it and of a day."""
    multiples = np.maximum(np.rint(gaps / micros), 1)
    return np.abs(gaps - multiples * micros) > _JITTER * min(micros, DAY)


def _counted(count: int, unit: str) -> str:
    return f"{count if count > 1 else ''}{unit}"


def _compound(alias: str) -> TimeStep:
    """Steps such as ``1h30min``, which pandas reads."""
    from pandas.tseries.frequencies import to_offset
    from pandas.tseries.offsets import Tick

    offset = to_offset(alias)
    if not isinstance(offset, Tick) or offset.nanos <= 0 or offset.nanos % 1000:
        raise ValueError(f"not a frequency: {alias!r}")
    return TimeStep(micros=offset.nanos // 1000)


def _anchored(count: int, name: str, anchor: str) -> TimeStep:
    """Quarters or years; the anchor of quarters is reduced to one of three months, because OCT means JAN."""
    letter = "Y" if "Y" in name else "Q"
    if anchor not in MONTH_NAMES:
        raise ValueError(f"not a month: {anchor!r}")
    months = 12 if letter == "Y" else 3
    return TimeStep(
        unit=name.replace(letter, "M"),
        count=count * months,
        anchor=quarter_anchor(MONTH_NAMES.index(anchor), name[-1]) if letter == "Q" else anchor,
    )


def quarter_anchor(month: int, end: str) -> str:
    """The name of the quarters that begin (``S``) or end (``E``) in a month (0 to 11): JAN to MAR, or DEC, JAN, FEB."""
    return MONTH_NAMES[month % 3 if end == "S" else (month % 3 if month % 3 < 2 else 11)]


def season_of(step: TimeStep) -> int | None:
    """Steps in a season by convention: a day for times of day, a week for days, a year above; None if there is none.

    Hourly 24, 15 minutes 96, daily 7, business days 5, weekly 52, half-monthly 24, monthly 12, quarterly 4, yearly 1;
    for steps below a minute, an hour.
    """
    if step.business:
        return 5 if step.count == 1 else None
    if step.unit in ("SMS", "SME"):
        return max(24 // step.count, 1)
    if step.months:
        return max(12 // step.months, 1)
    if step.micros in (DAY, WEEK):
        return 7 if step.micros == DAY else 52
    cycle = DAY if step.micros >= MINUTE else HOUR
    if 0 < step.micros < DAY and cycle % step.micros == 0:
        return cycle // step.micros
    return None
