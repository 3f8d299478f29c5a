"""Build a store: files are read one after the other, and their series are appended to one flat file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from potstill.console import say
from potstill.data import fingerprints
from potstill.data.data_report import DataReport
from potstill.data.series.blocks.refusal import NotInBlocks
from potstill.data.series.blocks.table import LargeFile, blocks_of
from potstill.data.series.covariates import CovariateWriter
from potstill.data.series.frames import (
    ColumnSelection,
    LacksTarget,
    Series,
    SeriesBlock,
    no_usable_series,
    series_block,
)
from potstill.data.series.keys import SeriesKeys, joined
from potstill.data.series.sheet import Sheet
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

STORE_ARRAYS = ("offsets", "dataset_of", "starts", "first_row", "grid_rows", "missing", "loc", "scale")
_RESCALED = "units: offset and scale"  # in the fingerprint, so that labels from before they existed are not used


class Input(NamedTuple):
    """A data set's name and the function that reads it and counts repairs in the given report.

    ``large`` opens the file to be read in blocks; it gives None if the file is small, and raises ``NotInBlocks``.
    """

    name: str
    read: Callable[[DataReport], Sheet]
    large: Callable[[], LargeFile | None] = lambda: None


class Builder:
    """Writes the files of a store into an empty folder with ``build``."""

    def __init__(self, folder: Path, selection: ColumnSelection):
        self.folder, self.selection = folder, selection
        self.report = DataReport()
        self.datasets: list[str] = []
        self.files: list[str] = []
        self.frequency: list[str] = []
        self.regular: list[bool] = []
        self.names: list[str] = []
        self.skip: list[str] = []
        self.errors: list[UserError] = []  # of files that cannot be read or have no series to train on
        # of each series; the second is its group of equal steps, then its data set
        self.rows: list[tuple[int, ...]] = []
        self.units: list[tuple[float, float]] = []  # loc and scale of each series
        self.used_columns: set[str] = set()
        self.choices: list[list[str]] = []
        self.keys = SeriesKeys()
        self.ids: list[pa.Table] = []  # of the series of each file
        self.series_of_files: list[int] = []

    def build(self, inputs: Iterable[Input], fingerprint: str) -> None:
        """Read every input and write values, arrays and index.

        Raises
        ------
        UserError
            No file has a series with a value (the first file's error; else the file is left out and reported), or
            no file has a target column.
        """
        names = self.selection.covariates
        with (self.folder / "values.f32").open("wb") as out, CovariateWriter(self.folder, names) as self.covariates:
            for item in inputs:
                try:
                    self._add(item, out)
                except UserError as error:
                    self.errors.append(error)
                    self.report.add_dropped(item.name, str(error), kind="files")
        if not any(length for length, *_ in self.rows):
            raise _no_series(self.errors)
        for column in self.selection.target or ():
            if column not in self.used_columns:
                known = ", ".join(sorted(self.used_columns))
                raise UserError(
                    f"data.target: no usable file has a numeric column {column!r}; found: {known}.",
                    key="data.no_such_target",
                )
        for column in names.all:
            if column not in self.covariates.found:
                raise UserError(
                    f"data.known, data.past: no usable file has a column {column!r}; check the name.",
                    key="data.no_such_covariate",
                )
        self._write_index(fingerprint)

    def _add(self, item: Input, out: BinaryIO) -> None:
        report = DataReport()
        before = len(self.skip)
        try:
            with self._block(item, report) as (label, block):
                identities = []
                for series in block.series:
                    out.write(series.values.tobytes())
                    if series.covariates is not None:
                        self.covariates.add(series.covariates)
                    self._note(item.name, series, report)
                    identities.append(series.identity)
        finally:
            self.report.add(report)
        self.used_columns.update(block.columns)
        self.covariates.note(block.covariates, block.categories)
        self.ids.append(block.ids.take(np.array(identities, np.int64)))
        self.series_of_files.append(len(identities))
        self.choices += [[item.name, choice] for choice in block.choices]
        units = zip(self.units[before:], self.skip[before:], strict=True)
        if any(unit != (0.0, 1.0) and not why for unit, why in units):
            self.choices.append([item.name, _RESCALED])
        self._add_datasets(item.name, block, before)
        if all(self.skip[before:]):
            self.errors.append(_barren(label, self.skip[before:], report))
        self.report.add_used(files=1)

    @contextmanager
    def _block(self, item: Input, report: DataReport) -> Iterator[tuple[str, SeriesBlock]]:
        """The series of an input, and where it is; a large file is read in blocks if its rows allow it."""
        with ExitStack() as stack:
            try:
                large = item.large()
                if large is not None:
                    reading = blocks_of(large, item.name, self.selection, report, self.folder)
                    block, label = stack.enter_context(reading), large.label
            except NotInBlocks as reason:
                say(f"{item.name}: is read as a whole, which takes several times its size of memory: {reason}.")
                large = None
            if large is None:
                sheet = item.read(report)
                block, label = series_block(sheet, item.name, self.selection, report), sheet.label
            yield label, block

    def _add_datasets(self, name: str, block: SeriesBlock, before: int) -> None:
        """One data set for each step of the file's series from number ``before`` on."""
        groups = block.groups
        used = sorted({row[1] for row in self.rows[before:]})
        datasets = {group: len(self.datasets) + place for place, group in enumerate(used)}
        self.rows[before:] = [(row[0], datasets[row[1]], *row[2:]) for row in self.rows[before:]]
        for group in used:
            self.datasets.append(f"{name} ({groups.labels[group]})" if len(used) > 1 else name)
            self.files.append(name)
            self.keys.tables.append(block.keys)
            self.frequency.append(groups.steps[group].alias)
            self.regular.append(groups.regular[group])

    def _note(self, file: str, series: Series, report: DataReport) -> None:
        missing = int(np.isnan(series.values).sum())
        self.names.append(f"{file}/{series.name}")
        self.skip.append(series.skip)
        self.keys.columns.append(series.column)
        self.units.append((series.loc, series.scale))
        self.rows.append((len(series.values), series.group, series.start, series.first_row, series.grid_rows, missing))
        report.add_used(series=1, rows=len(series.values), missing_values=missing)

    def _write_index(self, fingerprint: str) -> None:
        length, dataset_of, starts, first_row, grid_rows, missing = np.array(self.rows, dtype=np.int64).T
        arrays = {
            "offsets": np.concatenate([[0], np.cumsum(length)]),
            "dataset_of": dataset_of.astype(np.int32),
            "starts": starts,
            "first_row": first_row,
            "grid_rows": grid_rows,
            "missing": missing,
            "loc": np.array([loc for loc, _ in self.units]),
            "scale": np.array([scale for _, scale in self.units]),
        }
        for name in STORE_ARRAYS:
            np.save(self.folder / f"{name}.npy", arrays[name], allow_pickle=False)
        self.keys.ids = joined(self.ids, self.series_of_files)
        self.keys.save(self.folder)
        index = {
            "names": self.names,
            "datasets": self.datasets,
            "files": self.files,
            "frequency": self.frequency,
            "regular": self.regular,
            "skip": self.skip,
            "barren": str(_no_series(self.errors)) if all(self.skip) else "",
            "fingerprint": fingerprints.with_choices(fingerprint, self.choices),
            "account": self.report.to_dict(),
        }
        (self.folder / "index.json").write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")


def _barren(label: str, skip: list[str], report: DataReport) -> UserError:
    """The error for a file without a series to train on."""
    counted = report.copy()
    for why in skip:
        counted.add_dropped(label, why)
    return no_usable_series(label, counted)


def _no_series(errors: list[UserError]) -> UserError:
    """The error if no file has a series: the first one, but another error takes precedence over a missing target."""
    first = next((error for error in errors if not isinstance(error, LacksTarget)), errors[0])
    more = f" ({len(errors) - 1} more file(s) cannot be used either.)" if len(errors) > 1 else ""
    return UserError(f"{first}{more}", key=first.key)
