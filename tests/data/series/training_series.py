"""Three small data sets of seasonal series on disk, opened as real training windows."""

from pathlib import Path

import numpy as np
import pandas as pd

from potstill.data.series.opening import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.recipe import SeriesData

SIZES = {"a": 2000, "b": 400, "c": 140}


def small_windows(folder: Path, later: float | None = None, missing: float = 0.0, **config) -> SeriesWindows:
    """Windows of 64 + 16 steps, split 8:1:1; rows after the training part have the value ``later``, and a share
    of the values is missing."""
    rng = np.random.default_rng(0)
    (folder / "files").mkdir(parents=True, exist_ok=True)
    for name, n in SIZES.items():
        values = np.sin(np.arange(n) * 2 * np.pi / 24)[:, None] + rng.normal(size=(n, 2))
        if later is not None:
            values[int(n * 0.8) :] = later
        values[1:-1][rng.random((n - 2, 2)) < missing] = np.nan
        pd.DataFrame(values, columns=pd.Index(["x", "y"])).to_csv(folder / "files" / f"{name}.csv", index=False)
    lengths = {"context_length": 64, "prediction_length": 16, "split": "8:1:1"}
    data = SeriesData(**{"paths": [str(folder / "files")], **lengths, **config})
    return SeriesWindows(open_store(data, folder / "cache"), data, "train")
