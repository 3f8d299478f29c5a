"""What the cells of ``distillation.py`` train on and are scored on.

Scarce data: the last windows of a file before its test part, which is the last fifth of the file, or its last 48
horizons where that is less. Directly before it are two horizons for validation, and before these the rows of N training
windows, over all columns together. Other situations train on whole files and are scored on the last fifth of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from students_judge import LAST_FIFTH, SETS, LatestWindows, data_of

from potstill.data.series.opening import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.recipe import SeriesData

TEST_HORIZONS, VALIDATION_HORIZONS = 48, 2


@dataclass
class Scored:
    """A data set to score on.

    Attributes
    ----------
    name
        The data set.
    section
        Its data section.
    split
        The split whose test part is scored; the scale of the errors is from the training part of the section's split.
    """

    name: str
    section: SeriesData
    split: str

    @property
    def key(self) -> str:
        """Name of a teacher's result: the errors depend on the series and on their split."""
        return f"{Path(self.section.paths[0]).stem}-{self.section.prediction_length}"

    def test(self, most: int) -> SeriesWindows:
        """The windows to score: a horizon apart, at most ``most``."""
        section = self.section.model_copy(update={"split": self.split})
        windows = LatestWindows(open_store(section), section, "test", stride=1)
        windows.most = most
        return windows

    def train(self) -> SeriesWindows:
        """The training part, from which the scale of the errors follows."""
        return SeriesWindows(open_store(self.section), self.section, "train")


@dataclass
class Source:
    """What a cell trains on, the number of its windows (0: all), and what it is scored on."""

    name: str
    windows: int
    data: dict[str, Any]
    scored: list[Scored]


def cut_history(name: str, file: Path, options: Mapping[str, Any], windows: int, folder: Path) -> Source:
    """Write the short history of a file as CSV.

    Parameters
    ----------
    name, file
        The data set and its CSV file.
    options
        ``context_length``, ``prediction_length``, and ``without``: parts of the names of columns to leave out.
    windows
        Number of training windows.
    folder
        Where to write the file.
    """
    frame = pd.read_csv(file)
    without = options.get("without", [])
    frame = frame[[c for c in frame.columns if not any(part in c for part in without)]]
    context, horizon = options["context_length"], options["prediction_length"]
    columns = len(frame.columns) - 1
    test = min(len(frame) // 5, TEST_HORIZONS * horizon)
    validation = VALIDATION_HORIZONS * horizon
    train = min(context + horizon + -(-windows // columns) - 1, len(frame) - test - validation)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{windows}.csv"
    frame.tail(train + validation + test).to_csv(path, index=False)
    split = f"{train}:{validation}:{test}"
    data = {"paths": [str(path)], "split": split, "context_length": context, "prediction_length": horizon}
    scored = Scored(name, SeriesData.model_validate(data), split)
    return Source(name, windows, {**data, "train_windows": windows}, [scored])


def whole_files(name: str, about: Mapping[str, Any], files: Mapping[str, Any], data: Path, runs: Path) -> Source:
    """A source that trains on whole files.

    Parameters
    ----------
    name
        The situation.
    about
        ``data``: its data section, with paths relative to ``data`` or, as ``runs/…``, to ``runs``. ``scored``: a data
        set of the suite, ``suite`` or ``kept``.
    files
        The files that the embedded teacher never saw, with ``prediction_length`` and ``without``.
    data, runs
        The folders of the data and of this benchmark's files.
    """
    section = dict(about["data"])
    for key in ("paths", "train_only"):
        if key in section:
            section[key] = [str(_file(path, data, runs)) for path in section[key]]
    suite = [one for one in SETS if {"suite", one} & set(about["scored"])]
    scored = [Scored(one, data_of(one, data / "suite"), LAST_FIFTH) for one in suite]
    if "kept" in about["scored"]:
        scored += [_kept(one, file, data) for one, file in files.items() if file["folder"] == "corpus"]
    return Source(name, 0, section, scored)


def _kept(name: str, file: Mapping[str, Any], data: Path) -> Scored:
    """The last fifth of a file that the embedded teacher never saw, with the context of the suite."""
    path = data / file["folder"] / f"{name}.csv"
    columns = pd.read_csv(path, nrows=0).columns[1:]
    target = [column for column in columns if not any(part in column for part in file.get("without", []))]
    horizon = file.get("prediction_length", 96)
    section = SeriesData(
        paths=[str(path)], target=target, split=LAST_FIFTH, context_length=512, prediction_length=horizon
    )
    return Scored(name, section, LAST_FIFTH)


def _file(path: str, data: Path, runs: Path) -> Path:
    return runs / path.removeprefix("runs/") if path.startswith("runs/") else data / path
