"""Find the id column of a long table, in which several series are stacked, if its name does not identify it.

Repeated times show that a table is long. The id column is then one with which no time repeats within an id. If that
takes two columns, it is an error: merging several series into one would be silently wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport
from potstill.data.series.readers import Sheet
from potstill.data.series.times import Times
from potstill.errors import UserError

# fmt: off
ID_WORDS = frozenset((
    "account", "article", "branch", "brand", "city", "client", "country", "customer", "department", "dept", "device",
    "entity", "family", "id", "ids", "item", "location", "machine", "material", "meter", "outlet", "product", "region",
    "sensor", "series", "shop", "site", "sku", "station", "store", "symbol", "ticker", "uid", "user", "warehouse",
))
# fmt: on
_FEW_REPEATS = 0.1  # of the rows: below this share, duplicated rows explain repeated times as well as ids do
_COVERED, _LEAST_ROWS = 0.8, 3  # then an id needs this share of rows in its time span, and this many rows
_MOST_COLUMNS = 12  # pairs of at most this many columns are tried


def find_identity(
    sheet: Sheet, times: Times | None, declared: str | None, candidates: Sequence[str], name: str, report: DataReport
) -> str | None:
    """The id column: the one declared by its name, else one that explains why times repeat; None if no time repeats.

    Parameters
    ----------
    declared
        The column whose name (``unique_id``, ``item_id``) declares it as the id column.
    candidates
        Columns that may contain ids: text, and whole numbers with a name like ``store`` or ``sku_id``.

    Raises
    ------
    UserError
        Only two columns together identify the series.
    """
    if times is None or not candidates or (declared is None and _ascending(times)):
        return declared
    rows = np.flatnonzero(times.valid if declared is None else times.valid & (_codes(sheet, declared) >= 0))
    moments = _ranks(times.micros[rows])
    codes_of = {column: _codes(sheet, column)[rows] for column in [*([declared] if declared else []), *candidates]}
    repeats = len(rows) - _distinct([moments] if declared is None else [codes_of[declared], moments])
    often = repeats >= _FEW_REPEATS * len(rows)
    if declared is None and repeats:
        column = _best(codes_of, moments)
        if column is not None and (often or _has_stretches(column, codes_of[column], moments)):
            report.add_note(
                f"{name}: times repeat, and column {column!r} identifies the series: it is used as the id column"
            )
            return column
    if often:
        _check_pairs(sheet, codes_of, declared, moments)
    return declared


def _check_pairs(sheet: Sheet, codes_of: dict[str, np.ndarray], declared: str | None, moments: np.ndarray) -> None:
    """Raise an error if only two columns together identify the series: merging several series would be wrong."""
    for pair in combinations(list(codes_of)[:_MOST_COLUMNS], 2):
        if declared in (None, pair[0]) and _identifies(_joint([codes_of[column] for column in pair]), moments):
            raise UserError(
                f"{sheet.label}: several series are in one table, and only the columns {pair[0]!r} and"
                f" {pair[1]!r} together identify them; join the two into one column named unique_id.",
                key="data.ids_in_two_columns",
            )


def named(column: str) -> bool:
    """Whether a column's name suggests ids: ``sku``, ``StoreID``, ``item_id``, ``store_nbr``."""
    words = re.split(r"[^a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", column).lower())
    return any(word in ID_WORDS or (word.removesuffix("id") in ID_WORDS) for word in words)


def _best(codes_of: dict[str, np.ndarray], moments: np.ndarray) -> str | None:
    """Among the columns with which no time repeats: prefer a name that suggests ids, then the fewest ids."""
    fitting = [column for column, codes in codes_of.items() if _identifies(codes, moments)]
    return min(fitting, key=lambda column: (not named(column), _distinct([codes_of[column]])), default=None)


def _identifies(codes: np.ndarray, moments: np.ndarray) -> bool:
    """Whether no time repeats within an id, and ids have at least two rows on average (row numbers do not)."""
    return 2 * _distinct([codes]) <= len(codes) and _distinct([codes, moments]) == len(codes)


def _has_stretches(column: str, codes: np.ndarray, moments: np.ndarray) -> bool:
    """Whether ids explain rarely repeated times better than duplicated rows do.

    They do if the column's name suggests ids, or if the rows of each id cover its time span with few gaps.
    """
    if (codes < 0).any():
        return False
    if named(column):
        return True
    order = np.lexsort((moments, codes))
    first = np.flatnonzero(np.diff(codes[order], prepend=-1))
    last = np.append(first[1:], len(order)) - 1
    rows = last - first + 1
    span = moments[order][last] - moments[order][first] + 1
    return bool((rows >= _LEAST_ROWS).all() and (rows >= _COVERED * span).all())


def may_be_ids(sheet: Sheet, column: str, numeric: bool) -> bool:
    """Whether a column may contain ids: text, or whole numbers in a column whose name suggests ids."""
    import pyarrow as pa

    kind = sheet.table[column].type
    if pa.types.is_integer(kind):
        return named(column)
    return pa.types.is_string(kind) and (not numeric or (named(column) and _whole(sheet, column)))


def _whole(sheet: Sheet, column: str) -> bool:
    pc = arrow_functions()

    return bool(pc.all(pc.match_substring_regex(pc.utf8_trim_whitespace(sheet.table[column]), r"^\d+$")).as_py())


def _codes(sheet: Sheet, column: str) -> np.ndarray:
    """A code per row, -1 where the cell is empty."""
    encoded = sheet.table[column].combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1), dtype=np.int64)


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
