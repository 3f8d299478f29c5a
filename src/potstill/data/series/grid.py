"""Place rows on a time grid: sorted, one row per timestamp, gaps filled with missing rows, up to a limit.

A mistyped year must not make a grid of a million empty rows: see ``_isolated``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from potstill.data.data_report import DataReport
from potstill.data.series.calendar import TimeStep, increments, infer_step
from potstill.data.series.timestamps import Times
from potstill.errors import UserError

_GRID_FACTOR, _GRID_EXTRA = 10, 1000  # a grid has at most factor × rows + extra rows
_MAX_CUTS = 100
_ISOLATED = 0.01  # at most this share of the rows, beyond a huge gap, counts as mistyped timestamps


@dataclass
class Grid:
    """The grid position of each kept row: N rows, K series.

    Attributes
    ----------
    rows
        ``[N]`` rows of the table in order of (series, time).
    bounds
        ``[K + 1]``: series k holds ``rows[bounds[k]:bounds[k + 1]]``.
    positions
        ``[N]`` position of each row on the grid of its series.
    lengths, starts
        ``[K]`` rows of each grid, and the timestamp of its row 0.
    step, regular
        The step of all series, and False if the rows do not follow it and are kept without a grid.
    """

    rows: np.ndarray
    bounds: np.ndarray
    positions: np.ndarray
    lengths: np.ndarray
    starts: np.ndarray
    step: TimeStep
    regular: bool


def lay_out(times: Times | None, codes: np.ndarray, series: int, name: str, report: DataReport) -> Grid:
    """Place a table's rows on the grid of their median step.

    Parameters
    ----------
    times
        The rows' times. With None, rows are kept in order.
    codes
        ``[rows]`` int64 series of each row, -1 for none.
    series
        How many series K there are.
    name, report
        The file's name, and the report that counts its repairs.

    Raises
    ------
    UserError
        Most timestamps repeat.
    """
    usable = codes >= 0 if times is None else (codes >= 0) & times.valid
    report.add_repaired("rows without time or id left out", name, int((~usable).sum()))
    rows = np.flatnonzero(usable)
    if times is None:
        rows = rows[np.argsort(codes[rows], kind="stable")]
        return _stack(rows, codes[rows], series, np.ones(max(len(rows) - 1, 0), np.int64), TimeStep(), True)
    rows = _sorted(rows, times.micros, codes, name, report)
    stamps, kept = times.micros[rows], codes[rows]
    breaks = np.diff(kept) != 0
    if times.counter:
        return _count_up(rows, stamps, kept, series, breaks)
    step, regular = infer_step(stamps, breaks)
    if not step.timed:
        return _stack(rows, kept, series, np.ones(max(len(rows) - 1, 0), np.int64), step, True)
    if not regular:
        report.add_note(f"{name}: the rows have no regular time step; they are kept in order without filling gaps")
        grid = _stack(rows, kept, series, np.ones(len(rows) - 1, np.int64), step, False)
    else:
        grid = _open_gaps(rows, stamps, kept, series, step, name, report)
    _anchor(grid, times.micros)
    report.add_repaired("missing time steps opened as missing values", name, int(grid.lengths.sum() - len(grid.rows)))
    return grid


def _sorted(rows: np.ndarray, micros: np.ndarray, codes: np.ndarray, name: str, report: DataReport) -> np.ndarray:
    """Order by series and time; the last of several rows with the same timestamp is kept.

    Raises
    ------
    UserError
        More than half of the rows would be lost: the table is probably long and its id column was not found.
    """
    by_series = rows[np.argsort(codes[rows], kind="stable")]
    same = np.diff(codes[by_series]) == 0
    backwards = same & (np.diff(micros[by_series]) < 0)
    report.add_repaired("rows out of order sorted by time", name, int(backwards.sum()))
    if backwards.any():
        by_series = by_series[np.lexsort((micros[by_series], codes[by_series]))]
    repeated = (np.diff(codes[by_series]) == 0) & (np.diff(micros[by_series]) == 0)
    if repeated.sum() > len(by_series) / 2:
        raise UserError(
            f"{name}: {repeated.sum():,} of {len(by_series):,} rows repeat a timestamp; if the table contains "
            "several series, name their id column unique_id.",
            key="data.repeated_timestamps",
        )
    report.add_repaired("repeated timestamps, the last one kept", name, int(repeated.sum()))
    return by_series[np.append(~repeated, True)] if repeated.any() else by_series


def _open_gaps(
    rows: np.ndarray, stamps: np.ndarray, codes: np.ndarray, series: int, step: TimeStep, name: str, report: DataReport
) -> Grid:
    steps = increments(stamps, step)
    grid = _stack(rows, codes, series, steps, step, True)
    counts = np.diff(grid.bounds)
    huge = np.flatnonzero(grid.lengths > _GRID_FACTOR * counts + _GRID_EXTRA)
    if not len(huge):
        return grid
    keep, flat, lost = np.ones(len(rows), bool), np.zeros(len(rows), bool), 0
    for k in huge:
        first, end = int(grid.bounds[k]), int(grid.bounds[k + 1])
        low, high, fits = _isolated(steps[first : end - 1])
        keep[first : first + low] = keep[first + high : end] = False
        flat[first:end] = not fits
        lost += end - first - (high - low)
    report.add_repaired("rows with isolated timestamps left out", name, lost)
    if flat.any():
        report.add_note(f"{name}: gaps too long to fill; the rows around them are kept in order")
    steps = increments(stamps[keep], step)
    steps = np.where(flat[keep][1:], 1, steps)
    return _stack(rows[keep], codes[keep], series, steps, step, not flat.any())


def _isolated(steps: np.ndarray) -> tuple[int, int, bool]:
    """Rows ``low:high`` to keep of a series whose grid is too long, and whether they fit.

    While the grid is too long, the rows on one side of the widest gap are cut off, if they are few.
    """
    low, high = 0, len(steps) + 1
    few = max(1, int(_ISOLATED * high))
    for _ in range(_MAX_CUTS):
        if steps[low : high - 1].sum() + 1 <= _GRID_FACTOR * (high - low) + _GRID_EXTRA:
            return low, high, True
        widest = low + int(np.argmax(steps[low : high - 1])) + 1
        if high - widest <= few:
            high = widest
        elif widest - low <= few:
            low = widest
        else:
            break
    return low, high, False


def _count_up(rows: np.ndarray, numbers: np.ndarray, codes: np.ndarray, series: int, breaks: np.ndarray) -> Grid:
    """A counter that mostly increases by one keeps its numbers and gaps; any other counter only sorts the rows."""
    gaps = np.diff(numbers)
    steps = np.ones(max(len(rows) - 1, 0), np.int64)
    by_one = len(gaps[~breaks]) > 0 and np.median(gaps[~breaks]) == 1
    if by_one and gaps[~breaks].sum() <= _GRID_FACTOR * len(rows) + _GRID_EXTRA:
        steps = gaps
    grid = _stack(rows, codes, series, steps, TimeStep(), True)
    if steps is gaps:
        filled = np.flatnonzero(np.diff(grid.bounds))
        grid.starts[filled] = numbers[grid.bounds[filled]]
    return grid


def _stack(rows: np.ndarray, codes: np.ndarray, series: int, steps: np.ndarray, step: TimeStep, regular: bool) -> Grid:
    """Compute positions as the sum of ``steps`` (``[N - 1]``) within each series."""
    bounds = np.searchsorted(codes, np.arange(series + 1))
    counts = np.diff(bounds)
    reached = np.concatenate([np.zeros(min(len(rows), 1), np.int64), np.cumsum(steps)])
    filled = counts > 0
    base = np.zeros(series, np.int64)
    base[filled] = reached[bounds[:-1][filled]]
    positions = reached - np.repeat(base, counts)
    lengths = np.zeros(series, np.int64)
    lengths[filled] = positions[bounds[1:][filled] - 1] + 1
    return Grid(rows, bounds, positions, lengths, np.zeros(series, np.int64), step, regular)


def _anchor(grid: Grid, micros: np.ndarray) -> None:
    """Set the timestamp of row 0. Fixed steps count back from the last row, because forecasts start after it."""
    filled = np.flatnonzero(np.diff(grid.bounds))
    first = micros[grid.rows[grid.bounds[filled]]]
    last = micros[grid.rows[grid.bounds[filled + 1] - 1]]
    grid.starts[filled] = last - (grid.lengths[filled] - 1) * grid.step.micros if grid.step.micros else first
