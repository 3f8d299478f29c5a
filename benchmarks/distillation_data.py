"""Short histories for ``distillation.py``: the last windows of a file before its test part, and the windows to score.

The test part is the last fifth of a file, or its last 48 horizons where that is less. Directly before it are two
horizons for validation, and before these the rows of N training windows, over all columns together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from students_judge import LatestWindows

from potstill.data.series.store import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.recipe import SeriesData

TEST_HORIZONS, VALIDATION_HORIZONS = 48, 2


@dataclass
class History:
    """A cut file: its data section, with the training windows, and the number of windows to score."""

    name: str
    windows: int
    data: dict[str, Any]

    @property
    def key(self) -> str:
        """Name of its files; seasonal naive errors, by which losses are scaled, depend on the length of the history."""
        return f"{self.name}-{self.windows}"

    def section(self) -> SeriesData:
        """The data section."""
        return SeriesData.model_validate(self.data)

    def scored(self, most: int) -> SeriesWindows:
        """The test windows to score: a horizon apart, at most ``most``."""
        section = self.section()
        windows = LatestWindows(open_store(section), section, "test", stride=1)
        windows.most = most
        return windows


def cut_history(name: str, source: Path, options: dict[str, Any], windows: int, folder: Path) -> History:
    """Write the short history of a file as CSV.

    Parameters
    ----------
    name, source
        The data set and its CSV file.
    options
        ``context_length``, ``prediction_length``, and ``without``: parts of the names of columns to leave out.
    windows
        Number of training windows.
    folder
        Where to write the file.
    """
    frame = pd.read_csv(source)
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
    data = {
        "paths": [str(path)],
        "split": f"{train}:{validation}:{test}",
        "context_length": context,
        "prediction_length": horizon,
        "train_windows": windows,
    }
    return History(name, windows, data)
