"""Read a large table: decide from a sample, convert block by block, and read again if a block contradicts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from potstill.console import ProgressCallback
from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport
from potstill.data.series.blocks.decision import Decision, decide
from potstill.data.series.blocks.files import BlockFile
from potstill.data.series.blocks.refusal import NotInBlocks
from potstill.data.series.blocks.scratch import BlockColumns
from potstill.data.series.blocks.watch import ColumnWatch, Contradiction
from potstill.data.series.calendar import DAY, SECOND
from potstill.data.series.columns import ColumnSelection
from potstill.data.series.covariates import codes_of
from potstill.data.series.frames import LARGEST_COVARIATE, ValueRepairs
from potstill.data.series.identity import codes_and_names
from potstill.data.series.numbers import numeric
from potstill.data.series.sheet import Sheet
from potstill.data.series.store_units import LARGEST_VALUE
from potstill.data.series.times import Times

if TYPE_CHECKING:
    import pyarrow as pa

_HEAD = 2000  # rows that the sample begins with, at least: formats look at so many
_ONE_MOMENT, _MOMENTS = 2000, 2_000_000  # rows of one moment in the sample, and different times, to find ids
_PASSES = 5  # each one has found another witness
CODES, TIMES, VALUES = 0, 1, 2  # columns on disk: the series of a row (-1: none), its time, then the values


@dataclass
class Converted:
    """A table on disk as numbers.

    Attributes
    ----------
    decision
        What the columns are used as; its sheet is the sample.
    rows
        ``CODES``, ``TIMES`` and the columns ``decision.stored``.
    ids
        The id columns of the first row of each series; None in a wide table.
    names
        The series' names.
    usable
        How many rows have a time and an id.
    grouped
        Whether the rows of each series are together, in the order of the series, and all rows are usable.
    repairs
        Of the stored columns.
    categories
        The numbers of the categories of covariates that are text.
    resolution
        Whether some time is not at midnight, and some not a whole second.
    moments
        The different times, if ids follow from them.
    """

    decision: Decision
    rows: BlockColumns
    ids: pa.Table | None = None
    names: list[str | None] = field(default_factory=list)
    usable: int = 0
    grouped: bool = True
    repairs: dict[str, ValueRepairs] = field(default_factory=dict)
    categories: dict[str, dict[str | None, int]] = field(default_factory=dict)
    resolution: tuple[bool, bool] = (False, False)
    moments: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def convert(
    file: BlockFile, name: str, selection: ColumnSelection, decimal: str, folder: Path, progress: ProgressCallback
) -> Converted:
    """Convert a file into numbers on disk.

    Raises
    ------
    NotInBlocks
        The file must be read as a whole.
    UserError
        The table cannot be used; the message is that of reading it as a whole.
    """
    reading = _Sample(file, decimal)
    decision = decide(reading.sheet(), name, selection, DataReport())
    for _ in range(_PASSES):
        table = _Pass(decision, reading, folder / "rows")
        try:
            table.run(progress)
        except Contradiction as found:
            table.converted.rows.close()
            reading.add(table.before, table.block, [found.row], found.column)
            decision = decide(reading.sheet(), name, selection, DataReport())
            continue
        final = decide(reading.sheet(), name, selection, DataReport())
        if final.same(decision):
            table.check(final)
            table.converted.decision = final
            return table.converted
        table.converted.rows.close()
        decision = final
    raise NotInBlocks("its rows are of many forms", "write each column in one form")


class _Sample:
    """The first rows of a file, and the witnesses from the rest."""

    def __init__(self, file: BlockFile, decimal: str):
        self.file, self.decimal = file, decimal
        tables: list[pa.Table] = []
        for table in file.blocks():
            tables.append(table)
            if sum(map(len, tables)) >= _HEAD:
                break
        if not tables:
            raise NotInBlocks("it has no rows", "add rows")
        self.tables, self.head = tables, sum(map(len, tables))
        self.witnesses: dict[int, pa.Table] = {}
        self.marked: set[str] = set()

    def sheet(self) -> Sheet:
        import pyarrow as pa

        rows = sorted(self.witnesses)
        table = pa.concat_tables([*self.tables, *(self.witnesses[row] for row in rows)])
        sheet = self.file.sheet(table)
        if len(sheet.table) != len(table):
            raise NotInBlocks("its rows have lists of values", "write one row per time")
        return replace(sheet, decimal=self.decimal, numbers=[*range(self.head), *rows])

    def add(self, before: int, block: pa.Table, rows: list[int], column: str = "") -> None:
        """Add rows of a block that begins after ``before`` rows."""
        if column:
            self.marked.add(column)
        for row in rows:
            if before + row >= self.head:
                self.witnesses[before + row] = block.slice(row, 1)


class _Pass:
    """One pass over the file with one decision."""

    def __init__(self, decision: Decision, reading: _Sample, path: Path):
        self.decision, self.reading = decision, reading
        stored = decision.stored
        self.converted = Converted(decision, BlockColumns(path, VALUES + len(stored)))
        largest = dict.fromkeys(decision.covariates, LARGEST_COVARIATE)
        self.converted.repairs = {column: ValueRepairs(largest.get(column, LARGEST_VALUE)) for column in stored}
        self.converted.categories = {c: {} for c in decision.covariates if c not in decision.numeric}
        self.before = 0
        self.known: dict[tuple[str, ...], int] = {}
        self.ids: list[pa.Table] = []
        self.last = -1  # the series of the row before
        identity = decision.columns.identity
        used = {*identity, decision.time.column if decision.time else ""} - {*decision.found}
        times = decision.columns.times
        self.moment = int(times.micros[times.valid][0]) if times is not None else 0
        self.watches = [self._watch(c) for c in decision.sheet.table.column_names if c not in used]

    def _watch(self, column: str) -> ColumnWatch:
        import pyarrow as pa

        plain = column not in self.reading.marked
        cells = self.decision.sheet.table[column]
        if plain and pa.types.is_string(cells.type):
            try:
                arrow_functions().cast(cells, pa.float64())
            except pa.ArrowInvalid:
                plain = False
        numbers = column in self.decision.found and column in self.decision.numeric
        return ColumnWatch(column, plain, numbers or column in self.decision.counters)

    def run(self, progress: ProgressCallback) -> None:
        """Convert all blocks; the sample gets the witnesses."""
        file = self.reading.file
        for self.block in file.blocks():
            if not len(self.block):
                continue
            sheet = file.sheet(self.block)
            sheet = replace(sheet, decimal=self.reading.decimal, formats=dict(self.decision.sheet.formats))
            found = [row for watch in self.watches for row in watch.witnesses(sheet)]
            self.reading.add(self.before, self.block, found)
            self._convert(sheet)
            self.before += len(self.block)
            progress(file.done >> 20, file.size >> 20, "")
        if not self.ids:
            self.converted.names = [None]
        else:
            import pyarrow as pa

            self.converted.ids = pa.concat_tables(self.ids)
            self.converted.names = ["/".join(key) for key in self.known]

    def check(self, final: Decision) -> None:
        """Refuse what the shares or the order of all rows decide otherwise than the sample."""
        for watch in self.watches:
            numbers = watch.plain or watch.unreadable <= watch.filled / 2
            if watch.filled and _is_text(final.sheet, watch.name) and numbers != (watch.name in final.numeric):
                raise NotInBlocks(f"column {watch.name!r} has numbers and text", "name the columns with --target")
            if watch.counter and watch.name in final.found and not watch.whole:
                raise NotInBlocks(f"column {watch.name!r} has ids and other numbers", "use --id-column")
            if watch.counter and watch.counts_up != final.counters.get(watch.name, watch.counts_up):
                raise NotInBlocks(f"column {watch.name!r} may have row numbers", "leave it out, or use --target")

    def _convert(self, sheet: Sheet) -> None:
        codes, times = self._codes(sheet), self._times(sheet)
        codes = np.where(times.valid, codes, -1)
        if self.decision.found:
            self._show_ids(times)
        self._follow(codes, times)
        self.converted.rows.append([codes, times.micros, *(self._values(sheet, c) for c in self.decision.stored)])

    def _times(self, sheet: Sheet) -> Times:
        form = self.decision.time
        if form is None:
            return Times(np.zeros(len(sheet.table), np.int64), np.ones(len(sheet.table), bool))
        times, failing = form.read(sheet.table[form.column])
        if failing is not None:
            raise Contradiction(failing)
        return times

    def _codes(self, sheet: Sheet) -> np.ndarray:
        """The series of each row, numbered in order of first appearance; -1 without an id."""
        import pyarrow as pa

        identity = self.decision.columns.identity
        if not identity:
            return np.zeros(len(sheet.table), np.int64)
        pc, ids = arrow_functions(), sheet.raw.select(identity)
        codes, _, rows = codes_and_names(ids)
        first = ids.take(rows)
        texts = [pc.cast(column, pa.string()).to_pylist() for column in first.columns]
        count = len(self.known)
        places = np.array([self.known.setdefault(key, len(self.known)) for key in zip(*texts, strict=True)], np.int64)
        self.ids.append(first.filter(pa.array(places >= count)))
        return np.append(places, -1)[codes]

    def _values(self, sheet: Sheet, column: str) -> np.ndarray:
        repairs, categories = self.converted.repairs[column], self.converted.categories
        if column in categories:
            if not _is_text(sheet, column):
                return np.full(len(sheet.table), np.nan)
            return codes_of(sheet.table[column].to_pylist(), categories[column]).astype(np.float64)
        values, unreadable = numeric(sheet, column)
        repairs.unreadable(sheet, column, unreadable, self.before)
        return repairs.clean(values)

    def _show_ids(self, times: Times) -> None:
        """Add rows of one moment to the sample: they show which columns do not tell series apart."""
        rows = np.flatnonzero(times.valid & (times.micros == self.moment))
        self.reading.add(self.before, self.block, rows[: max(_ONE_MOMENT - len(self.reading.witnesses), 0)].tolist())
        moments = np.union1d(self.converted.moments, times.micros[times.valid])
        if len(moments) > _MOMENTS:
            raise NotInBlocks("its ids follow from very many times", "name the id columns with --id-column")
        self.converted.moments = moments

    def _follow(self, codes: np.ndarray, times: Times) -> None:
        """Note whether rows are grouped by series, and what times look like."""
        converted, micros = self.converted, times.micros[times.valid]
        usable = codes >= 0
        converted.usable += int(usable.sum())
        converted.grouped &= bool(usable.all() and (np.diff(codes, prepend=self.last) >= 0).all())
        self.last = int(codes[-1])
        day, second = converted.resolution
        converted.resolution = day or bool((micros % DAY).any()), second or bool((micros % SECOND).any())


def _is_text(sheet: Sheet, column: str) -> bool:
    import pyarrow as pa

    return pa.types.is_string(sheet.table[column].type)
