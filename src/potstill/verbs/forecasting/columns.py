"""The columns that identify a forecast's rows: ids, file and times as the user's tables have them.

Tables that do not agree have their ids joined into the column ``unique_id``, and times in ``ds``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.series.keys import TIMESTAMP, as_numbers
from potstill.data.series.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

ID, TIME, FILE, TARGET = "unique_id", "ds", "file", "target_name"


class KeyColumns:
    """Makes the columns that identify the rows of some series.

    Parameters
    ----------
    store
        The series.
    joined_ids
        Whether ids of several columns, file and target are joined into one column, as libraries expect it.
    as_text
        Whether times are written as text, for CSV.

    Attributes
    ----------
    ids, time
        Names of the id columns and of the time column.
    file, target
        Whether series are of several files, and of several value columns of a long table; each has a column then.
    """

    def __init__(self, store: Store, joined_ids: bool, as_text: bool):
        self.store, self.as_text = store, as_text
        tables = store.keys.tables
        self.file, self.joined = len(set(store.files)) > 1, joined_ids
        self.own_ids = len({table.ids for table in tables}) == 1 and bool(tables[0].ids)
        if joined_ids and (len(tables[0].ids) > 1 or self.file):
            self.own_ids = False
        self.ids = list(tables[0].ids) if self.own_ids else [ID]
        self.target = any(table.ids and len(table.values) > 1 for table in tables)
        times = {table.time for table in tables}
        self.time = (times.pop() or TIME) if len(times) == 1 else TIME
        self.timed = self._timed()
        self.zone = self._zone()
        self.form = self._common("form")
        self.resolution = next((r for r in ("us", "s") if any(t.resolution == r for t in tables)), "day")

    def identity(self, rows: Sequence[int]) -> dict[str, pa.ChunkedArray | pa.Array]:
        """One value for each series: the file if there are several, the ids, and the value column."""
        import pyarrow as pa

        store = self.store
        files = [store.files[store.dataset_of[i]] for i in rows]
        columns: dict[str, Any] = {}
        if self.file and not self.joined:
            columns[_free(FILE, [*self.ids, self.time])] = pa.array(files)
        if self.own_ids:
            assert store.keys.ids is not None
            taken = store.keys.ids.take(np.asarray(rows))
            columns |= {name: taken[place] for place, name in enumerate(self.ids)}
        else:
            texts = [self._text(i) for i in rows]
            columns[self.ids[0]] = pa.array(
                [f"{file}/{text}" for file, text in zip(files, texts, strict=True)]
                if self.file and self.joined
                else texts
            )
        if self.target:
            columns[TARGET] = pa.array([store.keys.columns[i] for i in rows])
        return columns

    def stamps(self, i: int, first: int, count: int) -> np.ndarray:
        """Times (datetime64[us]) of ``count`` rows of series i from row ``first``; row numbers without times."""
        if not self.timed:
            return int(self.store.first_row[i]) + first + np.arange(count)
        if not self.store.grid_rows[i]:  # an id that stands in no row with a time
            return np.full(count, np.datetime64("NaT"), "M8[us]")
        return self.store.timestamps(i, first, count)

    def times(self, stamps: np.ndarray) -> pa.Array:
        """A time column in the form and type of the tables that were read."""
        import pyarrow as pa

        pc = arrow_functions()
        kind = self._common("type")
        if stamps.dtype.kind != "M":
            return _as_type(pa.array(stamps), kind)
        if self.form not in ("", TIMESTAMP):
            return _as_type(pa.array(as_numbers(stamps.astype(np.int64), self.form)), kind)
        times = pa.array(stamps)
        if self.as_text:
            return self._iso(times)
        if self.zone:
            times = times.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", self.zone))
        return pc.cast(times, _arrow_type(kind, self.zone), safe=False)

    def written(self, stamps: np.ndarray) -> list[str]:
        """Times as text, for messages."""
        import pyarrow as pa

        times = pa.array(stamps)
        return [str(one) for one in (self._iso(times) if stamps.dtype.kind == "M" else times).to_pylist()]

    def _iso(self, times: pa.Array) -> pa.Array:
        """ISO text: dates if every time of the tables is midnight, with the offset if they have a zone."""
        import pyarrow as pa

        pc = arrow_functions()
        if self.resolution == "day" and not self.zone:
            return pc.strftime(times, format="%Y-%m-%d")
        times = times.cast(pa.timestamp("us" if self.resolution == "us" else "s", "UTC"))
        if not self.zone:
            return pc.strftime(times, format="%Y-%m-%d %H:%M:%S")
        times = times.cast(pa.timestamp(times.type.unit, self.zone))
        return pc.replace_substring_regex(
            pc.strftime(times, format="%Y-%m-%d %H:%M:%S%z"), r"([+-]\d{2})(\d{2})$", r"\1:\2"
        )

    def _text(self, i: int) -> str:
        """The ids of a series as one text; in a wide table the name of its column."""
        keys = self.store.keys
        table = keys.tables[self.store.dataset_of[i]]
        if not table.ids:
            return keys.columns[i]
        assert keys.ids is not None
        return "/".join(str(keys.ids[place][i].as_py()) for place in range(len(table.ids)))

    def _timed(self) -> bool:
        store = self.store
        without = [name for name, step in zip(store.datasets, store.frequency, strict=True) if not step]
        if without and len(without) < len(store.datasets):
            warnings.warn(
                f"{without[0]} has no time column, so {self.time} holds row numbers for every series", stacklevel=2
            )
        return not without

    def _zone(self) -> str:
        zones = {table.zone for table in self.store.keys.tables}
        zone = zones.pop() if len(zones) == 1 else "" if "" in zones else "UTC"
        return "UTC" if zone in ("Z", "GMT") else zone

    def _common(self, name: str) -> str:
        """What all tables have in common; empty if they differ."""
        found = {getattr(table, name) for table in self.store.keys.tables}
        return found.pop() if len(found) == 1 else ""


def _arrow_type(kind: str, zone: str) -> pa.DataType:
    """The type of times of a column of this type; text becomes timestamps."""
    import pyarrow as pa

    if kind.startswith("date32"):
        return pa.date32()
    unit = kind.removeprefix("timestamp[").split("]")[0].split(",")[0] if kind.startswith("timestamp[") else "us"
    return pa.timestamp(unit, zone or None)


def _as_type(numbers: pa.Array, kind: str) -> pa.Array:
    """Whole numbers in the type of the column that was read, if they fit."""
    import pyarrow as pa

    try:
        return numbers.cast(pa.type_for_alias(kind))
    except (ValueError, pa.ArrowInvalid):  # text, or an unknown type
        return numbers


def _free(name: str, taken: Sequence[str]) -> str:
    return f"{name}_name" if name in taken else name
