"""What the columns of a table are used as, decided from a sample of its rows as from all of them.

The sample has the first rows, and a witness from the rest for each property that decides: the first cell of a column
that is filled, no number, or writes numbers in another way. What follows from the existence of such cells is the same
for the sample and for the table. Decisions that follow from shares or from the order of all rows are checked while the
rows are read, or refused here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from potstill.data.data_report import DataReport
from potstill.data.series.blocks.refusal import NotInBlocks
from potstill.data.series.blocks.times import TimeForm, is_no_time, time_form
from potstill.data.series.calendar import DAY
from potstill.data.series.clock_columns import may_be_clock, may_be_date_part
from potstill.data.series.columns import (
    Columns,
    ColumnSelection,
    counts_up,
    declared_ids,
    id_candidates,
    named_as_counter,
    pick_columns,
)
from potstill.data.series.id_columns import named
from potstill.data.series.identity import sole_ids
from potstill.data.series.number_witnesses import is_single_mark
from potstill.data.series.numbers import is_numeric
from potstill.data.series.sheet import NumberFormat, Sheet
from potstill.data.series.time_columns import PERIOD_NAMES, TIME_NAMES

_NAME_IDS = "name the id columns with --id-column"
_NAME_TIME = "name the time column with --time-column"


@dataclass
class Decision:
    """How the columns of a table are used.

    Attributes
    ----------
    sheet, columns
        The sample, and what ``pick_columns`` found in it.
    time
        How times are read; None without a time column.
    covariates
        Those of the table.
    numeric
        The columns of numbers.
    candidates
        Columns that may contain ids, though they are not used as ids.
    counters
        Numeric columns that may be row numbers, and whether the sample says that they count up.
    found
        The ids that nothing declares: they explain why times repeat.
    """

    sheet: Sheet
    columns: Columns
    time: TimeForm | None
    covariates: list[str]
    numeric: set[str]
    candidates: list[str]
    counters: dict[str, bool]
    found: list[str]

    @property
    def stored(self) -> list[str]:
        """The columns whose values are stored: those to forecast, then the covariates."""
        return [*self.columns.values, *self.covariates]

    def form(self, column: str) -> tuple[bool, str]:
        """How a column's numbers are read."""
        form = self.sheet.formats.get(column, NumberFormat())
        return form.plain, form.decimal

    def same(self, other: Decision) -> bool:
        """Whether another decision gives the same series."""
        return (
            (self.time, self.stored, self.columns.identity, self.numeric)
            == (other.time, other.stored, other.columns.identity, other.numeric)
        ) and all(self.form(column) == other.form(column) for column in self.sheet.formats)


def decide(sheet: Sheet, name: str, selection: ColumnSelection, report: DataReport) -> Decision:
    """Decide from a sample of the rows.

    Raises
    ------
    NotInBlocks
        All rows decide.
    LacksTarget, UserError
        As ``pick_columns``.
    """
    covariates = [column for column in selection.covariates.all if column in sheet.table.column_names]
    own = sheet.without(covariates)
    columns = pick_columns(own, name, selection, report)
    lower = {column.strip().lower(): column for column in reversed(own.table.column_names)}
    declared = declared_ids(own, lower, selection)
    time = _time(own, columns, [*declared, *(selection.target or [])], selection)
    used = {*declared, *([columns.time] if columns.time else [])}
    rest = [column for column in own.table.column_names if column not in used]
    numeric = [column for column in rest if is_numeric(own, column)]
    candidates = id_candidates(own, rest, numeric, selection.target or [])
    found = [column for column in columns.identity if column not in declared]
    if found and not (columns.times and sole_ids(own, columns.times, declared, candidates, found)):
        raise NotInBlocks(f"whether its ids are {', '.join(columns.identity)} follows from all rows", _NAME_IDS)
    if not columns.identity and any(named(column) or (time is None and column not in numeric) for column in candidates):
        raise NotInBlocks(f"column {candidates[0]!r} may have ids", f"{_NAME_IDS}, or leave the column out")
    for column in [*numeric, *covariates]:
        if not sheet.decimal and is_single_mark(sheet, column):
            raise NotInBlocks(f"column {column!r} has numbers such as 1.220", "name their decimal mark with --decimal")
    plain = [column for column in numeric if column not in found]
    counters = {c: counts_up(own, c) for c in plain if named_as_counter(c) or _begins_counting(own, c)}
    sheet.formats.update(own.formats)
    numeric += [column for column in covariates if is_numeric(sheet, column)]
    return Decision(sheet, columns, time, covariates, set(numeric), candidates, counters, found)


def _begins_counting(sheet: Sheet, column: str) -> bool:
    return counts_up(replace(sheet, table=sheet.table.slice(0, 3)), column)


def _time(sheet: Sheet, columns: Columns, others: list[str], selection: ColumnSelection) -> TimeForm | None:
    """How the time column is read, and the proof that it is the time for all rows."""
    present = [column for column in sheet.table.column_names if column not in others]
    if columns.times is None:
        for column in present:
            if _is_text(sheet, column) and not is_no_time(sheet.table[column], column):
                raise NotInBlocks(f"column {column!r} may be the time", _NAME_TIME)
        if any(column.strip().lower() in PERIOD_NAMES or may_be_date_part(column) for column in present):
            raise NotInBlocks("a column's name suggests times, and its numbers are none", _NAME_TIME)
        return None
    times, name = columns.times, columns.time or ""
    form = time_form(sheet, times, selection.date_format)
    further = [c for c in present if c != name and (c.strip().lower() in TIME_NAMES or may_be_clock(c))]
    if further and not (times.micros[times.valid] % DAY).any():
        raise NotInBlocks(f"column {further[0]!r} may belong to the times", f"{_NAME_TIME}, or rename the other one")
    by_name = selection.time_column or sheet.time or name.strip().lower() in TIME_NAMES
    for column in () if by_name else present[: present.index(name)]:
        if _is_text(sheet, column) and not is_no_time(sheet.table[column], column):
            raise NotInBlocks(f"column {column!r} may be the time", _NAME_TIME)
    return form


def _is_text(sheet: Sheet, column: str) -> bool:
    import pyarrow as pa

    return pa.types.is_string(sheet.table[column].type)
