"""Read a time column block by block, in the form that its first rows show.

The form is such that the whole column is read in it if every block is. A block that is not gives its first other row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.series.blocks.refusal import NotInBlocks
from potstill.data.series.day_order import order_of
from potstill.data.series.sheet import Sheet
from potstill.data.series.time_numbers import read_numbers
from potstill.data.series.time_text import (
    DECIMAL_MONTHS,
    QUARTERS,
    WEEKS,
    ZONE,
    fitting_formats,
    strptime,
    without_weekdays,
)
from potstill.data.series.times import Times
from potstill.data.series.timestamps import read_times

if TYPE_CHECKING:
    import pyarrow as pa

_WRITE_ISO = "write times as YYYY-MM-DD HH:MM:SS in UTC, or as Parquet timestamps"
# forms of numbers that all rows have if every block has them
_NUMBERS = ("dates (YYYYMMDD)", "dates and hours (YYYYMMDDHH)", "dates and minutes (YYYYMMDDHHMM)",
            "dates and seconds (YYYYMMDDHHMMSS)", "years", "seconds since 1970", "milliseconds since 1970",
            "microseconds since 1970", "nanoseconds since 1970")  # fmt: skip


class TimeForm(NamedTuple):
    """How a column of times is read: ``kind``, and the format or the form of its numbers."""

    column: str
    kind: str
    form: str = ""

    def read(self, cells: pa.ChunkedArray) -> tuple[Times, int | None]:
        """The times of a block, and the first row that does not have the form."""
        if self.kind in ("arrow", "given"):
            times = read_times(cells, self.column, self.form or None)
            return times, times.unreadable
        if self.kind == "numbers":
            return self._numbers(cells)
        cells = _trimmed(cells)
        if self.kind == "iso":
            stamps, failing = _cast(cells, "timestamp[us]")
        else:
            stamps = strptime(without_weekdays(cells), self.form)
            failing = _first(np.asarray(stamps.is_null()) & np.asarray(cells.is_valid()))
        return _of_stamps(stamps), failing

    def _numbers(self, cells: pa.ChunkedArray) -> tuple[Times, int | None]:
        import pyarrow as pa

        failing = None
        if pa.types.is_string(cells.type):
            cells, failing = _cast(_trimmed(cells), "double")
        numbers = np.asarray(arrow_functions().cast(cells, pa.float64(), safe=False).fill_null(np.nan))
        times = read_numbers(numbers, self.column)
        if failing is None and times.valid.any() and times.form != self.form:
            raise NotInBlocks(f"the numbers in time column {self.column!r} are not all {self.form}", _WRITE_ISO)
        return times, failing


def time_form(sheet: Sheet, times: Times, date_format: str | None) -> TimeForm:
    """The form of a time column, from a sheet with its first rows.

    Raises
    ------
    NotInBlocks
        All rows together decide how it is read.
    """
    import pyarrow as pa

    pc = arrow_functions()
    cells, name = sheet.table[times.name], times.name
    if pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type):
        return TimeForm(name, "arrow")
    if date_format is not None:
        if "%z" in date_format:
            raise NotInBlocks(f"the times in column {name!r} have zones", _WRITE_ISO)
        return TimeForm(name, "given", date_format)
    if not pa.types.is_string(cells.type):
        return _number_form(times)
    text = _trimmed(cells)
    if _cast(text, "double")[1] is None:
        if pc.all(pc.match_substring_regex(text, DECIMAL_MONTHS)).as_py():
            raise NotInBlocks(f"the numbers in time column {name!r} may be months", _WRITE_ISO)
        return _number_form(times)
    if _cast(text, "timestamp[us]")[1] is None:
        return TimeForm(name, "iso")
    if any(pc.any(pc.match_substring_regex(text, pattern)).as_py() for pattern in (*QUARTERS, *WEEKS, ZONE)):
        raise NotInBlocks(f"column {name!r} has zones, weeks or quarters", _WRITE_ISO)
    return TimeForm(name, "format", _format(without_weekdays(text), name))


def _number_form(times: Times) -> TimeForm:
    if times.form not in _NUMBERS:
        raise NotInBlocks(f"column {times.name!r} has times as numbers ({times.form})", _WRITE_ISO)
    return TimeForm(times.name, "numbers", times.form)


def _format(text: pa.ChunkedArray, name: str) -> str:
    """The only format that reads every cell, for one order of day and month."""
    formats = [form for form in fitting_formats(text) if strptime(text, form).null_count == text.null_count]
    if len({order_of(form) for form in formats}) != 1:
        raise NotInBlocks(
            f"the dates in column {name!r} fit several formats, or none", "name theirs with --date-format"
        )
    return formats[0]


def is_no_time(cells: pa.ChunkedArray, name: str) -> bool:
    """Whether a column of text is not the time, in the first rows and therefore in all: numbers, or other text."""
    times = read_times(cells, name)
    return times.counter or bool(times.form) or not times.valid.any()


def _trimmed(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    return arrow_functions().utf8_trim_whitespace(cells)


def _cast(cells: pa.ChunkedArray, kind: str) -> tuple[pa.ChunkedArray, int | None]:
    """Text as numbers or timestamps, and the first cell that is none (all are null then)."""
    import pyarrow as pa

    pc, target = arrow_functions(), pa.float64() if kind == "double" else pa.timestamp("us")
    failing = first_failing(cells, lambda part: pc.cast(part, target))
    return (
        (pc.cast(cells, target), None)
        if failing is None
        else (pa.chunked_array([pa.nulls(len(cells), target)]), failing)
    )


def first_failing(cells: pa.ChunkedArray, convert: Callable[[pa.ChunkedArray], object]) -> int | None:
    """The first cell that cannot be converted, found by halving; None if all can."""
    import pyarrow as pa

    def fails(low: int, high: int) -> bool:
        try:
            convert(cells.slice(low, high - low))
        except pa.ArrowInvalid:
            return True
        return False

    if not fails(0, len(cells)):
        return None
    low, high = 0, len(cells)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(low, middle) else (middle, high)
    return low


def _of_stamps(stamps: pa.ChunkedArray) -> Times:
    import pyarrow as pa

    return Times(np.asarray(stamps.cast(pa.int64()).fill_null(0)), ~np.asarray(stamps.is_null()))


def _first(rows: np.ndarray) -> int | None:
    found = np.flatnonzero(rows)
    return int(found[0]) if len(found) else None
