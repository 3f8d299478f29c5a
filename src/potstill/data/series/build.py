"""Building a store: one file after the other is read whole and its series appended to one flat file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from potstill.data.data_report import DataReport
from potstill.data.series.frames import LacksTarget, Series, Wanted, block_of
from potstill.data.series.readers import Sheet
from potstill.data.series.seasons import SAMPLE_SERIES, season
from potstill.errors import UserError

ARRAYS = ("offsets", "dataset_of", "season", "starts", "first_row", "grid_rows", "missing")
_TRAINING_SHARE = 0.7  # of each series may be asked for the season


class Input(NamedTuple):
    """A data set's name and how to read it; reading counts its repairs in the report given."""

    name: str
    read: Callable[[DataReport], Sheet]


class Builder:
    """Writes the files of a store into an empty folder: ``build`` does it all."""

    def __init__(self, folder: Path, wanted: Wanted):
        self.folder, self.wanted = folder, wanted
        self.report = DataReport()
        self.datasets: list[str] = []
        self.frequency: list[str] = []
        self.regular: list[bool] = []
        self.seasons: list[int] = []
        self.names: list[str] = []
        self.rows: list[tuple[int, int, int, int, int, int]] = []
        self.used_columns: set[str] = set()

    def build(self, inputs: Iterable[Input], fingerprint: str) -> None:
        """Read every input and write values, arrays and index.

        Raises
        ------
        UserError
            The first trouble where no file gave a series (else the file is left out and accounted for), or a target
            column that no file has.
        """
        troubles: list[UserError] = []
        with (self.folder / "values.f32").open("wb") as out:
            for item in inputs:
                try:
                    self._add(item, out)
                except UserError as trouble:
                    troubles.append(trouble)
                    self.report.add_dropped(item.name, str(trouble), kind="files")
        if not self.names:
            raise _nothing(troubles)
        for column in self.wanted.target or ():
            if column not in self.used_columns:
                known = ", ".join(sorted(self.used_columns))
                raise UserError(f"data.target: no usable file has a numeric column {column!r}; found: {known}.")
        self._write_index(fingerprint)

    def _add(self, item: Input, out: BinaryIO) -> None:
        report = DataReport()
        samples: list[np.ndarray] = []
        dataset = len(self.datasets)
        try:
            block = block_of(item.read(report), item.name, self.wanted, report)
            for series in block.series:
                if len(samples) < SAMPLE_SERIES:
                    samples.append(series.values[: int(_TRAINING_SHARE * len(series.values))].copy())
                out.write(series.values.tobytes())
                self._note(item.name, series, dataset, report)
        finally:
            self.report.add(report)
        self.used_columns.update(block.columns)
        self.datasets.append(item.name)
        self.frequency.append(block.step.alias)
        self.regular.append(block.regular)
        self.seasons.append(season(block.step, samples))
        self.report.add_used(files=1)

    def _note(self, file: str, series: Series, dataset: int, report: DataReport) -> None:
        missing = int(np.isnan(series.values).sum())
        self.names.append(f"{file}/{series.name}")
        self.rows.append((len(series.values), dataset, series.start, series.first_row, series.grid_rows, missing))
        report.add_used(series=1, rows=len(series.values), missing_values=missing)

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
        for name in ARRAYS:
            np.save(self.folder / f"{name}.npy", arrays[name], allow_pickle=False)
        index = {
            "names": self.names,
            "datasets": self.datasets,
            "frequency": self.frequency,
            "regular": self.regular,
            "fingerprint": fingerprint,
            "account": self.report.to_dict(),
        }
        (self.folder / "index.json").write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")


def _nothing(troubles: list[UserError]) -> UserError:
    """The sentence where no file gave a series: a missing target only counts where nothing else is wrong."""
    first = next((t for t in troubles if not isinstance(t, LacksTarget)), troubles[0])
    more = f" ({len(troubles) - 1} more file(s) cannot be used either.)" if len(troubles) > 1 else ""
    return UserError(f"{first}{more}")
