"""Find the id columns of a long table, in which several series are stacked.

Repeated times show that a table is long. Its ids are then the fewest columns with which no time repeats. A table whose
times repeat with different values, and no column tells the rows apart, is refused: merging several series into one
would be silently wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport
from potstill.data.series.id_columns import codes_of_cells, codes_of_column, is_text, joint_codes, named
from potstill.data.series.id_search import MOST_COLUMNS, IdSearch
from potstill.data.series.sheet import Sheet
from potstill.data.series.times import Times
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


def find_ids(
    sheet: Sheet,
    times: Times | None,
    declared: list[str],
    candidates: Sequence[str],
    name: str,
    report: DataReport,
    named_by_user: bool = False,
) -> list[str]:
    """The id columns: those declared, and those that explain why times repeat; none if no time repeats.

    Parameters
    ----------
    declared
        Columns that the user, the table's index or a name such as ``unique_id`` declares as ids.
    candidates
        Columns that may contain ids.
    named_by_user
        Whether ``declared`` is the user's choice, which is not extended.

    Raises
    ------
    UserError
        Times repeat with different values, and no column, or none of the user's, tells the rows apart.
    """
    if times is None:
        return declared or _in_order(sheet, candidates, name, report)
    if not declared and _ascending(times):
        return _in_blocks(sheet, times, candidates, name, report)
    search = IdSearch(sheet, times, declared)
    if not search.repeats:
        return declared or _in_blocks(sheet, times, candidates, name, report)
    more = search.columns(candidates)
    if more and not named_by_user:
        given = f" within {_listed(declared)}" if declared else ""
        plural = "columns" if len(more) > 1 else "column"
        verb = "identify" if len(more) > 1 else "identifies"
        report.add_note(f"{name}: times repeat{given}, and {plural} {_listed(more)} {verb} the series: used as ids")
        return [*declared, *more]
    if more:
        both = ",".join([*declared, *more])
        raise UserError(
            f"{sheet.label}: times repeat within {_listed(declared)}, and {_listed(more)} tells these rows apart; give"
            f" --id-column {both} (data.id_column).",
            key="data.ids_incomplete",
        )
    if search.often:
        raise UserError(
            f"{sheet.label}: {search.repeats:,} of {len(search.moments):,} rows repeat a timestamp"
            f"{f' within {_listed(declared)}' if declared else ''} with other values; if the table contains several"
            " series, add their ids in a column unique_id or name the columns with --id-column; else write one row per"
            " time.",
            key="data.repeated_timestamps",
        )
    return declared


def codes_and_names(ids: pa.Table) -> tuple[np.ndarray, list[str], np.ndarray]:
    """The series of each row, their names, and the first row of each.

    Parameters
    ----------
    ids
        The id columns, one row for each row of the table.

    Returns
    -------
    ``[N]`` int64 codes in order of first appearance, -1 for rows with an empty id; names such as ``store/item``; and
    ``[S]`` rows.
    """
    import pyarrow as pa

    pc = arrow_functions()

    texts = [pc.cast(column, pa.string()) for column in ids.columns]
    each = [codes_of_cells(text) for text in texts]
    known = np.all([codes >= 0 for codes in each], axis=0)
    joint = joint_codes(each)[known]
    _, first, ranks = np.unique(joint, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    codes = np.full(len(known), -1, np.int64)
    codes[known] = place[ranks]
    rows = np.flatnonzero(known)[first[order]]
    parts = [text.take(pa.array(rows)).to_pylist() for text in texts]
    return codes, ["/".join(part) for part in zip(*parts, strict=True)], rows


def sole_ids(sheet: Sheet, times: Times, declared: list[str], candidates: Sequence[str], found: list[str]) -> bool:
    """Whether no other candidates, as few as those found, tell apart all rows whose times repeat.

    A time that repeats in some rows repeats in every table that has these rows, so this holds for that table too.
    """
    search = IdSearch(sheet, times, declared)
    if len(candidates) > MOST_COLUMNS or not search.repeats:
        return False
    codes_of = {column: codes_of_column(sheet, column)[search.rows] for column in candidates}
    others = [
        [codes_of[column] for column in together]
        for size in range(1, len(found) + 1)
        for together in combinations(codes_of, size)
        if set(together) != set(found)
    ]
    return all(search.left(codes) for codes in others)


def _in_blocks(sheet: Sheet, times: Times, candidates: Sequence[str], name: str, report: DataReport) -> list[str]:
    """The id column of series that follow one another in time: its name suggests ids, and each id is one block."""
    rows = np.flatnonzero(times.valid)
    rows = rows[np.argsort(times.micros[rows], kind="stable")]
    return _named_blocks(sheet, rows, [column for column in candidates if named(column)], name, report)


def _in_order(sheet: Sheet, candidates: Sequence[str], name: str, report: DataReport) -> list[str]:
    """The id column of a table without times: text or a name that suggests ids, and each id is one block of rows."""
    columns = [column for column in candidates if named(column) or is_text(sheet, column)]
    return _named_blocks(sheet, np.arange(len(sheet.table)), columns, name, report)


def _named_blocks(sheet: Sheet, rows: np.ndarray, columns: list[str], name: str, report: DataReport) -> list[str]:
    for column in sorted(columns, key=lambda column: not named(column)):
        codes = codes_of_column(sheet, column)[rows]
        ids = len(np.unique(codes))
        blocks = int((np.diff(codes) != 0).sum()) + 1 if len(codes) else 0
        if len(codes) and blocks == ids and 2 * ids <= len(codes) and (codes >= 0).all():
            report.add_note(f"{name}: column {column!r} is used as the id column")
            return [column]
    return []


def _listed(columns: Sequence[str]) -> str:
    return " and ".join(map(repr, columns))


def _ascending(times: Times) -> bool:
    """Whether times only increase, so that none repeats: a quick check that suffices for most tables."""
    return bool((np.diff(times.micros[times.valid]) > 0).all())
