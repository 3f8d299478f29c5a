"""The store: all series of the user's files in one flat, memory-mapped float32 file, built once per content."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.data import fingerprints
from potstill.data.cache import cache_folder, open_or_build
from potstill.data.data_report import DataReport
from potstill.data.files import DataSource, files_of, readable
from potstill.data.series.blocks.files import large_file
from potstill.data.series.blocks.refusal import NotInBlocks
from potstill.data.series.blocks.table import LargeFile
from potstill.data.series.build import STORE_ARRAYS, Builder, Input
from potstill.data.series.calendar import TimeStep
from potstill.data.series.columns import ColumnSelection
from potstill.data.series.covariates import CovariateNames, Covariates
from potstill.data.series.future_rows import FutureRows, future_rows, with_future
from potstill.data.series.grouping import SeriesGroups, series_groups
from potstill.data.series.in_memory import table_of
from potstill.data.series.keys import SeriesKeys
from potstill.data.series.nested import sheet_of_table
from potstill.data.series.readers import find_sources, read_sheet
from potstill.data.series.seasons import conventional, training_seasons
from potstill.data.series.sheet import Sheet, index_columns
from potstill.data.series.zones import stamps
from potstill.errors import UserError
from potstill.recipe import SeriesData

if TYPE_CHECKING:
    import pyarrow as pa

    from potstill.types import Windows

_LAYOUT = 4  # of a store's files; raise it when the same data is stored differently


@dataclass
class Store:
    """All series of a data set, S of them, one after the other in ``values``.

    Attributes
    ----------
    folder
        The store's folder; unpickling a store opens this folder again.
    values
        Flat float32 memory map in the units of the store, NaN where missing. The first and last value of a series are
        not missing; a series without any value has no rows.
    loc, scale
        ``[S]`` float64: ``loc + scale * values`` is the input; 0 and 1 for most series, see ``store_units``.
    offsets
        ``[S + 1]`` int64: series i is ``values[offsets[i]:offsets[i + 1]]``.
    names
        ``file/column`` (wide) or ``file/unique_id`` (long) of each series.
    datasets, dataset_of, frequency, regular
        One data set for each step in a file: its name (the file's, and the step if there are several), frequency alias
        (empty without time) and whether its rows are regular; ``dataset_of [S]`` int32 points into them.
    files
        The file of each data set.
    season
        ``[S]`` int32 season length in steps, inferred from the training part.
    starts
        ``[S]`` int64: microseconds since 1970 (UTC) of the first row, or its row number without time.
    first_row, grid_rows
        ``[S]`` int64: the grid row where the series begins, and the length of its grid.
    missing
        ``[S]`` int64 count of NaN.
    fingerprint
        sha256 over the files' content and the settings that select from it.
    report
        What was read, left out and repaired.
    skip
        ``S`` reasons why a series cannot be used for training (constant, too few values), empty for all others. Such
        series can be forecast, but no part of any split contains a row of them.
    barren
        The error message if no series can be used for training, else empty.
    train_only
        Files that have only a training part, whatever the split; chosen when the store is opened, not stored.
    keys
        What identifies the series and times in the user's tables.
    covariates
        Those of the series; None if the data section names none.
    groups
        Series that are forecast together; chosen when the store is opened, not stored.
    """

    folder: Path
    values: np.ndarray
    loc: np.ndarray
    scale: np.ndarray
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
    skip: list[str] = field(default_factory=list)
    barren: str = ""
    train_only: frozenset[str] = frozenset()
    files: list[str] = field(default_factory=list)
    keys: SeriesKeys = field(default_factory=SeriesKeys)
    covariates: Covariates | None = None
    groups: SeriesGroups | None = None

    def __post_init__(self) -> None:
        self.skip = self.skip or [""] * len(self)
        self.files = self.files or self.datasets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __reduce__(self) -> tuple[Callable[[Path, frozenset[str]], Store], tuple[Path, frozenset[str]], dict[str, Any]]:
        changed = {"skip": self.skip, "fingerprint": self.fingerprint, "season": self.season, "groups": self.groups}
        return Store.load, (self.folder, self.train_only), changed

    @property
    def lengths(self) -> np.ndarray:
        """``[S]`` rows of each series."""
        return np.diff(self.offsets)

    @property
    def zones(self) -> list[str]:
        """The time zone of each data set's timestamps, empty if they have none."""
        return [table.zone for table in self.keys.tables]

    @property
    def file_of(self) -> np.ndarray:
        """``[S]`` int32 number of the file of each series."""
        numbers = {name: number for number, name in enumerate(dict.fromkeys(self.files))}
        return np.array([numbers[name] for name in self.files], np.int32)[self.dataset_of]

    def series(self, i: int) -> np.ndarray:
        """Series i in the units of the store, a view of the memory map."""
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def release(self) -> None:
        """Give back the pages of the memory map that were read; they are read again when needed.

        They count as memory of the process until the system needs them. Called where whole series are read one by one.
        """
        pages = getattr(self.values, "_mmap", None)
        if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)

    def to_input_units(self, series: np.ndarray | int, values: np.ndarray) -> np.ndarray:
        """Convert values from the units of the store, such as forecasts of its windows, to those of the input.

        Parameters
        ----------
        series
            The series of each row of ``values``, ``[n]``, or one series for all of them.
        values
            ``[n, ...]``, or any shape for one series.

        Returns
        -------
        numpy.ndarray
            Float64, the shape of ``values``.
        """
        shape = np.shape(series) + (1,) * (np.ndim(values) - np.ndim(series))
        loc, scale = (units[series].reshape(shape) for units in (self.loc, self.scale))
        return np.asarray(values, np.float64) * scale + loc

    @property
    def rescaled(self) -> np.ndarray:
        """``[S]`` bool: series with an offset or a scale, whose values float32 cannot represent in input units."""
        return (self.loc != 0) | (self.scale != 1)

    def completed(self, windows: Windows) -> Windows:
        """The windows with their covariates and the other series of their groups."""
        if self.covariates is not None:
            windows = self.covariates.attach(windows)
        return windows if self.groups is None else self.groups.attach(self, windows)

    @property
    def usable(self) -> np.ndarray:
        """``[S]`` bool: False for series that cannot be used for training."""
        return np.array([not why for why in self.skip], bool)

    def only(self, series: Sequence[int] | np.ndarray) -> Store:
        """The same store with only these series for training, validation and test; the others are skipped."""
        chosen = set(map(int, series))
        skip = [why or ("" if i in chosen else "not in this group of series") for i, why in enumerate(self.skip)]
        key = hashlib.sha256(f"{self.fingerprint} {sorted(chosen)}".encode()).hexdigest()
        return replace(self, skip=skip, fingerprint=key)

    def training_report(self) -> DataReport:
        """The report for training: series that cannot be used are left out, with the reason."""
        report = self.report.copy()
        for i in np.flatnonzero(~self.usable):
            report.add_used(series=-1, rows=-self.lengths[i], missing_values=-self.missing[i])
            report.add_dropped(self.names[i], self.skip[i])
        return report

    def step(self, i: int) -> TimeStep:
        """The step of series i."""
        return self.step_of(self.dataset_of[i])

    def step_of(self, dataset: int) -> TimeStep:
        """The step of a data set."""
        return TimeStep.parse(self.frequency[dataset])

    def timestamps(self, i: int, first: int, count: int) -> np.ndarray:
        """Timestamps (datetime64[us] in UTC, or int64) of ``count`` rows of series i from row ``first``, also past its
        end; ``zones`` has the time zone to convert them to."""
        return stamps(self.step(i), self.zones[self.dataset_of[i]], int(self.starts[i]), first, count)

    @classmethod
    def load(cls, folder: Path, train_only: frozenset[str] = frozenset()) -> Store:
        """Open a finished store.

        Raises
        ------
        ValueError, OSError, KeyError
            The folder contains no complete store.
        """
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in STORE_ARRAYS}
        values = np.memmap(folder / "values.f32", dtype=np.float32, mode="r")
        if hasattr(mmap, "MADV_RANDOM"):
            # windows are read at random places: with 128 KB of read-ahead for 3 KB, the first batch can take seconds
            values._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
        count = len(index["names"])
        sizes = {name: count + (name == "offsets") for name in STORE_ARRAYS}
        if {name: len(array) for name, array in arrays.items()} != sizes or len(values) != arrays["offsets"][-1]:
            raise ValueError(f"{folder}: incomplete store")
        report = DataReport.from_dict(index.pop("account"))
        season = np.array([conventional(TimeStep.parse(alias)) or 1 for alias in index["frequency"]], np.int32)
        season = season[arrays["dataset_of"]]
        return cls(
            folder,
            values,
            season=season,
            report=report,
            train_only=train_only,
            keys=SeriesKeys.load(folder),
            covariates=Covariates.load(folder),
            **arrays,
            **index,
        )


def open_store(data: SeriesData, cache: Path | None = None, future: Any = None) -> Store:
    """Open the store of ``data.paths`` from the cache; build it there first if its content is new.

    Parameters
    ----------
    data
        ``paths``, ``exclude``, ``max_files``, ``target``, ``columns``, ``time_column``, ``date_format`` and ``freq``
        decide the content; lengths and splits do not. The season is inferred from the training part of ``split``.
    cache
        Default: ``$POTSTILL_CACHE`` or ``~/.cache/potstill/stores``. Its folders may be deleted at any time.
    future
        Known covariates after the last rows of the only file: a path, or a table in memory.

    Raises
    ------
    UserError
        The data has nothing usable, or the cache folder cannot be written.
    """
    file_report = DataReport()
    sources = find_sources(data.paths, data.exclude, data.max_files, file_report)
    folder = cache_folder(cache)
    files = [file for source in sources for file in files_of(source)]
    fingerprint = fingerprints.of_files(files, _options(data), folder)
    inputs = [
        Input(source.name, partial(_read, source, data.decimal), partial(_large, source, data.decimal))
        for source in sources
    ]
    store = _open_or_build(folder, fingerprint, inputs, _selection(data), future)
    store.report.add(file_report)
    store.train_only = _names_below(data, sources)
    return _opened(store, data)


def _names_below(data: SeriesData, sources: list[DataSource]) -> frozenset[str]:
    """The names of the files that ``data.train_only`` lists."""
    if not data.train_only:
        return frozenset()
    files = {source.path.resolve() for source in find_sources(data.train_only, data.exclude, None, DataReport())}
    return frozenset(source.name for source in sources if source.path.resolve() in files)


def store_from_frame(
    frame: Any, data: SeriesData, cache: Path | None = None, name: str = "frame", future: Any = None
) -> Store:
    """Open or build the store of data in memory: a frame or any other form of ``in_memory.table_of``.

    The settings of ``data`` that choose columns are used; the data set is named ``name``. ``future`` and errors are as
    in ``open_store``.
    """
    table = table_of(frame, name)
    index = {"index": columns} if (columns := index_columns(table)) else {}
    fingerprint = fingerprints.of_table(table, {**_options(data), "name": name, **index})
    inputs = [Input(name, partial(_read_table, table, name, data.decimal))]
    store = _open_or_build(cache_folder(cache), fingerprint, inputs, _selection(data), future)
    return _opened(store, data)


def _opened(store: Store, data: SeriesData) -> Store:
    """The store with what is not kept in its folder: seasons of the training part, and groups of series."""
    store.season = training_seasons(store, data.split)
    if data.groups is not None:
        store.groups = series_groups(store, data.groups)
        store.fingerprint = fingerprints.with_choices(store.fingerprint, [["groups", data.groups]])
    return store


def _selection(data: SeriesData) -> ColumnSelection:
    """The settings that select columns and say how to read them.

    Raises
    ------
    UserError
        The step is not a frequency of pandas.
    """
    try:
        step = TimeStep.parse(data.freq or "")
    except ValueError:
        step = TimeStep()
    if data.freq is not None and not step.timed:
        raise UserError(
            f"data.freq: {data.freq!r} is not a frequency of pandas; write one such as D, h, 15min, W-SUN, MS or ME.",
            key="data.unknown_freq",
        )
    return ColumnSelection(
        data.target,
        first=data.columns == "first",
        ids=data.id_column,
        covariates=CovariateNames(tuple(data.past), tuple(data.known)),
        time_column=data.time_column,
        date_format=data.date_format,
        freq=data.freq,
    )


def _options(data: SeriesData) -> dict[str, object]:
    """The settings that select from the files' content, as part of the fingerprint."""
    names = ("id_column", "decimal", "time_column", "date_format", "freq", "past", "known")
    given = {key: value for key in names if (value := getattr(data, key))}
    return {"target": data.target, **({"columns": data.columns} if data.columns != "all" else {}), **given}


def _read(source: DataSource, decimal: str | None, report: DataReport) -> Sheet:
    return replace(read_sheet(source.path, report, source.name), decimal=decimal or "")


def _large(source: DataSource, decimal: str | None) -> LargeFile | None:
    with readable(source.path):
        file = large_file(source.path)
    return LargeFile(file, decimal or "", str(source.path)) if file is not None else None


def _read_table(table: pa.Table, name: str, decimal: str | None, report: DataReport) -> Sheet:
    return replace(sheet_of_table(name, table, report, name), decimal=decimal or "")


def _read_with_future(data: Input, ahead: FutureRows, selection: ColumnSelection, report: DataReport) -> Sheet:
    return with_future(data.read(report), ahead.read(report), data.name, selection)


def _large_with_future(data: Input) -> None:
    if data.large() is not None:
        raise NotInBlocks("rows of --future follow it", "write them into the file, with empty targets")


def _open_or_build(
    cache: Path, fingerprint: str, inputs: list[Input], selection: ColumnSelection, future: Any
) -> Store:
    if future is not None:
        if len(inputs) != 1:
            raise UserError(
                f"--future: follows one table, and the data has {len(inputs)} files; forecast them one at a time.",
                key="future.several_tables",
            )
        ahead = future_rows(future, cache)
        reading = partial(_read_with_future, inputs[0], ahead, selection)
        inputs = [Input(inputs[0].name, reading, partial(_large_with_future, inputs[0]))]
        fingerprint = fingerprints.with_choices(fingerprint, [["future", ahead.fingerprint]])
    cache_key = fingerprints.of_layout(fingerprint, _LAYOUT)
    return open_or_build(cache, cache_key, _load, lambda folder: Builder(folder, selection).build(inputs, fingerprint))


def _load(folder: Path) -> Store | None:
    """The store in a folder; None if it is missing or incomplete."""
    try:
        return Store.load(folder)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
