"""Time in several columns: a date next to hours or a time of day, or year, month and day (or week, or quarter)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport
from potstill.data.series.calendar import DAY, HOUR, MINUTE
from potstill.data.series.sheet import Sheet
from potstill.data.series.time_numbers import iso_weeks
from potstill.data.series.times import Times

if TYPE_CHECKING:
    import pyarrow as pa

_HOUR_WORDS = frozenset(("hour", "hr", "h", "he", "hod", "hh", "stunde", "heure", "hora"))
_CLOCK_WORDS = frozenset(("time", "clock", "uhrzeit", "zeit", *_HOUR_WORDS))
_MINUTE_WORDS = frozenset(("minute", "minutes", "min", "mm"))
_CLOCK = r"^(?P<h>\d{1,2})[:.](?P<m>\d{2})(?:[:.](?P<s>\d{2})(?:[.,]\d+)?)? ?(?P<half>[AaPp][Mm])?$"
_MOST_HOURS = 0.5  # of the hours that occur must be there on an average day, to be told from a measurement
_YEAR, _MONTH, _DAY = (
    ("year", "yr", "yyyy", "jahr"),
    ("month", "mo", "mon", "monat"),
    ("day", "dd", "tag", "dayofmonth"),
)
_WEEK, _QUARTER = ("week", "wk", "weekno", "isoweek", "iso_week"), ("quarter", "qtr")


def add_clock(sheet: Sheet, times: Times, columns: list[str], name: str, report: DataReport) -> set[str]:
    """Add hours or times of day to dates, in place; returns the columns that were joined.

    Hours are 0 to 23, or 1 to 24, which are taken as the end of the hour. Text is like ``13:00`` or ``1:00 PM``.
    """
    if times.counter or times.zone or not times.valid.any() or (times.micros[times.valid] % DAY).any():
        return set()
    for column in columns:
        if not may_be_clock(column):
            continue
        words = _words(column)
        clock = _clock_of(sheet.table[column])
        ending = False
        if clock is None and words & _HOUR_WORDS:
            clock, ending = _hours_of(sheet.table[column], times)
        if clock is None:
            continue
        times.shift(np.where(times.valid, clock, 0))
        said = "; hours 1 to 24 are taken as the end of the hour" if ending else ""
        report.add_note(f"{name}: column {column!r} is joined with the dates in {times.name!r} as time of day{said}")
        return {column} | _add_minutes(sheet, times, [c for c in columns if c != column], name, report)
    return set()


def _add_minutes(sheet: Sheet, times: Times, columns: list[str], name: str, report: DataReport) -> set[str]:
    for column in columns:
        minutes = _whole(sheet.table[column]) if _words(column) & _MINUTE_WORDS else None
        if minutes is not None and minutes.min() >= 0 and minutes.max() <= 59:
            times.shift(minutes * MINUTE)
            report.add_note(f"{name}: column {column!r} is joined with the dates in {times.name!r} as minutes")
            return {column}
    return set()


def may_be_clock(column: str) -> bool:
    """Whether a column's name suggests hours or times of day."""
    return bool(_words(column) & _CLOCK_WORDS)


def may_be_date_part(column: str) -> bool:
    """Whether a column's name suggests years, which with other columns make dates."""
    return column.strip().lower() in _YEAR


def date_of_parts(sheet: Sheet, lower: dict[str, str], name: str, report: DataReport) -> tuple[set[str], Times] | None:
    """Dates of the columns year and month (and day), year and ISO week, or year and quarter; None without them."""
    found = {}
    for part, names in (("year", _YEAR), ("month", _MONTH), ("day", _DAY), ("week", _WEEK), ("quarter", _QUARTER)):
        column = next((lower[n] for n in names if n in lower), None)
        values = _whole(sheet.table[column]) if column is not None else None
        if column is not None and values is not None:
            found[part] = (column, values)
    if "year" not in found or not 1500 <= found["year"][1].min() <= found["year"][1].max() <= 2200:
        return None
    year = found["year"][1]
    for parts in (("month", "day"), ("month",), ("week",), ("quarter",)):
        if not all(part in found for part in parts):
            continue
        days = _days(year, parts[0], *(found[part][1] for part in parts))
        if days is not None:
            columns = [found[part][0] for part in ("year", *parts)]
            report.add_note(f"{name}: time is read from columns {', '.join(map(repr, columns))}")
            return set(columns), Times(days * DAY, np.ones(len(days), bool), columns[-1])
    return None


def _days(year: np.ndarray, kind: str, part: np.ndarray, day: np.ndarray | None = None) -> np.ndarray | None:
    if kind == "week":
        return iso_weeks(year, part)
    if part.min() < 1 or part.max() > (4 if kind == "quarter" else 12):
        return None
    month = (part - 1) * (3 if kind == "quarter" else 1)
    months = ((year - 1970) * 12 + month).astype("M8[M]")
    days = months.astype("M8[D]").astype(np.int64)
    if day is None:
        return days
    days = days + day - 1
    return days if day.min() >= 1 and (days.astype("M8[D]").astype("M8[M]") == months).all() else None


def _words(column: str) -> set[str]:
    return set(re.split(r"[^a-z]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", column).lower()))


def _whole(cells: pa.ChunkedArray) -> np.ndarray | None:
    """A column of whole numbers without gaps, int64; else None."""
    import pyarrow as pa

    pc = arrow_functions()

    if cells.null_count or not len(cells):
        return None
    try:
        values = np.asarray(
            pc.cast(pc.utf8_trim_whitespace(cells) if pa.types.is_string(cells.type) else cells, pa.float64())
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return values.astype(np.int64) if (values == np.rint(values)).all() else None


def _hours_of(cells: pa.ChunkedArray, times: Times) -> tuple[np.ndarray | None, bool]:
    """Hours as microseconds, and whether they are 1 to 24; None if they are no hours of these dates."""
    hours = _whole(cells)
    if hours is None or hours.min() < 0 or hours.max() > 24 or (hours.min() == 0 and hours.max() == 24):
        return None, False
    stamps = np.unique(times.micros[times.valid] + hours[times.valid] * HOUR)
    dates = len(np.unique(times.micros[times.valid]))
    expected = (stamps[-1] - stamps[0]) / DAY * len(np.unique(hours))
    if len(stamps) <= dates or len(stamps) < _MOST_HOURS * expected:
        return None, False
    ending = bool(hours.max() == 24)
    return (hours - ending) * HOUR, ending


def _clock_of(cells: pa.ChunkedArray) -> np.ndarray | None:
    """Times of day as microseconds: text, or Arrow times; else None."""
    import pyarrow as pa

    pc = arrow_functions()

    if pa.types.is_time(cells.type):
        return np.asarray(pc.cast(pc.cast(cells, pa.time64("us")), pa.int64()).fill_null(0))
    if not pa.types.is_string(cells.type) or cells.null_count:
        return None
    parts = pc.extract_regex(pc.utf8_trim_whitespace(cells), _CLOCK).combine_chunks()
    if parts.null_count or not len(parts):
        return None
    hour, minute = (np.asarray(pc.struct_field(parts, key).cast(pa.int64())) for key in ("h", "m"))
    seconds = pc.struct_field(parts, "s")
    second = np.asarray(pc.if_else(pc.equal(seconds, ""), "0", seconds).cast(pa.int64()).fill_null(0))
    half = np.char.lower(np.asarray(pc.struct_field(parts, "half").fill_null("")).astype(str))
    if hour.max() > 24 or minute.max() > 59 or second.max() > 59 or (hour[half != ""] > 12).any():
        return None
    hour = np.where(half == "", hour, hour % 12 + 12 * (half == "pm"))
    return hour * HOUR + minute * MINUTE + second * 1_000_000
