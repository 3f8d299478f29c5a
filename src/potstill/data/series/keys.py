"""How a user's table identifies its series and times: names, types and values, so that a forecast can be joined to it.

The store keeps times as microseconds since 1970 (in UTC if the table has a time zone) and series by position.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.series.calendar import DAY, SECOND
from potstill.data.series.sheet import Sheet
from potstill.data.series.times import Times

if TYPE_CHECKING:
    import pyarrow as pa

KEYS_FILE, TABLES_FILE = "keys.arrow", "keys.json"
TIMESTAMP = "timestamp"
#: whole numbers that are times: the microseconds in one unit of an epoch, and the formats of dates
EPOCHS = {"s": SECOND, "ms": 1000, "us": 1, "ns": None}
DATE_FORMATS = ("%Y%m%d", "%Y%m", "%Y")
_WHOLE = r"^(0|-?[1-9]\d{0,17})$"
_COLUMN = "column"


@dataclass(frozen=True)
class TableKeys:
    """The columns of one data set.

    Attributes
    ----------
    ids
        Names of the id columns; empty for a wide table, where the name of a value column identifies a series.
    values
        Names of the columns that are forecast.
    time
        Name of the time column; empty without one.
    form
        How times are written: ``timestamp``; for whole numbers an epoch's unit (a key of ``EPOCHS``) or one of
        ``DATE_FORMATS``; empty if they are no dates.
    type
        Arrow type of the time column, such as ``timestamp[ns]``, ``date32[day]``, ``int64``; ``string`` for text.
    zone
        Time zone, empty without one.
    resolution
        ``day`` if all times are midnight, ``s`` if they are whole seconds, else ``us``.
    """

    ids: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    time: str = ""
    form: str = ""
    type: str = ""
    zone: str = ""
    resolution: str = "day"


def table_keys(
    sheet: Sheet, ids: Sequence[str], values: Sequence[str], time: str | None, times: Times | None
) -> TableKeys:
    """Describe the columns of a table that was read."""
    if time is None or times is None:
        return TableKeys(tuple(ids), tuple(values))
    cells = sheet.table[time]
    form = "" if times.counter else _form(cells, times)
    return TableKeys(
        tuple(ids), tuple(values), time, form, str(cells.type), times.zone, _resolution(times.micros[times.valid])
    )


def ids_of_series(sheet: Sheet, ids: Sequence[str], codes: np.ndarray) -> pa.Table:
    """The id columns' values of each series, from ``codes [rows]`` (-1: no series). Whole numbers of a text file become
    integers, as in other readers; numbers with leading zeros stay text."""
    import pyarrow as pa

    pc = arrow_functions()
    found, first = np.unique(codes, return_index=True)
    table = sheet.raw.select(list(ids)).take(pa.array(first[found >= 0]))
    for i, name in enumerate(ids):
        cells = table[name]
        text = sheet.header_lines is not None and pa.types.is_string(cells.type)
        if text and pc.all(pc.match_substring_regex(cells, _WHOLE)).as_py():
            table = table.set_column(i, name, cells.cast(pa.int64()))
    return table


@dataclass
class SeriesKeys:
    """The keys of all S series of a store.

    Attributes
    ----------
    tables
        One for each data set.
    ids
        ``S`` rows: the values of the id columns, by position. Null beyond the number of a data set's id columns. A
        column that has different types in several data sets is text.
    columns
        ``S`` names of the value columns.
    """

    tables: list[TableKeys] = field(default_factory=list)
    ids: pa.Table | None = None
    columns: list[str] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write into a store's folder."""
        import pyarrow as pa
        import pyarrow.feather as feather

        assert self.ids is not None
        feather.write_feather(self.ids.append_column(_COLUMN, pa.array(self.columns)), folder / KEYS_FILE, "lz4")
        tables = [asdict(table) for table in self.tables]
        (folder / TABLES_FILE).write_text(json.dumps(tables, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> SeriesKeys:
        """Read from a store's folder."""
        import pyarrow.feather as feather

        table = feather.read_table(folder / KEYS_FILE)
        trees = json.loads((folder / TABLES_FILE).read_text(encoding="utf-8"))
        tables = [TableKeys(tuple(tree.pop("ids")), tuple(tree.pop("values")), **tree) for tree in trees]
        return cls(tables, table.drop_columns([_COLUMN]), table[_COLUMN].to_pylist())


def joined(tables: Sequence[pa.Table], rows: Sequence[int]) -> pa.Table:
    """One table of the id columns of several data sets, each with ``rows`` rows; see ``SeriesKeys.ids``."""
    import pyarrow as pa

    places = range(max((table.num_columns for table in tables), default=0))
    columns = {}
    for place in places:
        types = {table[place].type for table in tables if table.num_columns > place}
        kind = types.pop() if len(types) == 1 else pa.string()
        parts = [
            table[place].cast(kind) if table.num_columns > place else pa.chunked_array([pa.nulls(count, kind)])
            for table, count in zip(tables, rows, strict=True)
        ]
        columns[str(place)] = pa.chunked_array([chunk for part in parts for chunk in part.chunks], kind)
    # a table without columns has no rows: the number of rows is that of its list of names
    return pa.table(columns) if columns else pa.table({"0": pa.nulls(sum(rows), pa.string())})


def _form(cells: pa.ChunkedArray, times: Times) -> str:
    """How the times are written, found by comparing the cells with what was read from them."""
    import pyarrow as pa

    pc = arrow_functions()
    kind = cells.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return TIMESTAMP
    try:
        numbers = pc.cast(pc.cast(cells, pa.float64(), safe=False).fill_null(0), pa.int64())
    except pa.ArrowInvalid:
        return TIMESTAMP
    written, micros = np.asarray(numbers)[times.valid][:1000], times.micros[times.valid][:1000]
    forms = (*EPOCHS, *DATE_FORMATS)
    return next((form for form in forms if np.array_equal(as_numbers(micros, form), written)), TIMESTAMP)


def as_numbers(micros: np.ndarray, form: str) -> np.ndarray:
    """Microseconds ``[N]`` as whole numbers of an epoch or of a date format."""
    if form == "ns":
        return micros * 1000
    if form in EPOCHS:
        return micros // EPOCHS[form]
    months = micros.astype("M8[us]").astype("M8[M]")
    days = (micros.astype("M8[us]").astype("M8[D]") - months.astype("M8[D]")).astype(np.int64) + 1
    year, month = np.divmod(months.astype(np.int64), 12)
    year, month = year + 1970, month + 1
    return {"%Y": year, "%Y%m": 100 * year + month, "%Y%m%d": 10_000 * year + 100 * month + days}[form]


def _resolution(micros: np.ndarray) -> str:
    if not (micros % DAY).any():
        return "day"
    return "us" if (micros % SECOND).any() else "s"
