"""Columns of time: strings, numbers or Arrow timestamps into microseconds since 1970, or a reason why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from potstill.data._arrow import arrow_functions

if TYPE_CHECKING:
    import pyarrow as pa

_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H.%M.%S", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%b-%Y", "%b-%y", "%B %Y", "%YM%m")
# of equals the first counts: %Y would read 24 as the year 24, and "Jan 2024" as the 20th of January 24
_DATES = ("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%b-%y", "%d-%m-%y",
          "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y",
          "%d %b %Y", "%d-%b-%Y", "%b %d %Y", "%d %B %Y")  # fmt: skip
FORMATS = (*_MONTHS, *(date + clock for date in _DATES for clock in _CLOCKS))
_ZONE = r":\d{2}(?:\.\d+)?\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)$"
_EPOCHS = ((1e8, 5e9, 1_000_000), (1e11, 5e12, 1000), (1e14, 5e15, 1))
_PROBE = 500


@dataclass
class Times:
    """A column read as time.

    Attributes
    ----------
    micros
        ``[N]`` int64; for a plain counter its own numbers.
    valid
        ``[N]`` bool: where the cell held something readable.
    counter
        True where the numbers are no calendar time.
    unreadable, mixed
        The first row that could not be read, or whose zone differs from the first row's.
    zone
        The one zone of all stamps, which are kept as the local times written.
    """

    micros: np.ndarray
    valid: np.ndarray
    counter: bool = False
    unreadable: int | None = None
    mixed: int | None = None
    zone: str = ""

    @property
    def sound(self) -> bool:
        """Whether every filled cell was read, and at least one was filled."""
        return self.unreadable is None and self.mixed is None and bool(self.valid.any())


def read_times(column: pa.ChunkedArray) -> Times:
    """Read a column as time: Arrow dates and timestamps, ISO and the usual other formats, quarters, epochs, years."""
    import pyarrow as pa

    pc = arrow_functions()

    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz:
        times = _from_arrow(pc.local_timestamp(column))
        times.zone = kind.tz
        return times
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _from_arrow(column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _from_numbers(pc.cast(column, pa.float64(), safe=False))
    return _from_text(pc.utf8_trim_whitespace(pc.cast(column, pa.string())))


def _from_arrow(column: pa.ChunkedArray) -> Times:
    import pyarrow as pa

    pc = arrow_functions()

    valid = ~np.asarray(column.is_null())
    stamps = pc.cast(pc.cast(column, pa.timestamp("us"), safe=False), pa.int64())
    return Times(np.asarray(stamps.fill_null(0)), valid)


def _from_numbers(column: pa.ChunkedArray) -> Times:
    """Epochs by magnitude, ``20110131`` as a date, ``1987`` as a year; anything else is a counter."""
    pc = arrow_functions()

    numbers = np.asarray(column.fill_null(np.nan), dtype=np.float64)
    valid = np.isfinite(numbers)
    known, whole = numbers[valid], np.where(valid, numbers, 0)
    if len(known) and (known == np.rint(known)).all():
        low, high = known.min(), known.max()
        if low >= 19000101 and high <= 22000101:
            dates = pc.strptime(column.cast("int64").cast("string"), format="%Y%m%d", unit="us", error_is_null=True)
            if dates.null_count == column.null_count:
                return _from_arrow(dates)
        if low >= 1500 and high <= 2200:
            return Times((whole.astype(np.int64) - 1970).astype("M8[Y]").astype("M8[us]").astype(np.int64), valid)
    for least, most, factor in _EPOCHS:
        if len(known) and known.min() >= least and known.max() <= most:
            return Times(np.rint(whole * factor).astype(np.int64), valid)
    return Times(np.rint(whole).astype(np.int64), valid, counter=True)


def _from_text(column: pa.ChunkedArray) -> Times:
    import pyarrow as pa

    pc = arrow_functions()

    filled = ~np.asarray(column.is_null())
    try:
        return _from_numbers(pc.cast(column, pa.float64()))
    except pa.ArrowInvalid:
        pass
    zone, mixed = _zones(column, filled)
    if mixed is not None:
        return Times(np.zeros(len(column), np.int64), filled, mixed=mixed)
    if zone:
        column = pc.replace_substring_regex(column, r"\s*(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)$", "")
    stamps = _parse(column)
    valid = ~np.asarray(stamps.is_null())
    times = Times(np.asarray(pc.cast(stamps, pa.int64()).fill_null(0)), valid, zone=zone)
    bad = np.flatnonzero(filled & ~valid)
    times.unreadable = int(bad[0]) if len(bad) else None
    return times


def _zones(column: pa.ChunkedArray, filled: np.ndarray) -> tuple[str, int | None]:
    """The zone that all stamps carry, and the first row that carries another."""
    pc = arrow_functions()

    zones = pc.struct_field(pc.extract_regex(column, _ZONE), "zone").combine_chunks().dictionary_encode()
    if zones.null_count == len(zones):
        return "", None
    names = [*zones.dictionary.to_pylist(), ""]
    codes = np.asarray(zones.indices.fill_null(len(names) - 1))
    first = codes[np.flatnonzero(filled)[0]]
    others = np.flatnonzero(filled & (codes != first))
    return names[first], int(others[0]) if len(others) else None


def _parse(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Timestamps, null where unreadable: ISO at once, else the format that reads most, of equals the most regular."""
    import pyarrow as pa

    pc = arrow_functions()

    try:
        return pc.cast(column, pa.timestamp("us"))
    except pa.ArrowInvalid:
        pass
    column = pc.replace_substring_regex(column, r"^(\d{4})[- ]?Q([1-4])$", r"\1q\2")
    for quarter, month in enumerate(("01", "04", "07", "10"), start=1):
        column = pc.replace_substring_regex(column, f"q{quarter}$", f"-{month}")
    column = pc.replace_substring_regex(column, r"(:\d{2})\.\d+$", r"\1")
    column = pc.replace_substring(column, ", ", " ")
    probe = column.drop_null()[:_PROBE]
    counts = {form: _strptime(probe, form) for form in FORMATS}
    most = max(len(probe) - stamps.null_count for stamps in counts.values())
    best = [form for form, stamps in counts.items() if len(probe) - stamps.null_count == most and most]
    read = [_strptime(column, form) for form in best] or [pa.chunked_array([pa.nulls(len(column), pa.timestamp("us"))])]
    return min(read, key=lambda stamps: (stamps.null_count, _irregularity(stamps)))


def _strptime(column: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    pc = arrow_functions()

    return pc.strptime(column, format=form, unit="us", error_is_null=True)


def _irregularity(stamps: pa.ChunkedArray) -> int:
    """How many different distances stand between neighbours: 01/02/2011 is read the way that is most regular."""
    return len(np.unique(np.diff(np.asarray(stamps.drop_null().cast("int64")))))
