"""A column read as time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from potstill.data.series.calendar import DAY
from potstill.data.series.zones import offset_name, zone_of_offsets


@dataclass
class Times:
    """A column read as time.

    Attributes
    ----------
    micros
        ``[N]`` int64, in UTC if there is a zone; for a plain counter, its numbers.
    valid
        ``[N]`` bool: True where the cell was read.
    name
        The column's name.
    counter
        True if the numbers are not calendar time.
    unreadable, mixed
        The first row that could not be read, or that differs from the first row in whether
        it has a time zone.
    zone
        The time zone: a name, an offset such as ``+02:00``, ``UTC`` (also if the offsets change), empty without one.
    form
        How numbers were read, such as ``months (YYYYMM)``; empty for text and Arrow times.
    readings
        The times by the order of day and month, if the dates can be read in several orders; see ``day_order.settle``.
    order
        The order that was used (``day/month``, ``month/day``, ``year/month``), if there are several.
    """

    micros: np.ndarray
    valid: np.ndarray
    name: str = ""
    counter: bool = False
    unreadable: int | None = None
    mixed: int | None = None
    zone: str = ""
    form: str = ""
    readings: dict[str, np.ndarray] = field(default_factory=dict)
    order: str = ""

    @property
    def sound(self) -> bool:
        """Whether every filled cell was read, and at least one was filled."""
        return self.unreadable is None and self.mixed is None and bool(self.valid.any())

    def shift(self, micros: np.ndarray) -> None:
        """Add a time of day to each row."""
        self.micros = self.micros + micros
        self.readings = {order: reading + micros for order, reading in self.readings.items()}

    def in_utc(self, offsets: np.ndarray) -> None:
        """Subtract the offsets (``[N]`` microseconds ahead of UTC) of local times, and name their zone.

        Offsets that change follow the rules of a zone. Its name is needed only for times of one clock, such as
        midnight: they are days or longer steps of that zone.
        """
        known = offsets[self.valid]
        local = self.micros[self.valid]
        self.shift(-offsets)
        if not len(known) or (known == known[0]).all():
            self.zone = offset_name(int(known[0])) if len(known) else ""
            return
        one_clock = not (np.diff(local) % DAY).any()
        self.zone = (zone_of_offsets(self.micros[self.valid], known) if one_clock else "") or "UTC"
