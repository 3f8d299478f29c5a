"""Columns that may contain ids: their names and types, and codes of their cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.series.sheet import Sheet

if TYPE_CHECKING:
    import pyarrow as pa

# fmt: off
ID_WORDS = frozenset((
    "account", "article", "branch", "brand", "city", "client", "country", "customer", "department", "dept", "device",
    "entity", "family", "id", "ids", "item", "location", "machine", "material", "meter", "outlet", "product", "region",
    "sensor", "series", "shop", "site", "sku", "station", "store", "symbol", "ticker", "uid", "user", "warehouse",
))
# fmt: on


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


def is_text(sheet: Sheet, column: str) -> bool:
    """Whether a column holds text that is no number."""
    import pyarrow as pa

    return pa.types.is_string(sheet.raw[column].type) and not _whole(sheet, column)


def _whole(sheet: Sheet, column: str) -> bool:
    pc = arrow_functions()

    cells = sheet.raw[column]
    pattern = r"^\s*\d+(\.0+)?\s*$"
    few = pc.match_substring_regex(cells[:100], pattern)
    return bool(pc.all(few).as_py() and pc.all(pc.match_substring_regex(cells, pattern)).as_py())


def codes_of_column(sheet: Sheet, column: str) -> np.ndarray:
    """A code per row, -1 where the cell is empty."""
    return codes_of_cells(sheet.raw[column])


def codes_of_cells(column: pa.ChunkedArray) -> np.ndarray:
    """The same of a column of cells."""
    import pyarrow as pa

    try:
        encoded = column.combine_chunks().dictionary_encode()
    except pa.ArrowNotImplementedError:  # lists and structures
        encoded = pa.array([str(cell) for cell in column.to_pylist()]).dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1), dtype=np.int64)


def ranks_of(values: np.ndarray) -> np.ndarray:
    """The rank of each value among the different ones."""
    return np.unique(values, return_inverse=True)[1]


def joint_codes(codes: Sequence[np.ndarray]) -> np.ndarray:
    """One code for each combination."""
    joint = codes[0]
    for more in codes[1:]:
        joint = ranks_of(joint * (int(more.max(initial=0)) + 2) + more)  # an empty cell is -1
    return joint


def count_distinct(codes: Sequence[np.ndarray]) -> int:
    """The number of combinations."""
    return len(np.unique(joint_codes(codes)))
