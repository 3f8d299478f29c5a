"""The store: all series of the user's files in one flat, memory-mapped float32 file, built once per content."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.data.data_report import DataReport
from potstill.data.series.build import STORE_ARRAYS
from potstill.data.series.calendar import TimeStep
from potstill.data.series.covariates import Covariates
from potstill.data.series.grouping import SeriesGroups
from potstill.data.series.keys import SeriesKeys
from potstill.data.series.seasons import conventional
from potstill.data.series.zones import stamps

if TYPE_CHECKING:
    from potstill.types import Windows


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
