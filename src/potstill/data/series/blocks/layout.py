"""Sort the rows of a converted table by series and time, and lay them out on grids, a range of series at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from potstill.data.data_report import DataReport
from potstill.data.series.blocks.conversion import CODES, TIMES, VALUES, Converted
from potstill.data.series.blocks.refusal import NotInBlocks
from potstill.data.series.blocks.scratch import BlockColumns, FlatColumns, IntsOnDisk
from potstill.data.series.grid import (
    Grid,
    GridRepairs,
    SortedRows,
    clocks,
    given,
    in_order,
    note_order,
    note_steps,
    place,
    sort_rows,
    with_flat,
)
from potstill.data.series.id_columns import named
from potstill.data.series.id_search import covers_span, repeats_often
from potstill.data.series.steps import StepGroups, group_by_step, ranges_of
from potstill.data.series.zones import to_local

RANGE = 1_000_000  # rows of the series that are laid out together: about 200 bytes each are needed
_ROWS, _UTC, _CLOCK = 0, 1, 2  # sorted rows on disk: their place in the range, their time, and the clock for the step


@dataclass
class Layout:
    """The rows of a table, sorted by series: ``ranges`` of series, and the steps of all of them.

    ``table`` has the rows by series, in the order of the file within each; ``bounds [K + 1]`` are theirs. ``rows`` has
    the kept rows in order of time, with the bounds ``kept [K + 1]``.
    """

    table: BlockColumns | FlatColumns
    bounds: np.ndarray
    rows: BlockColumns
    kept: np.ndarray
    ranges: list[slice]
    groups: StepGroups
    zone: str
    timed: bool
    longest: int = 0
    _last: tuple[int, Grid] | None = None

    def grid(self, number: int) -> Grid:
        """The grid of a range; its rows count from the first row of the range in ``table``."""
        if self._last is None or self._last[0] != number:
            self._last = number, self._laid_out(number, GridRepairs())
        return self._last[1]

    def values(self, number: int, column: int) -> np.ndarray:
        """A stored column of a range, float64, in the order of the grid."""
        part = self.ranges[number]
        found = self.table.floats(VALUES + column, int(self.bounds[part.start]), int(self.bounds[part.stop]))
        rows = self.grid(number).rows
        return found if len(rows) == len(found) and (rows == np.arange(len(rows))).all() else found[rows]

    def _laid_out(self, number: int, repairs: GridRepairs) -> Grid:
        part = self.ranges[number]
        first, end = int(self.kept[part.start]), int(self.kept[part.stop])
        rows = self.rows.ints(_ROWS, first, end)
        codes = np.repeat(np.arange(part.stop - part.start), np.diff(self.kept[part.start : part.stop + 1]))
        groups = replace(self.groups, group_of=self.groups.group_of[part])
        if not self.timed:
            return in_order(rows, codes, len(groups.group_of), groups)
        return place(rows, self.rows.ints(_UTC, first, end), codes, groups, self.zone, repairs)

    def repair(self, name: str, report: DataReport) -> None:
        """Lay out all ranges once, to count repairs and to find series whose gaps are too long to fill."""
        repairs, most = GridRepairs(), -1
        for number, part in enumerate(self.ranges):
            own = GridRepairs()
            grid = self._laid_out(number, own)
            self._last = number, grid
            repairs.flat += [part.start + k for k in own.flat]
            repairs.moved, repairs.isolated = repairs.moved + own.moved, repairs.isolated + own.isolated
            repairs.opened += own.opened
            counts = np.diff(grid.bounds)
            if counts.max(initial=0) > most:
                self.longest, most = part.start + int(counts.argmax()), int(counts.max())
        if repairs.flat:
            self.groups = with_flat(self.groups, np.array(repairs.flat))
        if self.timed:
            repairs.report(name, report)


def lay_out_on_disk(
    converted: Converted, zone: str, name: str, freq: str | None, report: DataReport, folder: Path
) -> Layout:
    """Sort rows and infer steps, as ``grid.lay_out`` does for a table in memory.

    Raises
    ------
    NotInBlocks
        Times repeat so often that other columns may be ids.
    UserError
        The rows do not follow ``freq``.
    """
    count = len(converted.names)
    report.add_repaired("rows without time or id left out", name, len(converted.rows) - converted.usable)
    timed = converted.decision.time is not None
    bounds = _bounds(converted.rows, count)
    ranges = ranges_of(bounds, RANGE)
    table = converted.rows if converted.grouped else _by_range(converted, bounds, ranges, folder / "by-range")
    rows = BlockColumns(folder / "sorted", 3)
    total, kept = SortedRows(np.zeros(0, np.int64), 0, 0), [np.zeros(1, np.int64)]
    for part in ranges:
        first, end = int(bounds[part.start]), int(bounds[part.stop])
        codes, micros = table.ints(CODES, first, end), table.ints(TIMES, first, end)
        every = np.arange(end - first)
        order = sort_rows(every, micros, codes) if timed else SortedRows(every[np.argsort(codes, kind="stable")], 0, 0)
        total = total._replace(backwards=total.backwards + order.backwards, repeated=total.repeated + order.repeated)
        inner = np.searchsorted(codes[order.rows], np.arange(part.start, part.stop + 1))
        utc = micros[order.rows]
        local = to_local(utc, zone)
        rows.append([order.rows, utc, local if freq is not None else clocks(utc, local, inner)])
        kept.append(kept[-1][-1] + inner[1:])
    kept = np.concatenate(kept)
    if not timed:
        groups = in_order(kept[:0], kept[:0], count).groups
        return Layout(table, bounds, rows, kept, ranges, groups, zone, False)
    _check_repeats(converted, total.repeated)
    if converted.decision.found:
        _check_ids(converted, rows, kept, ranges, total.repeated)
    note_order(total, converted.usable, name, report)
    stamps = cast(np.ndarray, IntsOnDisk(rows, _CLOCK))
    groups = group_by_step(stamps, kept) if freq is None else given(stamps, kept, freq, name)
    if not any(step.timed for step in groups.steps):  # one row per series
        return Layout(table, bounds, rows, kept, ranges, groups, zone, False)
    note_steps(groups, name, report)
    return Layout(table, bounds, rows, kept, ranges, groups, zone, True)


def _check_repeats(converted: Converted, repeated: int) -> None:
    """Refuse a table whose times repeat within the series, if another column may tell the rows apart."""
    often = repeats_often(repeated, converted.usable - repeated)
    if repeated and (often or converted.decision.candidates):
        declared = ", ".join(converted.decision.columns.identity) or "none"
        raise NotInBlocks(
            f"{repeated:,} rows repeat a time (ids: {declared})",
            "name all id columns with --id-column, or correct them",
        )


def _check_ids(converted: Converted, rows: BlockColumns, kept: np.ndarray, ranges: list[slice], repeated: int) -> None:
    """Refuse ids that do not explain repeated times as well for all rows as for the sample."""
    found = converted.decision.found
    covered = repeated == 0 and converted.usable == len(converted.rows) >= 2 * len(converted.names)
    for part in ranges if covered and not (len(found) == 1 and named(found[0])) else ():
        first, end = kept[part.start : part.stop], kept[part.start + 1 : part.stop + 1]
        moments = np.searchsorted(converted.moments, rows.ints(_UTC, int(first[0]), int(end[-1])))
        span = moments[end - first[0] - 1] - moments[first - first[0]] + 1
        covered = covered and covers_span(end - first, span)
    if not covered:
        raise NotInBlocks(f"whether its ids are {', '.join(found)} follows from all rows", "name them with --id-column")


def _bounds(rows: BlockColumns, count: int) -> np.ndarray:
    """``[K + 1]`` the rows of each series if they were sorted by series."""
    counts = np.zeros(count + 1, np.int64)
    for first, end in zip(rows.bounds[:-1], rows.bounds[1:], strict=True):
        counts += np.bincount(rows.ints(CODES, first, end) + 1, minlength=count + 1)
    return np.concatenate([[0], np.cumsum(counts[1:])])


def _by_range(converted: Converted, bounds: np.ndarray, ranges: list[slice], path: Path) -> FlatColumns:
    """The rows of each range of series together, in the order of the file; rows without series are left out."""
    source = converted.rows
    table = FlatColumns(path, source.columns, int(bounds[-1]))
    free = np.array([bounds[part.start] for part in ranges])
    range_of = np.repeat(np.arange(len(ranges)), [part.stop - part.start for part in ranges])
    for first, end in zip(source.bounds[:-1], source.bounds[1:], strict=True):
        codes = source.ints(CODES, first, end)
        rows = np.flatnonzero(codes >= 0)
        number = range_of[codes[rows]]
        rows = rows[np.argsort(number, kind="stable")]
        counts = np.bincount(number, minlength=len(ranges))
        ends = np.cumsum(counts)
        for column in range(source.columns):
            values = source.floats(column, first, end)[rows]
            for r in np.flatnonzero(counts):
                table.put(column, int(free[r]), values[ends[r] - counts[r] : ends[r]])
        free += counts
    source.close()
    return table
