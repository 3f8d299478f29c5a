"""The two cases of the mixture benchmark: what general student and experts are trained on, and what is scored.

``suite``: the general student learns from the corpus, which holds nothing of the suite; experts by data set, of five of
the suite's; three data sets are unseen. ``frequency``: series of the embedded teacher's training data (so the teacher
has seen their test parts), one file per frequency; the general student learns from five of them, experts by frequency;
three frequencies are unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from potstill.runs import write_atomically

KEPT = [
    "vic_electricity",
    "us_gasoline",
    "bicimad_users",
    "jena_climate_subset",
    "tourism_monthly",
    "rds_cpu_utilization_e47b3b",
]
GENERATED = {"data.balance": 0.5, "data.synthetic": 0.35, "data.augmented": 0.4, "training.batch_size": 32}
STEPS = {"30T": "30min", "10T": "10min", "5T": "5min", "S": "s", "H": "h", "D": "D", "W": "W", "M": "MS"}
LONGEST = 20_000  # rows of a series; a longer one is cut to its newest rows
MOST = 1500  # series of a frequency


@dataclass(frozen=True)
class Case:
    """What is trained on and scored.

    Attributes
    ----------
    by
        What the experts are branched by.
    seen, unseen
        Data sets with an expert, and without.
    data
        Keys of the data section of all recipes: lengths and split.
    folder
        Where the data sets are, given the folder of data and the folder of the runs.
    suffix
        Of their files.
    corpus, excluded
        Whether the general student learns from the corpus, without these files; otherwise from the data sets with an
        expert.
    """

    by: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    data: dict[str, Any]
    folder: Callable[[Path, Path], Path]
    suffix: str
    corpus: bool = False
    excluded: list[str] = field(default_factory=list)

    def files(self, names: tuple[str, ...], data: Path, runs: Path) -> list[str]:
        """Paths of data sets."""
        folder = self.folder(data, runs)
        return [str(folder / f"{name}{self.suffix}") for name in names]

    def general(self, data: Path, runs: Path) -> dict[str, Any]:
        """Data keys of the general student."""
        if self.corpus:
            return {**GENERATED, "data.paths": [str(data / "corpus")], "data.exclude": self.excluded}
        return {**GENERATED, "data.paths": self.files(self.seen, data, runs)}

    def everything(self, data: Path, runs: Path) -> dict[str, Any]:
        """Data keys of a dense student: what general student and experts learn from."""
        seen = self.files(self.seen, data, runs)
        return {**self.general(data, runs), "data.paths": [*([str(data / "corpus")] if self.corpus else []), *seen]}


def frequencies(data: Path, runs: Path) -> Path:
    """Write a Parquet file per frequency, once; the archive has no times, so every series starts in 2000."""
    folder = runs / "frequencies"
    wanted = CASES["frequency"].seen + CASES["frequency"].unseen
    if all((folder / f"{name}.parquet").exists() for name in wanted):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(data / "pretrain" / "series.npz", allow_pickle=False) as file:
        values, offsets, steps = (file[key] for key in ("values", "offsets", "freq"))
    for name in wanted:
        numbers = np.flatnonzero(steps == name)
        numbers = numbers[np.diff(offsets)[numbers] >= 120]
        chosen = np.random.default_rng(0).permutation(numbers)[:MOST]
        table = pd.concat([_series(values[offsets[i] : offsets[i + 1]][-LONGEST:], STEPS[name], i) for i in chosen])
        write_atomically(folder / f"{name}.parquet", table.to_parquet(index=False))
    return folder


def _series(values: np.ndarray, step: str, number: int) -> pd.DataFrame:
    times = pd.date_range("2000-01-01", periods=len(values), freq=step)
    return pd.DataFrame({"unique_id": f"s{number}", "timestamp": times, "y": values})


CASES = {
    "suite": Case(
        by="domain",
        seen=("ETTh1", "tetuan_power", "metro_traffic_regular", "beijing_pm25", "cloud_cpu"),
        unseen=("bike_sharing", "saugeen_river", "fred_md"),
        data={"context_length": 512, "prediction_length": 96, "split": "suite"},
        folder=lambda data, runs: data / "suite",
        suffix=".csv",
        corpus=True,
        excluded=[*KEPT, "ETTm1"],
    ),
    "frequency": Case(
        by="frequency",
        seen=("M", "W", "D", "H", "30T"),
        unseen=("S", "5T", "10T"),
        data={"context_length": 256, "prediction_length": 24, "split": "3:1:1"},
        folder=frequencies,
        suffix=".parquet",
    ),
}
