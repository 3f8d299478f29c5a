"""The search for the fewest columns with which no time repeats."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from potstill.data.series.id_columns import codes_of_column, count_distinct, is_text, joint_codes, named, ranks_of
from potstill.data.series.sheet import Sheet
from potstill.data.series.times import Times

# fmt: on
_FEW_REPEATS = 0.1  # of the rows: below this share, duplicated rows explain repeated times as well as ids do
_FEW = 2  # repeats: fewer are duplicated rows in any table
_NEARLY = 0.05  # of the repeats: ids that leave no more than this share of them are the ids of a table with duplicates
_COVERED, _LEAST_ROWS = 0.8, 2  # an id of a few repeats needs this share of rows in its time span, and this many rows
MOST_COLUMNS, _TOGETHER = 12, 3  # of at most this many candidates, up to so many together
_PROBE = 20_000  # rows on which combinations are tried first


class IdSearch:
    """The rows of a table whose times may repeat, without rows that equal another in every column."""

    def __init__(self, sheet: Sheet, times: Times, declared: list[str]):
        self.sheet = sheet
        valid = times.valid.copy()
        for column in declared:
            valid &= codes_of_column(sheet, column) >= 0
        self.rows = np.flatnonzero(valid)
        self.declared = [codes_of_column(sheet, column)[self.rows] for column in declared]
        self.moments = ranks_of(times.micros[self.rows])
        self.repeats = len(self.rows) - count_distinct([*self.declared, self.moments])
        if self.repeats:
            self._drop_equal_rows()
        self.often = repeats_often(self.repeats, len(self.rows))

    def _drop_equal_rows(self) -> None:
        cells = [codes_of_column(self.sheet, column)[self.rows] for column in self.sheet.table.column_names]
        _, kept = np.unique(joint_codes([self.moments, *cells]), return_index=True)
        kept.sort()
        self.rows, self.moments = self.rows[kept], self.moments[kept]
        self.declared = [codes[kept] for codes in self.declared]
        self.repeats = len(self.rows) - count_distinct([*self.declared, self.moments])

    def columns(self, candidates: Sequence[str]) -> list[str]:
        """The fewest candidates with which no time repeats, or hardly any; empty if there are none such."""
        if not self.repeats:
            return []
        codes_of = {column: codes_of_column(self.sheet, column)[self.rows] for column in candidates[:MOST_COLUMNS]}
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
        return len(self.rows) - count_distinct([*self.declared, *codes, self.moments])

    def _fits(self, codes: list[np.ndarray]) -> bool:
        """Whether no time repeats within an id, and ids have at least two rows on average (row numbers do not)."""
        few = self.moments <= self._last_moment_of_probe
        probe = [part[few] for part in (*self.declared, *codes, self.moments)]
        if count_distinct(probe) < int(few.sum()):
            return False
        return self._rows_per_id(codes) >= 2 and self.left(codes) == 0

    @property
    def _last_moment_of_probe(self) -> int:
        """All rows of the first moments: at most some thousands, which rule out most combinations."""
        return int(np.partition(self.moments, min(_PROBE, len(self.moments) - 1))[min(_PROBE, len(self.moments) - 1)])

    def _rows_per_id(self, codes: list[np.ndarray]) -> float:
        return len(self.rows) / max(count_distinct([*self.declared, *codes]), 1)

    def _explains(self, codes: list[np.ndarray], columns: Sequence[str], left: int) -> bool:
        """Whether these ids explain the repeats better than duplicated rows do.

        They do if times repeat often and no single one of them explains nearly all of it, or if the rows of each id
        cover its time span with few gaps. Whole numbers with any name must do the latter.
        """
        numbers = any(not named(column) and not is_text(self.sheet, column) for column in columns)
        enough = left if len(codes) > 1 else self.repeats
        if enough >= max(_FEW_REPEATS * len(self.rows), _FEW) and not numbers:
            return True
        return self._has_stretches(codes) or (len(codes) == 1 and named(columns[0]) and not (codes[0] < 0).any())

    def _has_stretches(self, codes: list[np.ndarray]) -> bool:
        """Whether the rows of each id cover its time span with few gaps."""
        if any((part < 0).any() for part in codes):
            return False
        joint = joint_codes([*self.declared, *codes])
        order = np.lexsort((self.moments, joint))
        first = np.flatnonzero(np.diff(joint[order], prepend=-1))
        last = np.append(first[1:], len(order)) - 1
        rows = last - first + 1
        span = self.moments[order][last] - self.moments[order][first] + 1
        return covers_span(rows, span)

    def _rank(self, columns: Sequence[str], codes_of: dict[str, np.ndarray]) -> tuple[int, int, int]:
        """Names that suggest ids first, then text, then the fewest ids."""
        unnamed = sum(not named(column) for column in columns)
        numbers = sum(not is_text(self.sheet, column) for column in columns)
        return unnamed, numbers, count_distinct([codes_of[column] for column in columns])


def repeats_often(repeats: int, rows: int) -> bool:
    """Whether repeated times are so many that duplicated rows do not explain them."""
    return repeats >= max(_FEW_REPEATS * rows, _FEW)


def covers_span(rows: np.ndarray, span: np.ndarray) -> bool:
    """Whether each id has several rows, and few gaps in its span of moments."""
    return bool((rows >= _LEAST_ROWS).all() and (rows >= _COVERED * span).all())
