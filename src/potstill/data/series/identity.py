"""Find the id columns of a long table, in which several series are stacked.

Repeated times show that a table is long. Its ids are then the fewest columns with which no time repeats. A table whose
times repeat with different values, and no column tells the rows apart, is refused: merging several series into one
would be silently wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport
from potstill.data.series.sheet import Sheet
from potstill.data.series.times import Times
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

# fmt: off
ID_WORDS = frozenset((
    "account", "article", "branch", "brand", "city", "client", "country", "customer", "department", "dept", "device",
    "entity", "family", "id", "ids", "item", "location", "machine", "material", "meter", "outlet", "product", "region",
    "sensor", "series", "shop", "site", "sku", "station", "store", "symbol", "ticker", "uid", "user", "warehouse",
))
# fmt: on
_FEW_REPEATS = 0.1  # of the rows: below this share, duplicated rows explain repeated times as well as ids do
_FEW = 2  # repeats: fewer are duplicated rows in any table
_NEARLY = 0.05  # of the repeats: ids that leave no more than this share of them are the ids of a table with duplicates
_COVERED, _LEAST_ROWS = 0.8, 2  # an id of a few repeats needs this share of rows in its time span, and this many rows
_MOST_COLUMNS, _TOGETHER = 12, 3  # of at most this many candidates, up to so many together
_PROBE = 20_000  # rows on which combinations are tried first


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
    search = _Search(sheet, times, declared)
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
    each = [_column_codes(text) for text in texts]
    known = np.all([codes >= 0 for codes in each], axis=0)
    joint = _joint(each)[known]
    _, first, ranks = np.unique(joint, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    codes = np.full(len(known), -1, np.int64)
    codes[known] = place[ranks]
    rows = np.flatnonzero(known)[first[order]]
    parts = [text.take(pa.array(rows)).to_pylist() for text in texts]
    return codes, ["/".join(part) for part in zip(*parts, strict=True)], rows


def repeats_often(repeats: int, rows: int) -> bool:
    """Whether repeated times are so many that duplicated rows do not explain them."""
    return repeats >= max(_FEW_REPEATS * rows, _FEW)


def sole_ids(sheet: Sheet, times: Times, declared: list[str], candidates: Sequence[str], found: list[str]) -> bool:
    """Whether no other candidates, as few as those found, tell apart all rows whose times repeat.

    A time that repeats in some rows repeats in every table that has these rows, so this holds for that table too.
    """
    search = _Search(sheet, times, declared)
    if len(candidates) > _MOST_COLUMNS or not search.repeats:
        return False
    codes_of = {column: _codes(sheet, column)[search.rows] for column in candidates}
    others = [
        [codes_of[column] for column in together]
        for size in range(1, len(found) + 1)
        for together in combinations(codes_of, size)
        if set(together) != set(found)
    ]
    return all(search.left(codes) for codes in others)


def covers_span(rows: np.ndarray, span: np.ndarray) -> bool:
    """Whether each id has several rows, and few gaps in its span of moments."""
    return bool((rows >= _LEAST_ROWS).all() and (rows >= _COVERED * span).all())


class _Search:
    """The rows of a table whose times may repeat, without rows that equal another in every column."""

    def __init__(self, sheet: Sheet, times: Times, declared: list[str]):
        self.sheet = sheet
        valid = times.valid.copy()
        for column in declared:
            valid &= _codes(sheet, column) >= 0
        self.rows = np.flatnonzero(valid)
        self.declared = [_codes(sheet, column)[self.rows] for column in declared]
        self.moments = _ranks(times.micros[self.rows])
        self.repeats = len(self.rows) - _distinct([*self.declared, self.moments])
        if self.repeats:
            self._drop_equal_rows()
        self.often = repeats_often(self.repeats, len(self.rows))

    def _drop_equal_rows(self) -> None:
        cells = [_codes(self.sheet, column)[self.rows] for column in self.sheet.table.column_names]
        _, kept = np.unique(_joint([self.moments, *cells]), return_index=True)
        kept.sort()
        self.rows, self.moments = self.rows[kept], self.moments[kept]
        self.declared = [codes[kept] for codes in self.declared]
        self.repeats = len(self.rows) - _distinct([*self.declared, self.moments])

    def columns(self, candidates: Sequence[str]) -> list[str]:
        """The fewest candidates with which no time repeats, or hardly any; empty if there are none such."""
        if not self.repeats:
            return []
        codes_of = {column: _codes(self.sheet, column)[self.rows] for column in candidates[:_MOST_COLUMNS]}
        codes_of = {column: codes for column, codes in codes_of.items() if len(np.unique(codes)) > 1}
        single = {column: self.left([codes]) for column, codes in codes_of.items()}
        for size in range(1, _TOGETHER + 1):
            fitting = [
                together
                for together in combinations(codes_of, size)
                if self._fits([codes_of[column] for column in together])
                and (size == 1 or not any((codes_of[column] < 0).any() for column in together))
                and self._explains([codes_of[c] for c in together], together, min(single[c] for c in together))
            ]
            if fitting:
                return list(min(fitting, key=lambda together: self._rank(together, codes_of)))
        near = [
            column
            for column, codes in codes_of.items()
            if single[column] <= _NEARLY * self.repeats
            and self._rows_per_id([codes]) >= _LEAST_ROWS
            and (named(column) or self._has_stretches([codes]))
        ]
        return [min(near, key=lambda column: (single[column], column))] if near and self.often else []

    def left(self, codes: list[np.ndarray]) -> int:
        """How many rows still repeat a time with these ids."""
        return len(self.rows) - _distinct([*self.declared, *codes, self.moments])

    def _fits(self, codes: list[np.ndarray]) -> bool:
        """Whether no time repeats within an id, and ids have at least two rows on average (row numbers do not)."""
        few = self.moments <= self._last_moment_of_probe
        probe = [part[few] for part in (*self.declared, *codes, self.moments)]
        if _distinct(probe) < int(few.sum()):
            return False
        return self._rows_per_id(codes) >= 2 and self.left(codes) == 0

    @property
    def _last_moment_of_probe(self) -> int:
        """All rows of the first moments: at most some thousands, which rule out most combinations."""
        return int(np.partition(self.moments, min(_PROBE, len(self.moments) - 1))[min(_PROBE, len(self.moments) - 1)])

    def _rows_per_id(self, codes: list[np.ndarray]) -> float:
        return len(self.rows) / max(_distinct([*self.declared, *codes]), 1)

    def _explains(self, codes: list[np.ndarray], columns: Sequence[str], left: int) -> bool:
        """Whether these ids explain the repeats better than duplicated rows do.

        They do if times repeat often and no single one of them explains nearly all of it, or if the rows of each id
        cover its time span with few gaps. Whole numbers with any name must do the latter.
        """
        numbers = any(not named(column) and not _is_text(self.sheet, column) for column in columns)
        enough = left if len(codes) > 1 else self.repeats
        if enough >= max(_FEW_REPEATS * len(self.rows), _FEW) and not numbers:
            return True
        return self._has_stretches(codes) or (len(codes) == 1 and named(columns[0]) and not (codes[0] < 0).any())

    def _has_stretches(self, codes: list[np.ndarray]) -> bool:
        """Whether the rows of each id cover its time span with few gaps."""
        if any((part < 0).any() for part in codes):
            return False
        joint = _joint([*self.declared, *codes])
        order = np.lexsort((self.moments, joint))
        first = np.flatnonzero(np.diff(joint[order], prepend=-1))
        last = np.append(first[1:], len(order)) - 1
        rows = last - first + 1
        span = self.moments[order][last] - self.moments[order][first] + 1
        return covers_span(rows, span)

    def _rank(self, columns: Sequence[str], codes_of: dict[str, np.ndarray]) -> tuple[int, int, int]:
        """Names that suggest ids first, then text, then the fewest ids."""
        unnamed = sum(not named(column) for column in columns)
        numbers = sum(not _is_text(self.sheet, column) for column in columns)
        return unnamed, numbers, _distinct([codes_of[column] for column in columns])


def _in_blocks(sheet: Sheet, times: Times, candidates: Sequence[str], name: str, report: DataReport) -> list[str]:
    """The id column of series that follow one another in time: its name suggests ids, and each id is one block."""
    rows = np.flatnonzero(times.valid)
    rows = rows[np.argsort(times.micros[rows], kind="stable")]
    return _named_blocks(sheet, rows, [column for column in candidates if named(column)], name, report)


def _in_order(sheet: Sheet, candidates: Sequence[str], name: str, report: DataReport) -> list[str]:
    """The id column of a table without times: text or a name that suggests ids, and each id is one block of rows."""
    columns = [column for column in candidates if named(column) or _is_text(sheet, column)]
    return _named_blocks(sheet, np.arange(len(sheet.table)), columns, name, report)


def _named_blocks(sheet: Sheet, rows: np.ndarray, columns: list[str], name: str, report: DataReport) -> list[str]:
    for column in sorted(columns, key=lambda column: not named(column)):
        codes = _codes(sheet, column)[rows]
        ids = len(np.unique(codes))
        blocks = int((np.diff(codes) != 0).sum()) + 1 if len(codes) else 0
        if len(codes) and blocks == ids and 2 * ids <= len(codes) and (codes >= 0).all():
            report.add_note(f"{name}: column {column!r} is used as the id column")
            return [column]
    return []


def named(column: str) -> bool:
    """Whether a column's name suggests ids: ``sku``, ``StoreID``, ``item_id``, ``store_nbr``."""
    words = re.split(r"[^a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", column).lower())
    return any(word in ID_WORDS or (word.removesuffix("id") in ID_WORDS) for word in words)


def may_be_ids(sheet: Sheet, column: str, numeric: bool) -> bool:
    """Whether a column may contain ids: text, whole numbers, truth values, or a second column of dates."""
    import pyarrow as pa

    kind = sheet.raw[column].type
    if pa.types.is_string(kind):
        return not numeric or _whole(sheet, column)
    return pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind)


def _is_text(sheet: Sheet, column: str) -> bool:
    """Whether a column holds text that is no number."""
    import pyarrow as pa

    return pa.types.is_string(sheet.raw[column].type) and not _whole(sheet, column)


def _whole(sheet: Sheet, column: str) -> bool:
    pc = arrow_functions()

    cells = sheet.raw[column]
    pattern = r"^\s*\d+(\.0+)?\s*$"
    few = pc.match_substring_regex(cells[:100], pattern)
    return bool(pc.all(few).as_py() and pc.all(pc.match_substring_regex(cells, pattern)).as_py())


def _codes(sheet: Sheet, column: str) -> np.ndarray:
    """A code per row, -1 where the cell is empty."""
    return _column_codes(sheet.raw[column])


def _column_codes(column: pa.ChunkedArray) -> np.ndarray:
    import pyarrow as pa

    try:
        encoded = column.combine_chunks().dictionary_encode()
    except pa.ArrowNotImplementedError:  # lists and structures
        encoded = pa.array([str(cell) for cell in column.to_pylist()]).dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1), dtype=np.int64)


def _listed(columns: Sequence[str]) -> str:
    return " and ".join(map(repr, columns))


def _ascending(times: Times) -> bool:
    """Whether times only increase, so that none repeats: a quick check that suffices for most tables."""
    return bool((np.diff(times.micros[times.valid]) > 0).all())


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def _joint(codes: Sequence[np.ndarray]) -> np.ndarray:
    """One code for each combination."""
    joint = codes[0]
    for more in codes[1:]:
        joint = _ranks(joint * (int(more.max(initial=0)) + 2) + more)  # an empty cell is -1
    return joint


def _distinct(codes: Sequence[np.ndarray]) -> int:
    return len(np.unique(_joint(codes)))
