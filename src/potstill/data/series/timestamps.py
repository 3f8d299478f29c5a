"""Time columns: text, numbers or Arrow timestamps into microseconds since 1970 (UTC), or the first row that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.series.time_numbers import read_numbers
from potstill.data.series.time_text import read_formatted, read_text
from potstill.data.series.times import Times

if TYPE_CHECKING:
    import pyarrow as pa


def read_times(column: pa.ChunkedArray, name: str = "", date_format: str | None = None) -> Times:
    """Read a column as time: Arrow dates and timestamps, ISO and the usual other formats, quarters, epochs, years.

    Parameters
    ----------
    column
        Cells of any type.
    name
        The column's name: numbers such as 43831 are days of a spreadsheet only in a column named like ``date``.
    date_format
        The format of text or numbers, as for ``strptime``; default: found from the cells.
    """
    times = _read(column, name, date_format)
    times.name = name
    return times


def _read(column: pa.ChunkedArray, name: str, date_format: str | None) -> Times:
    import pyarrow as pa

    pc = arrow_functions()

    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _from_arrow(column)
    if date_format is not None:
        whole = column.cast(pa.int64()) if pa.types.is_floating(kind) else column
        return read_formatted(pc.utf8_trim_whitespace(pc.cast(whole, pa.string())), date_format)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return read_numbers(np.asarray(pc.cast(column, pa.float64(), safe=False).fill_null(np.nan)), name)
    return read_text(pc.utf8_trim_whitespace(pc.cast(column, pa.string())), name)


def _from_arrow(column: pa.ChunkedArray) -> Times:
    import pyarrow as pa

    pc = arrow_functions()

    valid = ~np.asarray(column.is_null())
    zone = (pa.types.is_timestamp(column.type) and column.type.tz) or ""
    stamps = pc.cast(pc.cast(column, pa.timestamp("us", tz=zone or None), safe=False), pa.int64())
    return Times(np.asarray(stamps.fill_null(0)), valid, zone="UTC" if zone in ("Z", "GMT", "Etc/UTC") else zone)
