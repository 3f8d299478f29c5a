"""The series of a large file, read in blocks: bit for bit those of ``frames.series_block``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from potstill.console import progress_bar
from potstill.data.data_report import DataReport
from potstill.data.series.blocks.conversion import Converted, convert
from potstill.data.series.blocks.decision import decide
from potstill.data.series.blocks.files import BlockFile
from potstill.data.series.blocks.layout import Layout, lay_out_on_disk
from potstill.data.series.columns import ColumnSelection
from potstill.data.series.frames import Series, SeriesBlock, check_categories, one, placed
from potstill.data.series.keys import ids_of_series, table_keys


class LargeFile(NamedTuple):
    """A file to be read in blocks: the file, the decimal mark that the user names, and where it is."""

    file: BlockFile
    decimal: str
    label: str


@contextmanager
def blocks_of(
    source: LargeFile, name: str, selection: ColumnSelection, report: DataReport, folder: Path
) -> Iterator[SeriesBlock]:
    """The series of a file; temporary files of about its size as numbers are kept in ``folder`` meanwhile.

    Raises
    ------
    NotInBlocks
        The file must be read as a whole; the report is unchanged then.
    LacksTarget, UserError
        As ``frames.series_block``.
    """
    own = DataReport()
    with tempfile.TemporaryDirectory(dir=folder, prefix="blocks-") as temporary:
        place = Path(temporary)
        with progress_bar(f"Reading {name}", "MB") as progress:
            converted = convert(source.file, name, selection, source.decimal, place, progress)
        source.file.note(own, name)
        converted.decision = decide(converted.decision.sheet, name, selection, own)
        times = converted.decision.columns.times
        zone = times.zone if times is not None else ""
        if times is not None and times.form:
            own.add_note(f"{name}: numbers in column {times.name!r} are read as {times.form}")
        if zone:
            own.add_note(f"{name}: times are in time zone {zone}")
        layout = lay_out_on_disk(converted, zone, name, selection.freq, own, place)
        layout.repair(name, own)
        report.add(own)
        yield _block(converted, layout, name, selection, report)
        for rows in (converted.rows, layout.table, layout.rows):
            rows.close()


def _block(
    converted: Converted, layout: Layout, name: str, selection: ColumnSelection, report: DataReport
) -> SeriesBlock:
    decision, columns = converted.decision, converted.decision.columns
    keys = table_keys(decision.sheet, columns.identity, columns.values, columns.time, columns.times)
    if columns.times is not None:
        day, second = converted.resolution
        keys = replace(keys, resolution="us" if second else "s" if day else "day")
    categories = _categories(converted, layout, name, report)
    raw = decision.sheet.raw if converted.ids is None else converted.ids
    ids = ids_of_series(replace(decision.sheet, raw=raw), columns.identity, np.arange(len(converted.names)))
    series = _series(converted, layout, name, selection, report)
    choices = columns.choices
    return SeriesBlock(columns.values, layout.groups, series, choices, decision.covariates, categories, keys, ids)


def _categories(converted: Converted, layout: Layout, name: str, report: DataReport) -> dict[str, int]:
    """Report the repairs of covariates, and count the categories of those that are text."""
    decision, found = converted.decision, {}
    for place, column in enumerate(decision.covariates, len(decision.columns.values)):
        if column in decision.numeric:
            converted.repairs[column].report(f"{name}/{column}", decision.sheet, report)
            continue
        number = next(n for n, part in enumerate(layout.ranges) if layout.longest < part.stop)
        bounds, k = layout.grid(number).bounds, layout.longest - layout.ranges[number].start
        own = layout.values(number, place)[bounds[k] : bounds[k + 1]].astype(np.float32)
        check_categories(decision.sheet, column, converted.categories[column], own)
        found[column] = len(converted.categories[column])
    return found


def _series(
    converted: Converted, layout: Layout, file: str, selection: ColumnSelection, report: DataReport
) -> Iterator[Series]:
    decision, names = converted.decision, converted.decision.columns.values
    for j, column in enumerate(names):
        converted.repairs[column].report(f"{file}/{column}", decision.sheet, report)
        for number, part in enumerate(layout.ranges):
            grid, values = layout.grid(number), layout.values(number, j)
            covariate_values = _covariate_values(converted, layout, number, selection)
            for k, identity in enumerate(converted.names[part]):
                rows = slice(grid.bounds[k], grid.bounds[k + 1])
                name = column if identity is None else identity if len(names) == 1 else f"{identity}/{column}"
                series = one(name, column, values[rows], grid, k, rows, layout.zone)
                group = int(layout.groups.group_of[part.start + k])
                series = series._replace(group=group, identity=part.start + k)
                yield (
                    series
                    if covariate_values is None
                    else series._replace(covariates=placed(covariate_values, grid, k, series))
                )


def _covariate_values(
    converted: Converted, layout: Layout, number: int, selection: ColumnSelection
) -> np.ndarray | None:
    """Covariates ``[K, N]`` of the rows of a range; those that the file does not have are NaN."""
    names, decision = selection.covariates, converted.decision
    if not len(names):
        return None
    found = np.full((len(names), len(layout.grid(number).rows)), np.nan, np.float32)
    for place, column in enumerate(names.all):
        if column in decision.covariates:
            found[place] = layout.values(number, len(decision.columns.values) + decision.covariates.index(column))
    return found
