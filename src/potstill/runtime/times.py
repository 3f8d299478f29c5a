"""The times of a table: how they are written, the step between them, and the times of the steps ahead.

A time is kept as a number: of microseconds, of months for ``2024-01`` and ``202401``, or a whole number as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from .errors import ExportError

EPOCH = datetime(1970, 1, 1)
DAY = 86_400_000_000  # microseconds
MONTH_ENDS = 28  # days of a month up to here exist in every month
CLOSED_WEEKS = 2  # without a Saturday or Sunday: the steps are business days
_DATE, _MONTH = re.compile(r"\d{8}"), re.compile(r"\d{4}-?\d{2}")


@dataclass(frozen=True)
class Times:
    """Times as numbers, and how they are written.

    Attributes
    ----------
    numbers
        ``[N]`` int64.
    write
        From a number to text.
    dated
        Whether the numbers are microseconds, so that steps may be months or business days.
    """

    numbers: np.ndarray
    write: Callable[[int], str]
    dated: bool


def read_times(texts: Sequence[str], place: Callable[[int], str]) -> Times:
    """Read a column of times: ISO dates and times, ``20240131``, months (``2024-01``, ``202401``) or whole numbers.

    Parameters
    ----------
    texts
        ``N`` cells.
    place
        Where cell ``n`` is, for messages.

    Raises
    ------
    ExportError
        If a cell is none of these.
    """
    if all(_MONTH.fullmatch(text) and _is_month(text) for text in texts):
        dash = "-" if "-" in texts[0] else ""
        months = [int(text[:4]) * 12 + int(text[-2:]) - 1 for text in texts]
        return Times(np.array(months), lambda n: f"{n // 12:04d}{dash}{n % 12 + 1:02d}", False)
    if all(_DATE.fullmatch(text) and _is_date(text) for text in texts):
        return Times(_microseconds(texts, place)[0], lambda n: f"{_moment(n):%Y%m%d}", True)
    if all(re.fullmatch(r"-?\d{1,18}", text) for text in texts):
        return Times(np.array([int(text) for text in texts]), str, False)
    numbers, zone = _microseconds(texts, place)
    dates = not zone and not (numbers % DAY).any()
    form = "%Y-%m-%d" if dates else "%Y-%m-%d %H:%M:%S.%f" if (numbers % 1_000_000).any() else "%Y-%m-%d %H:%M:%S"
    return Times(numbers, lambda n: f"{_moment(n):{form}}{zone}", True)


def is_time(text: str) -> bool:
    """Whether a text is a time for certain: with separators, and no whole number."""
    if text.strip().isdigit():
        return False
    try:
        datetime.fromisoformat(text.strip())
    except ValueError:
        return bool(_MONTH.fullmatch(text.strip())) and _is_month(text.strip())
    return True


def _is_month(text: str) -> bool:
    return "1900" <= text[:4] <= "2199" and "01" <= text[-2:] <= "12"


def _is_date(text: str) -> bool:
    try:
        return 1900 <= datetime.fromisoformat(text).year < 2200
    except ValueError:
        return False


def _moment(number: int) -> datetime:
    return EPOCH + timedelta(microseconds=int(number))


def _microseconds(texts: Sequence[str], place: Callable[[int], str]) -> tuple[np.ndarray, str]:
    """Local times, and their offset from UTC as text; times with different offsets are in UTC."""
    found = []
    for row, text in enumerate(texts):
        try:
            found.append(datetime.fromisoformat(text))
        except ValueError:
            raise ExportError(
                f"{place(row)}: {text[:40]!r} is no time that is understood; write ISO dates such as 2024-01-31 or"
                " 2024-01-31 12:00:00, or whole numbers."
            ) from None
    zoned = [one.tzinfo is not None for one in found]
    if any(zoned) and not all(zoned):
        row = zoned.index(not zoned[0])
        raise ExportError(f"{place(row)}: {texts[row]!r} and other times differ in whether they have a time zone.")
    offsets = {one.utcoffset() for one in found}
    if len(offsets) > 1:
        found = [one.astimezone(UTC) for one in found]
    zone = found[0].isoformat()[-6:] if zoned[0] else ""
    local = (one.replace(tzinfo=None) - EPOCH for one in found)
    return np.array([one // timedelta(microseconds=1) for one in local]), zone


@dataclass(frozen=True)
class Step:
    """The distance between the rows of a series: a fixed one, months (by the day of the month), or business days.

    Attributes
    ----------
    kind
        ``fixed``, ``months`` or ``business``.
    size
        In numbers of ``Times``, months or days.
    day
        Of months: the day of the month; 31 is the last one.
    """

    kind: str
    size: int
    day: int = 0

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """The row of each time, the first is 0."""
        if self.kind == "fixed":
            return (numbers - numbers[0]) // self.size
        if self.kind == "months":
            months = _months(numbers)
            return (months - months[0]) // self.size
        return np.busday_count(_days(numbers[:1]), _days(numbers)) // self.size

    def ahead(self, last: int, steps: int) -> np.ndarray:
        """The numbers of the steps after the last time."""
        count = np.arange(1, steps + 1) * self.size
        if self.kind == "fixed":
            return last + count
        within = last % DAY
        if self.kind == "months":
            first = (_months(np.array([last])) + count).astype("M8[M]")
            length = ((first + 1).astype("M8[D]") - first.astype("M8[D]")).astype(int)
            days = first.astype("M8[D]") + np.minimum(self.day, length) - 1
        else:
            days = np.busday_offset(_days(np.array([last]))[0], count)
        return days.astype(np.int64) * DAY + within


def step_of(numbers: np.ndarray, dated: bool) -> Step | None:
    """The step of a series' times ``[N]``, ascending; None if they are fewer than two or not regular."""
    if len(numbers) < 2:
        return None
    apart = np.diff(numbers)
    size = int(apart.min())
    if dated and not (apart % DAY).any():
        return _calendar_step(numbers) or _fixed(apart, size)
    return _fixed(apart, size)


def _fixed(apart: np.ndarray, size: int) -> Step | None:
    return Step("fixed", size) if not (apart % size).any() else None


def _calendar_step(numbers: np.ndarray) -> Step | None:
    """Months if every time has the same day of the month, or is its last day; business days if no weekend occurs."""
    days = _days(numbers)
    months = days.astype("M8[M]")
    of_month = (days - months.astype("M8[D]")).astype(int) + 1
    length = ((months + 1).astype("M8[D]") - months.astype("M8[D]")).astype(int)
    apart = np.diff(months.astype(int))
    if apart.min() > 0:
        day = int(of_month.max())
        day = 31 if (of_month == length).all() and day > MONTH_ENDS else day
        size = int(apart.min())
        if (of_month == np.minimum(day, length)).all() and not (apart % size).any():
            return Step("months", size, day)
    if np.is_busday(days).all() and np.diff(days).min() == np.timedelta64(1) and _weeks(days) >= CLOSED_WEEKS:
        return Step("business", 1)
    return None


def _weeks(days: np.ndarray) -> int:
    return int((days[-1] - days[0]).astype(int)) // 7


def _days(numbers: np.ndarray) -> np.ndarray:
    return (np.asarray(numbers) // DAY).astype("M8[D]")


def _months(numbers: np.ndarray) -> np.ndarray:
    return _days(numbers).astype("M8[M]").astype(np.int64)
