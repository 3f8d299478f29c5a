"""Small data files, and a store of arrays in memory."""

from pathlib import Path

import numpy as np

from potstill.data.data_report import DataReport
from potstill.data.series.keys import SeriesKeys, TableKeys
from potstill.data.series.opening import open_store
from potstill.data.series.store import Store
from potstill.recipe import SeriesData


def opened(folder: Path, **config) -> Store:
    """Open all files below ``folder / "files"``, with the cache in ``folder / "cache"``."""
    return open_store(SeriesData(**{"paths": [str(folder / "files")], **config}), folder / "cache")


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file below ``folder / "files"``."""
    path = folder / "files" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def hourly(values, first: str = "2024-01-01", column: str = "y", step: str = "h") -> str:
    """A CSV file with a timestamp and one value per row."""
    stamps = np.datetime64(first, "s") + np.arange(len(values)) * np.timedelta64(1, step)
    rows = [f"{str(t).replace('T', ' ')},{v}\n" for t, v in zip(stamps, values, strict=True)]
    return f"date,{column}\n" + "".join(rows)


def store_of(series: list[np.ndarray], frequency: str = "h", datasets: list[str] | None = None) -> Store:
    """A store in memory: one data set for all series, or one per series if names are given."""
    count = len(series)
    zeros = np.zeros(count, np.int64)
    names = datasets or ["memory"]
    dataset_of = np.arange(count, dtype=np.int32) if datasets else zeros.astype(np.int32)
    lengths = np.array([len(x) for x in series], np.int64)
    return Store(
        folder=Path("nowhere"),
        values=np.concatenate(series).astype(np.float32),
        loc=np.zeros(count),
        scale=np.ones(count),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        names=[f"{names[d]}/{i}" for i, d in enumerate(dataset_of)],
        datasets=names,
        dataset_of=dataset_of,
        frequency=[frequency] * len(names),
        regular=[True] * len(names),
        season=np.full(count, 24, np.int32),
        starts=zeros,
        first_row=zeros,
        grid_rows=lengths,
        missing=np.array([np.isnan(x).sum() for x in series], np.int64),
        fingerprint="memory",
        report=DataReport(),
        keys=SeriesKeys([TableKeys()] * len(names), columns=["y"] * count),
    )
