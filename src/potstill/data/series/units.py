"""Calendar units: business days, days of months, weekdays of months, half months. Periods are numbered without gaps.

Days are int64 days since 1970. A unit knows the day of each period, and the period of each day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONDAY = -3  # the Monday before 1970-01-01, as days since 1970


class CalendarUnit(Protocol):
    """A sequence of days, one for each period."""

    def days(self, periods: np.ndarray) -> np.ndarray:
        """The day of each period, int64 of the shape of ``periods``."""
        ...

    def periods(self, days: np.ndarray) -> np.ndarray:
        """The last period whose day is not after each of ``days``, int64."""
        ...


@dataclass(frozen=True)
class BusinessDays:
    """Monday to Friday; holidays are business days, as in pandas' ``B``."""

    def days(self, periods: np.ndarray) -> np.ndarray:
        week, day = np.divmod(periods, 5)
        return week * 7 + day + _MONDAY

    def periods(self, days: np.ndarray) -> np.ndarray:
        week, day = np.divmod(days - _MONDAY, 7)
        return week * 5 + np.minimum(day, 4)


@dataclass(frozen=True)
class Months:
    """One day in each month; periods are months since 1970.

    ``kind`` is ``S`` (the first day), ``E`` (the last), ``BS`` and ``BE`` (the first and last business day), a number
    (that day of the month, or its last day if the month is shorter), or like ``3FRI`` (the third Friday).
    """

    kind: str

    def days(self, periods: np.ndarray) -> np.ndarray:
        first = np.asarray(periods).astype("M8[M]").astype("M8[D]").astype(np.int64)
        last = (np.asarray(periods) + 1).astype("M8[M]").astype("M8[D]").astype(np.int64) - 1
        if self.kind == "S":
            return first
        if self.kind == "E":
            return last
        if self.kind == "BS":
            weekday = (first - _MONDAY) % 7
            return first + np.where(weekday > 4, 7 - weekday, 0)
        if self.kind == "BE":
            return last - np.maximum((last - _MONDAY) % 7 - 4, 0)
        if self.kind.isdigit():
            return np.minimum(first + int(self.kind) - 1, last)
        week, weekday = int(self.kind[0]), WEEKDAYS.index(self.kind[1:])
        return first + (weekday - (first - _MONDAY)) % 7 + 7 * (week - 1)

    def periods(self, days: np.ndarray) -> np.ndarray:
        months = np.asarray(days, dtype=np.int64).astype("M8[D]").astype("M8[M]").astype(np.int64)
        return months - (self.days(months) > days)


@dataclass(frozen=True)
class HalfMonths:
    """Two days in each month: the 1st and the 15th, or with ``end`` the 15th and the last."""

    end: bool

    def days(self, periods: np.ndarray) -> np.ndarray:
        month, second = np.divmod(periods, 2)
        middle = Months("15").days(month)
        return (
            np.where(second, Months("E").days(month), middle)
            if self.end
            else np.where(second, middle, Months("S").days(month))
        )

    def periods(self, days: np.ndarray) -> np.ndarray:
        months = np.asarray(days, dtype=np.int64).astype("M8[D]").astype("M8[M]").astype(np.int64)
        first, second = self.days(2 * months), self.days(2 * months + 1)
        return 2 * months - (days < first) + (days >= second)


@lru_cache(maxsize=64)
def calendar_unit(name: str) -> CalendarUnit:
    """The unit of a name: ``B``, ``MS``, ``ME``, ``BMS``, ``BME``, ``M-30``, ``SMS``, ``SME``, ``WOM-3FRI``.

    Raises
    ------
    ValueError
        There is no such unit.
    """
    if name == "B":
        return BusinessDays()
    if name in ("SMS", "SME"):
        return HalfMonths(name == "SME")
    if name in ("MS", "ME", "BMS", "BME"):
        return Months(name.replace("M", ""))
    day = re.fullmatch(r"M-(\d+)", name)
    if day and 1 <= int(day[1]) <= 31:
        return Months(day[1])
    weekday = re.fullmatch(rf"WOM-([1-4](?:{'|'.join(WEEKDAYS)}))", name)
    if weekday:
        return Months(weekday[1])
    raise ValueError(f"not a calendar unit: {name!r}")
