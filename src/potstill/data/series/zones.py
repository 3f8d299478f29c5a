"""Time zones. Times are stored in UTC; steps of days and longer are counted in local time, as pandas does.

A zone is a name such as ``Europe/Berlin``, an offset such as ``+02:00``, ``UTC``, or empty for times without zone.
"""

from __future__ import annotations

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.series.calendar import HOUR, MINUTE, TimeStep

# one zone for each set of rules of daylight saving time; tried in this order for offsets that change
_KNOWN = (
    "Europe/Berlin", "Europe/London", "Europe/Athens", "America/New_York", "America/Chicago", "America/Denver",
    "America/Los_Angeles", "America/Anchorage", "America/Halifax", "America/St_Johns", "Australia/Sydney",
    "Australia/Adelaide", "Australia/Lord_Howe", "Pacific/Auckland", "Pacific/Chatham", "America/Santiago",
    "America/Sao_Paulo", "America/Asuncion", "Asia/Jerusalem", "Asia/Beirut", "Africa/Cairo", "Asia/Tehran",
    "Europe/Chisinau", "America/Havana", "America/Mexico_City", "Europe/Istanbul", "Europe/Moscow",
)  # fmt: skip


def to_local(micros: np.ndarray, zone: str) -> np.ndarray:
    """Local times of UTC ``micros`` (int64), as microseconds of the clock on the wall."""
    import pyarrow as pa

    if zone in ("", "UTC"):
        return micros
    utc = pa.array(np.asarray(micros, np.int64)).cast(pa.timestamp("us", tz=zone))
    return np.asarray(arrow_functions().local_timestamp(utc).cast(pa.int64()))


def to_utc(local: np.ndarray, zone: str) -> np.ndarray:
    """UTC of local times; the earlier of two, and the end of an hour that a change of clocks leaves out."""
    import pyarrow as pa

    if zone in ("", "UTC"):
        return local
    stamps = pa.array(np.asarray(local, np.int64)).cast(pa.timestamp("us"))
    known = arrow_functions().assume_timezone(stamps, zone, ambiguous="earliest", nonexistent="latest")
    return np.asarray(known.cast(pa.int64()))


def stamps(step: TimeStep, zone: str, start: int, first: int, count: int) -> np.ndarray:
    """Timestamps in UTC (datetime64[us], or int64 without time) of ``count`` rows from row ``first``.

    ``start`` is the UTC of row 0.
    """
    if not (step.wall and zone):
        return step.stamps(start, first, count)
    local = step.stamps(int(to_local(np.array([start]), zone)[0]), first, count)
    return to_utc(local.astype(np.int64), zone).astype("M8[us]")


def rows_before(step: TimeStep, zone: str, starts: np.ndarray, moment: int) -> np.ndarray:
    """How many rows of series that begin at ``starts`` (UTC) are before the local time ``moment``."""
    if step.wall:
        return step.rows_before(to_local(starts, zone), moment)
    return step.rows_before(starts, int(to_utc(np.array([moment]), zone)[0]))


def zone_of_offsets(micros: np.ndarray, offsets: np.ndarray) -> str:
    """A zone whose clocks show these offsets (microseconds ahead of UTC) at these times; empty if none is known."""
    return next((zone for zone in _KNOWN if np.array_equal(to_local(micros, zone) - micros, offsets)), "")


def offset_name(offset: int) -> str:
    """``+02:00`` for two hours in microseconds, ``UTC`` for 0."""
    hours, minutes = divmod(abs(offset) // MINUTE, HOUR // MINUTE)
    return f"{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}" if offset else "UTC"
