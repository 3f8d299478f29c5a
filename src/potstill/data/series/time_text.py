"""Text as time: ISO dates, the usual other formats, quarters and weeks, with or without an offset from UTC."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.series.day_order import Readings, choose_order, order_of
from potstill.data.series.time_numbers import iso_weeks, read_numbers
from potstill.data.series.times import Times
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H.%M.%S", " %H.%M", "T%H:%M:%S", "T%H:%M", " %I:%M %p", " %I:%M:%S %p",
           " %I:%M%p")  # fmt: skip
_MONTHS = ("%Y-%m", "%Y/%m", "%Y.%m", "%m/%Y", "%m-%Y", "%m.%Y", "%b %Y", "%b-%Y", "%b-%y", "%b %y", "%B %Y", "%Y %b",
           "%Y-%b", "%Y %B", "%YM%m")  # fmt: skip
# among equally good formats the first is used: %Y would read 24 as the year 24, and "Jan 2024" as 20 January 24
_DATES = ("%d/%m/%y", "%m/%d/%y", "%y/%m/%d", "%d.%m.%y", "%d-%b-%y", "%d %b %y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d",
          "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y",
          "%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%b %d %Y", "%d %B %Y", "%d-%B-%Y", "%B %d %Y", "%Y-%b-%d", "%Y %b %d",
          "%Y%m%d")  # fmt: skip
FORMATS = (*_MONTHS, *(date + clock for date in _DATES for clock in _CLOCKS), "%Y%m%dT%H%M%S", "%Y%m%dT%H%M",
           "%Y%m%d %H%M", "%Y-%m-%d %H")  # fmt: skip
ZONE = (
    r"(?:\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?|T\d{4}(?:\d{2})?|[AaPp][Mm])\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)$"
)
FRACTION = r"(?P<clock>:\d{2})[.,](?P<fraction>\d{1,9})(?P<half> ?[AaPp][Mm])?$"
_WEEKDAY = r"^(?i:mon|tue|wed|thu|fri|sat|sun)(?i:[a-z]*),? +"
QUARTERS = (r"^(?P<year>\d{4})[-/ ]?[Qq](?P<part>[1-4])$", r"^[Qq](?P<part>[1-4])[-/ ]?(?P<year>\d{4})$",
             r"^(?P<part>[1-4])[Qq][-/ ]?(?P<year>\d{4})$")  # fmt: skip
WEEKS = (r"^(?P<year>\d{4})[-/ ]?[Ww](?P<part>\d{1,2})(?:-?1)?$", r"^[Ww](?P<part>\d{1,2})[-/ ](?P<year>\d{4})$")
DECIMAL_MONTHS = r"^\d{4}\.(0[1-9]|1[0-2])$"
_PROBE = 500
_FIRST_YEAR = datetime(1000, 1, 1)
_DAY = 86_400_000_000


def read_text(column: pa.ChunkedArray, name: str = "") -> Times:
    """Text as time; numbers in text are read like numbers."""
    import pyarrow as pa

    pc = arrow_functions()

    filled = ~np.asarray(column.is_null())
    if not pc.all(pc.match_substring_regex(column, DECIMAL_MONTHS)).as_py():
        try:
            return read_numbers(np.asarray(pc.cast(column, pa.float64()).fill_null(np.nan)), name)
        except pa.ArrowInvalid:
            pass
    try:
        return _times(pc.cast(column, pa.timestamp("us")), filled)
    except pa.ArrowInvalid:
        pass
    found = _parts(column, filled)
    if found is not None:
        return found
    offsets, mixed = _offsets(column, filled)
    if mixed is not None:
        return Times(np.zeros(len(column), np.int64), filled, mixed=mixed)
    if offsets is not None:
        column = pc.replace_substring_regex(column, r"\s*(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)$", "")
    times = _parse(column, filled)
    if offsets is not None:
        times.in_utc(offsets)
    return times


def read_formatted(column: pa.ChunkedArray, date_format: str) -> Times:
    """Text in one format, as for ``strptime``.

    Raises
    ------
    UserError
        The format has an unknown directive.
    """
    import pandas as pd

    filled = ~np.asarray(column.is_null())
    offsets, mixed = _offsets(column, filled) if "%z" in date_format else (None, None)
    try:
        parsed = pd.to_datetime(pd.Series(column.to_pylist()), format=date_format, errors="coerce", utc=True)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"data.date_format: {date_format!r} is not a format of dates ({error}); write one such as '%d/%m/%Y'.",
            key="data.date_format",
        ) from None
    valid = np.asarray(parsed.notna())
    micros = parsed.dt.as_unit("us").astype("int64").to_numpy(copy=True)
    micros[~valid] = 0
    times = Times(micros, valid, unreadable=_first(filled & ~valid), mixed=mixed)
    if offsets is not None:
        times.shift(offsets)
        times.in_utc(offsets)
    return times


def _times(stamps: pa.ChunkedArray, filled: np.ndarray) -> Times:
    import pyarrow as pa

    valid = ~np.asarray(stamps.is_null())
    micros = np.asarray(stamps.cast(pa.int64()).fill_null(0))
    return Times(micros, valid, unreadable=_first(filled & ~valid))


def _first(rows: np.ndarray) -> int | None:
    found = np.flatnonzero(rows)
    return int(found[0]) if len(found) else None


def _parts(column: pa.ChunkedArray, filled: np.ndarray) -> Times | None:
    """Quarters (2020Q1, Q1 2020) and ISO weeks (2020-W05), if all cells are such."""
    import pyarrow as pa

    pc = arrow_functions()

    for patterns, kind in ((QUARTERS, "quarter"), (WEEKS, "week")):
        for pattern in patterns:
            cells = pc.extract_regex(column, pattern).combine_chunks()
            if cells.null_count > int((~filled).sum()) or not filled.any():
                continue
            year, part = (
                np.asarray(pc.struct_field(cells, name).filter(pa.array(filled)).cast(pa.int64()))
                for name in ("year", "part")
            )
            if kind == "quarter":
                days = ((year - 1970) * 12 + 3 * (part - 1)).astype("M8[M]").astype("M8[D]").astype(np.int64)
            else:
                days = iso_weeks(year, part)
            if days is not None:
                micros = np.zeros(len(filled), np.int64)
                micros[filled] = days * _DAY
                return Times(micros, filled)
    return None


def _offsets(column: pa.ChunkedArray, filled: np.ndarray) -> tuple[np.ndarray | None, int | None]:
    """``[N]`` microseconds ahead of UTC (None without zones), and the first row that differs from the
    first one in whether it has a zone."""
    pc = arrow_functions()

    zones = pc.struct_field(pc.extract_regex(column, ZONE), "zone").combine_chunks().dictionary_encode()
    if zones.null_count == len(zones):
        return None, None
    sizes = np.array([_offset(zone) for zone in zones.dictionary.to_pylist()], np.int64)
    known = ~np.asarray(zones.is_null())
    offsets = np.zeros(len(filled), np.int64)
    offsets[known] = sizes[np.asarray(zones.indices.drop_null())]
    return offsets, _first(filled & (known != known[np.argmax(filled)]))


def _offset(zone: str) -> int:
    """Microseconds ahead of UTC of ``Z``, ``+02``, ``+0230`` or ``+02:30``."""
    if zone[0] not in "+-":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    minutes = 60 * int(digits[:2]) + int(digits[2:])
    return (-1 if zone[0] == "-" else 1) * minutes * 60_000_000


def _parse(column: pa.ChunkedArray, filled: np.ndarray) -> Times:
    """Times in the format that reads most cells; among equal ones, the order of day and month that is regular."""
    import pyarrow as pa

    pc = arrow_functions()

    column, fractions = _without_fractions(column, filled)
    try:
        times = _times(pc.cast(column, pa.timestamp("us")), filled)
        times.shift(fractions)
        return times
    except pa.ArrowInvalid:
        pass
    column = without_weekdays(column)
    best = fitting_formats(column)
    if not best:
        return Times(np.zeros(len(column), np.int64), np.zeros(len(column), bool), unreadable=_first(filled))
    readings = Readings()
    for form in best:
        readings.add(order_of(form), _times(strptime(column, form), filled))
    times = choose_order(readings)
    times.shift(fractions)
    return times


def without_weekdays(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dates without the name of the weekday and commas, as the formats have none."""
    pc = arrow_functions()

    column = pc.replace_substring_regex(column, _WEEKDAY, "")
    return pc.replace_substring(column, ", ", " ")


def fitting_formats(column: pa.ChunkedArray) -> list[str]:
    """The formats that read most of the first filled cells; none if no format reads any."""
    probe = column.drop_null()[:_PROBE]
    counts = {form: strptime(probe, form) for form in FORMATS}
    most = max(len(probe) - stamps.null_count for stamps in counts.values())
    return [form for form, stamps in counts.items() if len(probe) - stamps.null_count == most and most]


def _without_fractions(column: pa.ChunkedArray, filled: np.ndarray) -> tuple[pa.ChunkedArray, np.ndarray]:
    """The cells without fractions of a second, and these in microseconds."""
    import pyarrow as pa

    pc = arrow_functions()

    found = pc.extract_regex(column, FRACTION).combine_chunks()
    fractions = np.zeros(len(filled), np.int64)
    known = ~np.asarray(found.is_null())
    if not known.any():
        return column, fractions
    digits = pc.utf8_rpad(pc.struct_field(found, "fraction"), 6, "0")
    fractions[known] = np.asarray(pc.utf8_slice_codeunits(digits, 0, 6).cast(pa.int64()).drop_null())
    return pc.replace_substring_regex(column, r"(:\d{2})[.,]\d{1,9}( ?[AaPp][Mm])?$", r"\1\2"), fractions


def strptime(column: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    """Text in one format as timestamps, null where it does not fit; two digits (``15-Jan``) are no year for ``%Y``."""
    import pyarrow as pa

    pc = arrow_functions()
    stamps = pc.strptime(column, format=form, unit="us", error_is_null=True)
    if "%Y" not in form:
        return stamps
    early = pc.less(stamps, pa.scalar(_FIRST_YEAR, stamps.type))
    return pc.if_else(early, pa.scalar(None, stamps.type), stamps)
