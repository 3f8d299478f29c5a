"""Time columns: strings, numbers or Arrow timestamps into microseconds since 1970, or the first row that fails."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.series.calendar import MINUTE, increments, infer_step

if TYPE_CHECKING:
    import pyarrow as pa

_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H.%M.%S", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%b-%Y", "%b-%y", "%B %Y", "%YM%m")
# among equally good formats the first is used: %Y would read 24 as the year 24, and "Jan 2024" as 20 January 24
_DATES = ("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%b-%y", "%d-%m-%y",
          "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y",
          "%d %b %Y", "%d-%b-%Y", "%b %d %Y", "%d %B %Y")  # fmt: skip
FORMATS = (*_MONTHS, *(date + clock for date in _DATES for clock in _CLOCKS))
_ZONE = r":\d{2}(?:\.\d+)?\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)$"
_EPOCHS = ((1e8, 5e9, 1_000_000), (1e11, 5e12, 1000), (1e14, 5e15, 1))
_PROBE = 500
ORDERS = ("day/month", "month/day")
_YEAR_1000 = int(np.datetime64("1000-01-01", "us").astype(np.int64))
_AS_GOOD = 0.9  # the other order is plausible if it reaches this share of the chosen order's regularity


@dataclass
class Times:
    """A column read as time.

    Attributes
    ----------
    micros
        ``[N]`` int64; for a plain counter, its numbers.
    valid
        ``[N]`` bool: True where the cell was read.
    counter
        True if the numbers are not calendar time.
    unreadable, mixed
        The first row that could not be read, or whose time zone differs from the first row's.
    zone
        The time zone of all timestamps, which are UTC if there is one.
    order
        How dates such as 01/02/2023 were read (``day/month``, ``month/day``), if the other order is possible too.
    unsure
        True if the other order gives an about equally regular series.
    """

    micros: np.ndarray
    valid: np.ndarray
    counter: bool = False
    unreadable: int | None = None
    mixed: int | None = None
    zone: str = ""
    order: str = ""
    unsure: bool = False

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
        times = _from_arrow(column)
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
    stamps, order, unsure = _parse(column)
    valid = ~np.asarray(stamps.is_null())
    times = Times(np.asarray(pc.cast(stamps, pa.int64()).fill_null(0)), valid, zone=zone, order=order, unsure=unsure)
    bad = np.flatnonzero(filled & ~valid)
    times.unreadable = int(bad[0]) if len(bad) else None
    times.micros = times.micros - _offset(zone)  # Arrow arrays are read-only
    return times


def _offset(zone: str) -> int:
    """Microseconds that a fixed zone such as ``+02:00`` is ahead of UTC."""
    match = re.fullmatch(r"([+-])(\d{2}):?(\d{2})?", zone)
    if match is None:
        return 0
    return int(f"{match[1]}1") * (int(match[2]) * 60 + int(match[3] or 0)) * MINUTE


def _zones(column: pa.ChunkedArray, filled: np.ndarray) -> tuple[str, int | None]:
    """The time zone of all timestamps, and the first row with a different one."""
    pc = arrow_functions()

    zones = pc.struct_field(pc.extract_regex(column, _ZONE), "zone").combine_chunks().dictionary_encode()
    if zones.null_count == len(zones):
        return "", None
    names = [*zones.dictionary.to_pylist(), ""]
    codes = np.asarray(zones.indices.fill_null(len(names) - 1))
    first = codes[np.flatnonzero(filled)[0]]
    others = np.flatnonzero(filled & (codes != first))
    return names[first], int(others[0]) if len(others) else None


def _parse(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, str, bool]:
    """Timestamps (null where unreadable), and ``order`` and ``unsure`` as in ``Times``.

    ISO is tried first; else the format that reads most cells, and among equal ones the most regular.
    """
    import pyarrow as pa

    pc = arrow_functions()

    try:
        return pc.cast(column, pa.timestamp("us")), "", False
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
    if not best:
        return pa.chunked_array([pa.nulls(len(column), pa.timestamp("us"))]), "", False
    read: dict[str, pa.ChunkedArray] = {}
    for form in best:
        read.setdefault(_order(form) or form, _strptime(column, form))
    return _most_regular(read)


def _order(form: str) -> str:
    """The order of day and month in a numeric date format; empty if the year or a month name comes first."""
    return {"%d%m": "day/month", "%m%d": "month/day"}.get(form[:2] + form[3:5], "")


def _most_regular(read: dict[str, pa.ChunkedArray]) -> tuple[pa.ChunkedArray, str, bool]:
    """The reading (by order or format) that reads most cells; among equal ones, that with the fullest calendar grid."""
    fewest = min(stamps.null_count for stamps in read.values())
    read = {order: stamps for order, stamps in read.items() if stamps.null_count == fewest}
    read = {order: stamps for order, stamps in read.items() if _earliest(stamps) >= _YEAR_1000} or read
    if len(read) == 1:
        return next(iter(read.values())), "", False
    scores = {order: _regularity(stamps) for order, stamps in read.items()}
    taken = max(read, key=lambda order: (scores[order], -_irregularity(read[order])))
    others = [order for order in read if order in ORDERS and not read[order].equals(read[taken])]
    if taken not in ORDERS or not others:
        return read[taken], "", False
    return read[taken], taken, any(scores[order] >= _AS_GOOD * scores[taken] for order in others)


def _earliest(stamps: pa.ChunkedArray) -> int:
    """The first timestamp in microseconds. A year below 1000 shows that %Y has read a day, as in 12/02/01."""
    pc = arrow_functions()

    return pc.min(stamps.cast("int64")).as_py()


def _regularity(stamps: pa.ChunkedArray) -> float:
    """Share of the rows of a calendar grid that have a timestamp, over all series; 0 without a regular step."""
    times = np.unique(np.asarray(stamps.drop_null().cast("int64")))
    step, regular = infer_step(times, np.zeros(max(len(times) - 1, 0), bool))
    if not step.timed or not regular:
        return 0.0
    return round(len(times) / (int(increments(times, step).sum()) + 1), 6)


def _strptime(column: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    pc = arrow_functions()

    return pc.strptime(column, format=form, unit="us", error_is_null=True)


def _irregularity(stamps: pa.ChunkedArray) -> int:
    """The number of different distances between neighbours. It breaks ties: days before months."""
    return len(np.unique(np.diff(np.asarray(stamps.drop_null().cast("int64")))))
