"""The store: every series of the user's files in one flat, memory-mapped float32 file, built once per content."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from potstill.data import fingerprints
from potstill.data.cache import cache_folder, open_or_build
from potstill.data.data_report import DataReport
from potstill.data.files import Source
from potstill.data.series.build import ARRAYS, Builder, Input
from potstill.data.series.calendar import Step
from potstill.data.series.columns import Wanted
from potstill.data.series.readers import Sheet, distinct, find_sources, plain, read_sheet
from potstill.errors import UserError
from potstill.recipe import DataConfig

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass
class Store:
    """All series of a data set, S of them, one after the other in ``values``.

    Attributes
    ----------
    folder
        Where it lies; a pickled store is opened there again.
    values
        Flat float32 memory map, NaN where missing. Each series begins and ends with a known value.
    offsets
        ``[S + 1]`` int64: series i is ``values[offsets[i]:offsets[i + 1]]``.
    names
        ``file/column`` (wide) or ``file/unique_id`` (long) of each series.
    datasets, dataset_of, frequency, regular
        One data set per file: its name, frequency alias (empty without time) and whether rows keep to it;
        ``dataset_of [S]`` int32 points into them.
    season
        ``[S]`` int32 steps.
    starts
        ``[S]`` int64: microseconds since 1970 of the first row, or its number where there is no time.
    first_row, grid_rows
        ``[S]`` int64: the row of the file's grid where the series begins, and that grid's length.
    missing
        ``[S]`` int64 count of NaN.
    fingerprint
        sha256 over the files' content and what was asked of it.
    report
        What was used, left out and repaired.
    """

    folder: Path
    values: np.ndarray
    offsets: np.ndarray
    names: list[str]
    datasets: list[str]
    dataset_of: np.ndarray
    frequency: list[str]
    regular: list[bool]
    season: np.ndarray
    starts: np.ndarray
    first_row: np.ndarray
    grid_rows: np.ndarray
    missing: np.ndarray
    fingerprint: str
    report: DataReport

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __reduce__(self) -> tuple[Callable[[Path], Store], tuple[Path]]:
        return Store.load, (self.folder,)

    @property
    def lengths(self) -> np.ndarray:
        """``[S]`` rows of each series."""
        return np.diff(self.offsets)

    @property
    def file_of(self) -> np.ndarray:
        """``[S]`` int32 file of each series; a file is a data set."""
        return self.dataset_of

    def series(self, i: int) -> np.ndarray:
        """Series i, a view of the memory map."""
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def step(self, i: int) -> Step:
        """The step of series i."""
        return self.step_of(self.dataset_of[i])

    def step_of(self, dataset: int) -> Step:
        """The step of a data set."""
        return Step.parse(self.frequency[dataset])

    def timestamps(self, i: int, first: int, count: int) -> np.ndarray:
        """Stamps (datetime64[us] or int64) of ``count`` rows of series i from row ``first``, past its end too."""
        return self.step(i).stamps(int(self.starts[i]), first, count)

    @classmethod
    def load(cls, folder: Path) -> Store:
        """Open a finished store.

        Raises
        ------
        ValueError, OSError, KeyError
            The folder holds no whole store.
        """
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in ARRAYS}
        values = np.memmap(folder / "values.f32", dtype=np.float32, mode="r")
        if hasattr(mmap, "MADV_RANDOM"):
            # windows are read here and there: read-ahead of 128 KB around 3 KB makes a cold first batch take seconds
            values._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
        count = len(index["names"])
        sizes = {name: count + (name == "offsets") for name in ARRAYS}
        if {name: len(array) for name, array in arrays.items()} != sizes or len(values) != arrays["offsets"][-1]:
            raise ValueError(f"{folder}: incomplete store")
        report = DataReport.from_dict(index.pop("account"))
        return cls(folder=folder, values=values, report=report, **arrays, **index)


def open_store(data: DataConfig, cache: Path | None = None) -> Store:
    """The store of ``data.paths``: opened from the cache, or built there first when its content is new.

    Parameters
    ----------
    data
        ``paths``, ``exclude``, ``max_files``, ``target`` and ``columns`` decide the content; lengths and splits do not.
    cache
        Default: ``$POTSTILL_CACHE`` or ``~/.cache/potstill/stores``. Its folders may be deleted at any time.

    Raises
    ------
    UserError
        Nothing usable in the data, or a cache folder that cannot be written.
    """
    found = DataReport()
    sources = find_sources(data.paths, data.exclude, data.max_files, found)
    folder = cache_folder(cache)
    fingerprint = fingerprints.of_files(sources, _options(data), folder)
    inputs = [Input(source.name, partial(_read, source)) for source in sources]
    store = _built(folder, fingerprint, inputs, _wanted(data))
    store.report.add(found)
    return store


def store_from_frame(frame: pd.DataFrame, data: DataConfig, cache: Path | None = None, name: str = "frame") -> Store:
    """The store of a pandas frame: wide (a column or index of time, numeric columns) or long (``unique_id, ds, y``).

    ``data.target`` and ``data.columns`` are heeded; the data set is called ``name``. Raises UserError like
    ``open_store``.
    """
    table = _table_of(frame, name)
    fingerprint = fingerprints.of_table(table, {**_options(data), "name": name})
    return _built(cache_folder(cache), fingerprint, [Input(name, lambda report: Sheet(name, table))], _wanted(data))


def _wanted(data: DataConfig) -> Wanted:
    return Wanted(data.target, first=data.columns == "first")


def _options(data: DataConfig) -> dict[str, object]:
    """What is asked of the files' content, as it goes into the fingerprint."""
    return {"target": data.target, **({"columns": data.columns} if data.columns != "all" else {})}


def _read(source: Source, report: DataReport) -> Sheet:
    return read_sheet(source.path, report, source.name)


def _table_of(frame: pd.DataFrame, name: str) -> pa.Table:
    import pandas as pd
    import pyarrow as pa

    frame = frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
    frame = frame.set_axis(distinct([str(column) for column in frame.columns], DataReport(), name), axis=1)
    periods = {c: frame[c].dt.to_timestamp() for c in frame.columns if isinstance(frame[c].dtype, pd.PeriodDtype)}
    try:
        table = pa.Table.from_pandas(frame.assign(**periods), preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{name}: a column of the frame mixes types ({reason}); convert it to numbers.") from None
    if not table.num_rows:
        raise UserError(f"{name}: the frame holds no rows; give one with data.")
    return plain(table)


def _built(cache: Path, fingerprint: str, inputs: list[Input], wanted: Wanted) -> Store:
    return open_or_build(cache, fingerprint, _finished, lambda aside: Builder(aside, wanted).build(inputs, fingerprint))


def _finished(folder: Path) -> Store | None:
    """The store in a folder; None where there is none or it is torn."""
    try:
        return Store.load(folder)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
