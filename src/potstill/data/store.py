"""The store: every series of the user's files in one flat, memory-mapped float32 file, built once per content."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.data import fingerprints
from potstill.data.account import Account
from potstill.data.calendar import Step
from potstill.data.frames import LacksTarget, Series, block_of
from potstill.data.readers import Sheet, find_sources, read_sheet
from potstill.data.seasons import SAMPLE_SERIES, season
from potstill.errors import UserError
from potstill.recipe import DataConfig
from potstill.runs import write_folder

if TYPE_CHECKING:
    import pandas as pd

_TRAINING_SHARE = 0.7  # what the season may be asked of: no split in use trains on less
_ARRAYS = ("offsets", "dataset_of", "season", "starts", "first_row", "grid_rows", "missing")


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
    account
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
    account: Account

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
        arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in _ARRAYS}
        values = np.memmap(folder / "values.f32", dtype=np.float32, mode="r")
        if len(values) != arrays["offsets"][-1] or len(index["names"]) != len(arrays["offsets"]) - 1:
            raise ValueError(f"{folder}: incomplete store")
        account = Account.from_dict(index.pop("account"))
        return cls(folder=folder, values=values, account=account, **arrays, **index)


def open_store(data: DataConfig, cache: Path | None = None) -> Store:
    """The store of ``data.paths``: opened from the cache, or built there first when its content is new.

    Parameters
    ----------
    data
        ``paths``, ``exclude``, ``max_files`` and ``target`` decide the content; lengths and splits do not.
    cache
        Default: ``$POTSTILL_CACHE`` or ``~/.cache/potstill/stores``.

    Raises
    ------
    UserError
        Nothing usable in the data, or a cache folder that cannot be written.
    """
    account = Account()
    sources = find_sources(data.paths, data.exclude, data.max_files, account)
    options = {"target": data.target, "left_out": account.to_dict()}
    cache = _cache_folder(cache)
    fingerprint = fingerprints.of_files(sources, options, cache)

    def sheets() -> Iterable[tuple[str, Callable[[], Sheet]]]:
        return ((s.name, lambda s=s: read_sheet(s.path, account, s.name)) for s in sources)

    return _open_or_build(cache, fingerprint, sheets, data.target, account)


def store_from_frame(frame: pd.DataFrame, data: DataConfig, cache: Path | None = None, name: str = "frame") -> Store:
    """The store of a pandas frame: wide (a column or index of time, numeric columns) or long (``unique_id, ds, y``).

    ``data.target`` is heeded; the data set is called ``name``. Raises UserError like ``open_store``.
    """
    import pyarrow as pa

    account = Account()
    try:
        table = pa.Table.from_pandas(frame.reset_index() if _index_holds_data(frame) else frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise UserError(
            f"{name}: the frame mixes types in a column ({str(error).splitlines()[0]}); convert it."
        ) from None
    if not table.num_rows:
        raise UserError(f"{name}: the frame holds no rows.")
    table = table.rename_columns([str(column) for column in table.column_names])
    fingerprint = fingerprints.of_table(table, {"target": data.target, "name": name})
    return _open_or_build(
        _cache_folder(cache), fingerprint, lambda: [(name, lambda: Sheet(name, table))], data.target, account
    )


def _index_holds_data(frame: pd.DataFrame) -> bool:
    import pandas as pd

    return not isinstance(frame.index, pd.RangeIndex)


def _cache_folder(cache: Path | None) -> Path:
    chosen = cache or os.environ.get("POTSTILL_CACHE") or Path.home() / ".cache" / "potstill" / "stores"
    return Path(chosen).expanduser()


def _open_or_build(
    cache: Path,
    fingerprint: str,
    sheets: Callable[[], Iterable[tuple[str, Callable[[], Sheet]]]],
    target: list[str] | None,
    account: Account,
) -> Store:
    folder = cache / fingerprint[:32]
    try:
        return Store.load(folder)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or torn: build it
    try:
        cache.mkdir(parents=True, exist_ok=True)
        write_folder(folder, lambda aside: _Builder(aside, target, account).build(sheets(), fingerprint))
    except OSError as error:
        try:
            return Store.load(folder)  # another process was quicker
        except (OSError, ValueError, KeyError, TypeError):
            reason = error.strerror or error
            raise UserError(
                f"{cache}: the prepared data cannot be written there ({reason}); set POTSTILL_CACHE to "
                "a folder with space."
            ) from None
    return Store.load(folder)


class _Builder:
    """Reads one file after the other and appends its series to ``values.f32``."""

    def __init__(self, folder: Path, target: list[str] | None, account: Account):
        self.folder, self.target, self.account = folder, target, account
        self.datasets: list[str] = []
        self.frequency: list[str] = []
        self.regular: list[bool] = []
        self.seasons: list[int] = []
        self.names: list[str] = []
        self.rows: list[tuple[int, int, int, int, int, int]] = []
        self.known: dict[str, None] = {}

    def build(self, sheets: Iterable[tuple[str, Callable[[], Sheet]]], fingerprint: str) -> None:
        """Write all files of the store.

        Raises
        ------
        UserError
            The first trouble, where no file gave a series; else a file in trouble is left out and accounted for.
        """
        troubles: list[UserError] = []
        with (self.folder / "values.f32").open("wb") as out:
            for name, read in sheets:
                try:
                    self._add(name, read(), out)
                except UserError as trouble:
                    troubles.append(trouble)
                    self.account.add_dropped(name, str(trouble), kind="files")
        if not self.names:
            raise self._nothing(troubles)
        self._write_index(fingerprint)

    def _add(self, name: str, sheet: Sheet, out: Any) -> None:
        block = block_of(sheet, name, self.target, self.account)
        samples: list[np.ndarray] = []
        dataset = len(self.datasets)
        for series in block.series:
            if len(samples) < SAMPLE_SERIES:
                samples.append(series.values[: int(_TRAINING_SHARE * len(series.values))].copy())
            out.write(series.values.tobytes())
            self._note(name, series, dataset)
        self.datasets.append(name)
        self.frequency.append(block.step.alias)
        self.regular.append(block.regular)
        self.seasons.append(season(block.step, samples))
        self.account.add_used(files=1)

    def _note(self, file: str, series: Series, dataset: int) -> None:
        missing = int(np.isnan(series.values).sum())
        self.names.append(f"{file}/{series.name}")
        self.rows.append((len(series.values), dataset, series.start, series.first_row, series.grid_rows, missing))
        self.account.add_used(series=1, rows=len(series.values), missing_values=missing)

    def _nothing(self, troubles: list[UserError]) -> UserError:
        lacking = [t for t in troubles if isinstance(t, LacksTarget)]
        if lacking and len(lacking) == len(troubles):
            return lacking[0]
        first = next(t for t in troubles if not isinstance(t, LacksTarget))
        more = f" ({len(troubles) - 1} more file(s) cannot be used either.)" if len(troubles) > 1 else ""
        return UserError(f"{first}{more}")

    def _write_index(self, fingerprint: str) -> None:
        length, dataset_of, starts, first_row, grid_rows, missing = np.array(self.rows, dtype=np.int64).T
        arrays = {
            "offsets": np.concatenate([[0], np.cumsum(length)]),
            "dataset_of": dataset_of.astype(np.int32),
            "season": np.array(self.seasons, dtype=np.int32)[dataset_of],
            "starts": starts,
            "first_row": first_row,
            "grid_rows": grid_rows,
            "missing": missing,
        }
        for name, array in arrays.items():
            np.save(self.folder / f"{name}.npy", array, allow_pickle=False)
        index = {
            "names": self.names,
            "datasets": self.datasets,
            "frequency": self.frequency,
            "regular": self.regular,
            "fingerprint": fingerprint,
            "account": self.account.to_dict(),
        }
        (self.folder / "index.json").write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")
