"""Numbers as time: epochs, compact dates such as 202001 or 20200131, years, spreadsheet days; else an order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from potstill.data.series.times import Times

_SECOND, _DAY = 1_000_000, 86_400_000_000
_EPOCHS = ((1e8, 5e9, 1e6, "seconds"), (1e11, 5e12, 1e3, "milliseconds"), (1e14, 5e15, 1, "microseconds"),
           (1e17, 5e18, 1e-3, "nanoseconds"))  # fmt: skip
_SPREADSHEET = (20_000, 80_000)  # days since 1899-12-30, from 1954 to 2119
_SPREADSHEET_NAMES = ("date", "datetime", "date_time", "day", "datum", "fecha")
_FULL = 0.9  # of the days in between are there, so that numbers are dates rather than an order


class _Compact(NamedTuple):
    """Digits that name dates between two years: read as days, or None if some number is no such date."""

    form: str
    digits: int
    read: Callable[[np.ndarray], np.ndarray | None]
    doubtful: bool = False  # other numbers look alike: the dates must be without gaps, and the numbers not


def read_numbers(numbers: np.ndarray, name: str = "") -> Times:
    """Numbers (``[N]`` float64, NaN where missing) as time.

    Integers are an order unless they clearly name dates. What they were taken for is in ``Times.form``.
    """
    valid = np.isfinite(numbers)
    known = numbers[valid]
    if not len(known):
        return Times(np.zeros(len(numbers), np.int64), valid)
    whole = bool((known == np.rint(known)).all())
    for reading in (_compact, _years) if whole else ():
        found = reading(known.astype(np.int64))
        if found is not None:
            return _spread(*found, valid)
    for reading in (_epochs, _decimal_years):
        found = reading(known)
        if found is not None:
            return _spread(*found, valid)
    found = _spreadsheet_days(known, name)
    if found is not None:
        return _spread(*found, valid)
    counts = known.astype(np.int64) if whole and np.abs(known).max() < 2**53 else _ranks(known)
    times = _spread(counts, "an order, not as dates", valid)
    times.counter = True
    return times


def _spread(micros: np.ndarray, form: str, valid: np.ndarray) -> Times:
    spread = np.zeros(len(valid), np.int64)
    spread[valid] = micros
    return Times(spread, valid, form=form)


def _ranks(known: np.ndarray) -> np.ndarray:
    return np.unique(known, return_inverse=True)[1].astype(np.int64)


def _compact(known: np.ndarray) -> tuple[np.ndarray, str] | None:
    """Dates written as digits, in microseconds, and what they are."""
    low, high = int(known.min()), int(known.max())
    for kind in _COMPACT:
        if low < 10 ** (kind.digits - 1) or high >= 10**kind.digits:
            continue
        micros = kind.read(known)
        if micros is not None and not (kind.doubtful and _contiguous(known, 1, _FULL)):
            if kind.doubtful and not _contiguous(micros // _DAY, _usual(micros // _DAY), _FULL):
                continue
            return micros, kind.form
    return None


def _usual(days: np.ndarray) -> int:
    gaps = np.diff(np.unique(days))
    return int(np.median(gaps)) if len(gaps) else 1


def _contiguous(values: np.ndarray, step: int, share: float) -> bool:
    """Whether the values fill this share of their range, in steps of ``step``."""
    distinct = np.unique(values)
    return len(distinct) * step >= share * (distinct[-1] - distinct[0] + step)


def _days_of(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray | None:
    """Days since 1970 of dates between 1800 and 2200, or None if one does not exist."""
    if ((year < 1800) | (year > 2200) | (month < 1) | (month > 12) | (day < 1)).any():
        return None
    months = ((year - 1970) * 12 + month - 1).astype("M8[M]")
    days = months.astype("M8[D]").astype(np.int64) + day - 1
    return days if (days.astype("M8[D]").astype("M8[M]") == months).all() else None


def _date(known: np.ndarray) -> np.ndarray | None:
    days = _days_of(known // 10_000, known // 100 % 100, known % 100)
    return None if days is None else days * _DAY


def _date_and_clock(parts: int) -> Callable[[np.ndarray], np.ndarray | None]:
    """Reads YYYYMMDD followed by hours, minutes and seconds, ``parts`` of them."""

    def read(known: np.ndarray) -> np.ndarray | None:
        micros, size = _date(known // 100**parts), 3600 * _SECOND
        for part in range(parts):
            value = known // 100 ** (parts - 1 - part) % 100
            if micros is None or (value > (59 if part else 23)).any():
                return None
            micros = micros + value * size
            size //= 60
        return micros

    return read


def _month(known: np.ndarray) -> np.ndarray | None:
    days = _days_of(known // 100, known % 100, np.ones_like(known))
    return None if days is None else days * _DAY


def _week(known: np.ndarray) -> np.ndarray | None:
    days = iso_weeks(known // 100, known % 100)
    return None if days is None or (known // 100 < 1800).any() or (known // 100 > 2200).any() else days * _DAY


def _quarter(known: np.ndarray) -> np.ndarray | None:
    if ((known % 10 < 1) | (known % 10 > 4)).any():
        return None
    days = _days_of(known // 10, known % 10 * 3 - 2, np.ones_like(known))
    return None if days is None else days * _DAY


def _short_date(known: np.ndarray) -> np.ndarray | None:
    return _date(known + np.where(known < 690_000, 20_000_000, 19_000_000))


def _day_of_year(known: np.ndarray) -> np.ndarray | None:
    year, day = known // 1000, known % 1000
    first = _days_of(year, np.ones_like(year), np.ones_like(year))
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    return None if first is None or ((day < 1) | (day > 365 + leap)).any() else (first + day - 1) * _DAY


def iso_weeks(year: np.ndarray, week: np.ndarray) -> np.ndarray | None:
    """Days since 1970 of the Mondays of ISO weeks; None if a year does not have such a week."""
    if ((week < 1) | (week > 53)).any():
        return None
    fourth = (year - 1970).astype("M8[Y]").astype("M8[D]").astype(np.int64) + 3  # 4 January is in week 1
    monday = fourth - (fourth + 3) % 7 + 7 * (week - 1)
    thursday = (monday + 3).astype("M8[D]").astype("M8[Y]").astype(np.int64) + 1970
    return monday if (thursday == year).all() else None


_COMPACT = (
    _Compact("dates (YYYYMMDD)", 8, _date),
    _Compact("dates and hours (YYYYMMDDHH)", 10, _date_and_clock(1)),
    _Compact("dates and minutes (YYYYMMDDHHMM)", 12, _date_and_clock(2)),
    _Compact("dates and seconds (YYYYMMDDHHMMSS)", 14, _date_and_clock(3)),
    _Compact("dates (YYMMDD)", 6, _short_date, doubtful=True),  # daily ones would also be weeks around 1900
    _Compact("months (YYYYMM)", 6, _month),
    _Compact("ISO weeks (YYYYWW)", 6, _week),
    _Compact("days of the year (YYYYDDD)", 7, _day_of_year, doubtful=True),
    _Compact("quarters (YYYYQ)", 5, _quarter, doubtful=True),
)


def _years(known: np.ndarray) -> tuple[np.ndarray, str] | None:
    if known.min() < 1500 or known.max() > 2200:
        return None
    return (known - 1970).astype("M8[Y]").astype("M8[us]").astype(np.int64), "years"


def _epochs(known: np.ndarray) -> tuple[np.ndarray, str] | None:
    for least, most, factor, unit in _EPOCHS:
        if known.min() >= least and known.max() <= most:
            return np.rint(known * factor).astype(np.int64), f"{unit} since 1970"
    return None


def _decimal_years(known: np.ndarray) -> tuple[np.ndarray, str] | None:
    """Months as twelfths of a year, such as 2020.083 for February 2020."""
    months = known * 12
    if known.min() < 1500 or known.max() > 2200 or np.abs(months - np.rint(months)).max() > 0.05:
        return None
    if len(np.unique(np.rint(months))) < len(np.unique(known)):
        return None
    return (np.rint(months).astype(np.int64) - 1970 * 12).astype("M8[M]").astype("M8[us]").astype(np.int64), (
        "months (decimal years)"
    )


def _spreadsheet_days(known: np.ndarray, name: str) -> tuple[np.ndarray, str] | None:
    """Days of a spreadsheet: in a column named like ``date``, or if they are the first or last days of months."""
    if known.min() < _SPREADSHEET[0] or known.max() > _SPREADSHEET[1]:
        return None
    days = np.floor(known).astype(np.int64) - 25_569
    clock = np.rint((known - np.floor(known)) * 86_400).astype(np.int64) * _SECOND
    named = name.strip().lower() in _SPREADSHEET_NAMES
    distinct = np.unique(days)
    dates = distinct.astype("M8[D]")
    first = (dates == dates.astype("M8[M]").astype("M8[D]")).all()
    last = (dates + 1 == (dates + 1).astype("M8[M]").astype("M8[D]")).all()
    if not named and not (len(distinct) >= 3 and (first or last)):
        return None
    return days * _DAY + clock, "days of a spreadsheet (since 1899-12-30)"
