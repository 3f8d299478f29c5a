"""Output to the user on stderr, so that stdout contains results only; lines are not wrapped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from potstill.ranks import is_main

console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

#: called with what is done, the total, and the part that is worked on
ProgressCallback = Callable[[int, int, str], None]


def say(*lines: str) -> None:
    """Print lines without markup (names may contain brackets); only the main process prints."""
    if is_main():
        console.print("\n".join(lines), markup=False)


@contextmanager
def progress_bar(title: str, unit: str = "windows") -> Iterator[ProgressCallback]:
    """Show progress with the rate (``unit`` per second) and the time left.

    In terminals and notebooks it is a bar; elsewhere a line for every ten per cent. Only the main process prints.
    """
    if not is_main():
        yield lambda done, total, part="": None
    elif console.is_terminal or console.is_jupyter:
        with _bar(title, unit) as advance:
            yield advance
    else:
        yield _Lines(title, unit)


@contextmanager
def _bar(title: str, unit: str) -> Iterator[ProgressCallback]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(title, total=None, rate="")

        def advance(done: int, total: int, part: str = "") -> None:
            speed = bar.tasks[task].speed
            rate = _rate(speed, unit) if speed else ""
            bar.update(task, completed=done, total=total, description=f"{title} {part}".strip(), rate=rate)

        yield advance


class _Lines:
    """Progress as lines, one whenever another tenth is done."""

    def __init__(self, title: str, unit: str):
        self.title, self.unit = title, unit
        self.began, self.tenths = time.monotonic(), 0

    def __call__(self, done: int, total: int, part: str = "") -> None:
        tenths = 10 * done // max(total, 1)
        if tenths <= self.tenths:
            return
        self.tenths = tenths
        speed = done / max(time.monotonic() - self.began, 1e-9)
        left = f", {_duration((total - done) / speed)} left" if done < total else ""
        rate = _rate(speed, self.unit)
        say(f"{self.title}: {10 * tenths} % ({done:,} of {total:,} {self.unit}), {rate}{left}{part and f', {part}'}")


def _rate(speed: float, unit: str) -> str:
    return f"{speed:,.0f} {unit}/s" if speed >= 10 else f"{speed:.2g} {unit}/s"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
