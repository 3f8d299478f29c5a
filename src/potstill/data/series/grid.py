"""Place rows on a time grid: sorted, one row per timestamp, gaps filled with missing rows, up to a limit.

A mistyped year must not make a grid of a million empty rows: see ``_isolated``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from potstill.data.data_report import DataReport
from potstill.data.series.calendar import HOUR, TimeStep
from potstill.data.series.steps import StepGroups, follow, group_by_step
from potstill.data.series.times import Times
from potstill.data.series.zones import to_local, to_utc
from potstill.errors import UserError

_GRID_FACTOR, _GRID_EXTRA = 10, 1000  # a grid has at most factor × rows + extra rows
_MAX_CUTS = 100
_ISOLATED = 0.01  # at most this share of the rows, beyond a huge gap, counts as mistyped timestamps
_NEARLY_A_DAY = 23 * HOUR  # the shortest day of a zone in which clocks change


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
        ``[K]`` rows of each grid, and the timestamp (UTC) of its row 0.
    groups
        The steps of the series. Rows of an irregular group are kept in order without a grid.
    """

    rows: np.ndarray
    bounds: np.ndarray
    positions: np.ndarray
    lengths: np.ndarray
    starts: np.ndarray
    groups: StepGroups

    def step(self, k: int) -> TimeStep:
        """The step of series k; a series without rows has none."""
        return self.groups.steps[self.groups.group_of[k]] if self.groups.group_of[k] >= 0 else TimeStep()


def lay_out(
    times: Times | None, codes: np.ndarray, series: int, name: str, report: DataReport, freq: str | None = None
) -> Grid:
    """Place a table's rows on the grid of their series' step.

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
    freq
        The alias of the step of all series; default: inferred for each.

    Raises
    ------
    UserError
        Most timestamps repeat, or the rows do not follow ``freq``.
    """
    usable = codes >= 0 if times is None else (codes >= 0) & times.valid
    report.add_repaired("rows without time or id left out", name, int((~usable).sum()))
    rows = np.flatnonzero(usable)
    if freq is not None and (times is None or times.counter):
        raise UserError(
            f"data.freq: the table {name} has no timestamps; leave freq out, or name its time column.",
            key="data.freq_without_time",
        )
    if times is None:
        rows = rows[np.argsort(codes[rows], kind="stable")]
        return in_order(rows, codes[rows], series)
    order = sort_rows(rows, times.micros, codes)
    note_order(order, len(rows), name, report)
    rows = order.rows
    kept = codes[rows]
    if times.counter:
        return _count_up(rows, times.micros[rows], kept, series, np.diff(kept) != 0)
    bounds = np.searchsorted(kept, np.arange(series + 1))
    utc = times.micros[rows]
    local = to_local(utc, times.zone)
    groups = group_by_step(clocks(utc, local, bounds), bounds) if freq is None else given(local, bounds, freq, name)
    if not any(step.timed for step in groups.steps):  # one row per series
        return in_order(rows, kept, series, groups)
    note_steps(groups, name, report)
    repairs = GridRepairs()
    grid = place(rows, utc, kept, groups, times.zone, repairs)
    repairs.report(name, report)
    return grid


@dataclass
class GridRepairs:
    """What was repaired while rows were placed: rows moved to the step, or cut off, and steps opened.

    ``flat`` has the series with gaps that are too long to fill.
    """

    moved: int = 0
    isolated: int = 0
    opened: int = 0
    flat: list[int] = field(default_factory=list)

    def report(self, name: str, report: DataReport) -> None:
        """Count the repairs of a file."""
        report.add_repaired("timestamps moved to the regular step", name, self.moved)
        report.add_repaired("rows with isolated timestamps left out", name, self.isolated)
        if self.flat:
            report.add_note(f"{name}: gaps too long to fill; the rows around them are kept in order")
        report.add_repaired("missing time steps opened as missing values", name, self.opened)


def place(
    rows: np.ndarray, utc: np.ndarray, codes: np.ndarray, groups: StepGroups, zone: str, repairs: GridRepairs
) -> Grid:
    """The grid of sorted rows, their times and their series, on the steps of these series."""
    wall = np.array([step.wall for step in groups.steps])[groups.group_of] & (zone != "")
    stamps = np.where(wall[codes], to_local(utc, zone), utc)
    repairs.moved += _off_grid(stamps, codes, groups)
    grid, stamps = _open_gaps(rows, stamps, codes, groups, repairs)
    _anchor(grid, stamps)
    grid.starts[wall] = to_utc(grid.starts[wall], zone)
    repairs.opened += int(grid.lengths.sum() - len(grid.rows))
    return grid


def in_order(rows: np.ndarray, codes: np.ndarray, series: int, groups: StepGroups | None = None) -> Grid:
    """The grid of rows without times, which are kept in order; ``codes`` (ascending) are their series."""
    return _stack(rows, codes, series, np.ones(max(len(rows) - 1, 0), np.int64), groups or _one_group(series))


def _one_group(series: int) -> StepGroups:
    return StepGroups([TimeStep()], [True], np.zeros(series, np.int64))


def given(times: np.ndarray, bounds: np.ndarray, freq: str, name: str) -> StepGroups:
    """The step that the user names, checked against the rows' local times.

    Raises
    ------
    UserError
        More than a tenth of some series' rows do not follow it.
    """
    step, filled = TimeStep.parse(freq), np.diff(bounds) > 0
    if not follow(times, bounds, step)[0][filled].all():
        raise UserError(
            f"data.freq: the timestamps of {name} do not follow {freq!r}; leave freq out to have the step inferred.",
            key="data.freq_does_not_fit",
        )
    return StepGroups([step], [True], np.where(filled, 0, -1))


def clocks(utc: np.ndarray, local: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The clock to infer a series' step from: local time if most of its rows are about a day or more apart."""
    long = np.concatenate([[0], np.cumsum(np.diff(utc) >= _NEARLY_A_DAY)])
    last = np.maximum(bounds[1:] - 1, bounds[:-1])
    count = long[np.minimum(last, len(long) - 1)] - long[np.minimum(bounds[:-1], len(long) - 1)]
    often = count * 2 >= np.diff(bounds) - 1
    return np.where(np.repeat(often, np.diff(bounds)), local, utc)


def note_steps(groups: StepGroups, name: str, report: DataReport) -> None:
    """Note that series have different steps, or none."""
    counts = np.bincount(groups.group_of[groups.group_of >= 0], minlength=len(groups.steps))
    if len(counts) > 1:
        listed = ", ".join(f"{label} ({count:,})" for label, count in zip(groups.labels, counts, strict=True))
        report.add_note(f"{name}: its series have different steps, so they form a data set for each step: {listed}")
    if not all(groups.regular):
        which = f"{counts[groups.regular.index(False)]:,} series have" if len(counts) > 1 else "the rows have"
        report.add_note(f"{name}: {which} no regular time step; they are kept in order without filling gaps")


def with_flat(groups: StepGroups, series: np.ndarray) -> StepGroups:
    """The groups with some series moved into irregular ones of the same step."""
    group_of, kinds = groups.group_of.copy(), list(zip(groups.steps, groups.regular, strict=True))
    for k in series:
        kind = (groups.steps[groups.group_of[k]], False)
        if kind not in kinds:
            kinds.append(kind)
        group_of[k] = kinds.index(kind)
    used, group_of = np.unique(group_of, return_inverse=True)
    used = used[used >= 0]
    group_of = group_of - (len(np.unique(group_of)) - len(used))
    return StepGroups([kinds[u][0] for u in used], [kinds[u][1] for u in used], group_of)


def _increments(stamps: np.ndarray, codes: np.ndarray, groups: StepGroups) -> np.ndarray:
    """``[N - 1]`` steps between the rows of each series; between series the number has no meaning."""
    steps = np.ones(max(len(stamps) - 1, 0), np.int64)
    for group, step in enumerate(groups.steps):
        if groups.regular[group] and step.timed:
            rows = np.flatnonzero(groups.group_of[codes] == group)
            steps[rows[1:] - 1] = step.increments(stamps[rows])
    return steps


def _off_grid(stamps: np.ndarray, codes: np.ndarray, groups: StepGroups) -> int:
    """How many rows are not exactly on their series' step."""
    count = 0
    for group, step in enumerate(groups.steps):
        if not groups.regular[group] or not step.timed:
            continue
        rows = np.flatnonzero(groups.group_of[codes] == group)
        if step.unit:
            count += int((~step.on_grid(stamps[rows])).sum())
        else:
            same = np.diff(codes[rows]) == 0
            count += int((same & (np.diff(stamps[rows]) % step.micros != 0)).sum())
    return count


class SortedRows(NamedTuple):
    """Rows in order of (series, time), how many were out of order, and how many repeat the time of another."""

    rows: np.ndarray
    backwards: int
    repeated: int


def sort_rows(rows: np.ndarray, micros: np.ndarray, codes: np.ndarray) -> SortedRows:
    """Order by series and time; the last of several rows with the same timestamp is kept."""
    by_series = rows[np.argsort(codes[rows], kind="stable")]
    same = np.diff(codes[by_series]) == 0
    backwards = int((same & (np.diff(micros[by_series]) < 0)).sum())
    if backwards:
        by_series = by_series[np.lexsort((micros[by_series], codes[by_series]))]
    repeated = (np.diff(codes[by_series]) == 0) & (np.diff(micros[by_series]) == 0)
    kept = by_series[np.append(~repeated, True)] if repeated.any() else by_series
    return SortedRows(kept, backwards, int(repeated.sum()))


def note_order(order: SortedRows, count: int, name: str, report: DataReport) -> None:
    """Report how ``count`` rows were sorted.

    Raises
    ------
    UserError
        More than half of the rows would be lost: the table is probably long and its id column was not found.
    """
    report.add_repaired("rows out of order sorted by time", name, order.backwards)
    if order.repeated > count / 2:
        raise UserError(
            f"{name}: {order.repeated:,} of {count:,} rows repeat a timestamp; if the table contains "
            "several series, name their id column unique_id.",
            key="data.repeated_timestamps",
        )
    report.add_repaired("repeated timestamps, the last one kept", name, order.repeated)


def _open_gaps(
    rows: np.ndarray, stamps: np.ndarray, codes: np.ndarray, groups: StepGroups, repairs: GridRepairs
) -> tuple[Grid, np.ndarray]:
    """The grid, and the timestamps of its rows."""
    series = len(groups.group_of)
    steps = _increments(stamps, codes, groups)
    grid = _stack(rows, codes, series, steps, groups)
    counts = np.diff(grid.bounds)
    huge = np.flatnonzero(grid.lengths > _GRID_FACTOR * counts + _GRID_EXTRA)
    if not len(huge):
        return grid, stamps
    keep, flat, lost = np.ones(len(rows), bool), np.zeros(len(rows), bool), 0
    for k in huge:
        first, end = int(grid.bounds[k]), int(grid.bounds[k + 1])
        low, high, fits = _isolated(steps[first : end - 1])
        keep[first : first + low] = keep[first + high : end] = False
        flat[first:end] = not fits
        lost += end - first - (high - low)
    repairs.isolated += lost
    steps = np.where(flat[keep][1:], 1, _increments(stamps[keep], codes[keep], groups))
    if flat.any():
        irregular = np.unique(codes[flat])
        repairs.flat += irregular.tolist()
        groups = with_flat(groups, irregular)
    return _stack(rows[keep], codes[keep], series, steps, groups), stamps[keep]


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
    grid = _stack(rows, codes, series, steps, _one_group(series))
    if steps is gaps:
        filled = np.flatnonzero(np.diff(grid.bounds))
        grid.starts[filled] = numbers[grid.bounds[filled]]
    return grid


def _stack(rows: np.ndarray, codes: np.ndarray, series: int, steps: np.ndarray, groups: StepGroups) -> Grid:
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
    return Grid(rows, bounds, positions, lengths, np.zeros(series, np.int64), groups)


def _anchor(grid: Grid, stamps: np.ndarray) -> None:
    """Set the timestamp of row 0. Fixed steps count back from the last row, because forecasts start after it."""
    filled = np.flatnonzero(np.diff(grid.bounds))
    first, last = stamps[grid.bounds[filled]], stamps[grid.bounds[filled + 1] - 1]
    micros = np.array([step.micros for step in grid.groups.steps])[grid.groups.group_of[filled]]
    grid.starts[filled] = np.where(micros > 0, last - (grid.lengths[filled] - 1) * micros, first)
