"""Progress of labelling, and the expected time left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class LabelProgress:
    """Progress: of ``total`` rows, ``done`` were labelled by this call and ``kept`` were finished before."""

    done: int
    kept: int
    total: int
    seconds: float
    unit: str = "windows"

    @property
    def rate(self) -> float:
        """Rows labelled per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """Expected time to the end; NaN before the first batch."""
        return (self.total - self.kept - self.done) / self.rate if self.rate else float("nan")

    def __str__(self) -> str:
        left = "" if self.seconds_left != self.seconds_left else f" · {_clock(self.seconds_left)} left"
        kept = f" ({self.kept:,} kept)" if self.kept else ""
        return f"{self.done + self.kept:,} of {self.total:,} {self.unit}{kept} · {self.rate:,.1f}/s{left}"


#: the callback that an engine calls after each batch
Report = Callable[[LabelProgress], None]


class ProgressCounter:
    """Counts labelled rows and reports progress; time runs from its creation.

    Parameters
    ----------
    report
        Called after each batch; None for no reports.
    kept, todo
        Rows that were finished before, and rows to label.
    unit
        Name of the rows in messages.
    """

    def __init__(self, report: Report | None, kept: int, todo: int, unit: str):
        self.report, self.kept, self.total, self.unit = report, kept, kept + todo, unit
        self.done, self.began = 0, time.perf_counter()

    def add(self, rows: int) -> None:
        """Count the rows of a batch."""
        self.done += rows
        if self.report is not None:
            seconds = time.perf_counter() - self.began
            self.report(LabelProgress(self.done, self.kept, self.total, seconds, self.unit))


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
