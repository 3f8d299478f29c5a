"""The commands on public tables as they are: every series comes out, at the times that pandas gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import potstill
from potstill.families.base import Forecaster

STEPS = 5
ROWS = 3000  # of long tables, so that the tests are fast
#: file, step, and the columns that are no numbers to forecast
TABLES = [
    ("suite/saugeen_river", "D"),
    ("suite/fred_md", "MS"),
    ("suite/ETTh1", "h"),
    ("suite/bike_sharing", "h"),
    ("corpus/tourism_monthly", "MS"),
    ("corpus/us_gasoline", "W-FRI"),
    ("corpus/vic_electricity", "30min"),
    ("corpus/traffic_weekly", "W-THU"),
    ("corpus/exchange_rate", "D"),
    ("corpus/rds_cpu_utilization_cc0c53", "5min"),
]


@pytest.mark.parametrize(("name", "step"), TABLES, ids=[name for name, _ in TABLES])
def test_every_series_of_a_table_comes_out(shared_data: Path, tiny_teacher: Path, tmp_path: Path, name: str, step: str):
    frame = pd.read_csv(shared_data / f"{name}.csv", nrows=ROWS)
    frame.to_csv(tmp_path / "table.csv", index=False)
    table = pd.read_csv(potstill.forecast(tiny_teacher, tmp_path / "table.csv", STEPS, tmp_path / "next.csv"))
    columns = frame.columns[1:][frame.iloc[:, 1:].notna().to_numpy().any(axis=0)].tolist()
    assert table["unique_id"].drop_duplicates().tolist() == columns
    ahead = pd.date_range(pd.Timestamp(frame.iloc[-1, 0]), periods=STEPS + 1, freq=step)[1:]
    assert pd.to_datetime(table["date"]).tolist() == ahead.tolist() * len(columns)
    levels = table.filter(like="q0.").to_numpy()
    assert np.isfinite(levels).all()
    assert (np.diff(levels, axis=1) >= 0).all()


def test_known_covariates_of_a_real_table(shared_data: Path, tiny_teacher: Path):
    """Temperature and public holidays of the steps ahead: the numbers of ``predict_df``."""
    frame = pd.read_csv(shared_data / "corpus" / "vic_electricity.csv", nrows=64 + STEPS, parse_dates=["date"])
    past, ahead = frame[:64], frame[64:].drop(columns="Demand")
    model = potstill.load(tiny_teacher)
    assert isinstance(model, Forecaster)
    levels = [round(level, 6) for level in model.levels.tolist()]
    joined = model.predict_df(past.assign(item="x"), ahead.assign(item="x"), "item", "date", "Demand", STEPS, levels)
    table = potstill.forecast(
        model, past, STEPS, target="Demand", known=["Temperature", "Holiday"], known_method="model", future=ahead,
        quantiles=levels,
    )  # fmt: skip
    expected = np.sort(joined[[str(level) for level in levels]].to_numpy(), axis=1)
    np.testing.assert_allclose(table[[f"q{level:g}" for level in levels]], expected, rtol=1e-4)
    assert table["date"].tolist() == frame["date"][64:].tolist()
