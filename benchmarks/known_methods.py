"""``potstill forecast --known-method``: known covariates by the model, by a regression, or as the past shows.

The embedded teacher forecasts public tables, and made ones with promotions, from several origins. Weather that is known
ahead is the measured one, so that the gain is that of a perfect weather forecast. The figure is the SQL (scaled
quantile loss, as in fev-bench) over all windows of a table relative to that without the columns; intervals are of a
bootstrap over windows.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import pandas as pd
import torch

import potstill
from potstill.evaluation.metrics import EVALUATION_LEVELS, pinball
from potstill.families.load import load_forecaster

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("POTSTILL_DATA", ROOT.parent / "shared/data"))
METHODS = ("model", "regression", "auto")
ROWS, ORIGINS, BOOTSTRAP = 2_000, 20, 1_000  # rows of a history; origins in the last half of a table


@dataclass
class Table:
    """A table with one time column ``date`` and, if long, ids ``item``."""

    frame: pd.DataFrame
    target: str
    known: list[str]
    season: int
    horizon: int


def main() -> None:
    """Print the figures of each table."""
    given = harness.options(__doc__)
    torch.set_num_threads(1)
    model = load_forecaster("embedded")
    made = {"made: promotions of +40 on 30": promotions(40), "made: promotions without effect": promotions(0)}
    tables = made if given.quick else {**public(), **made}
    figures: dict[str, Any] = {"quick": given.quick}
    for name, table in tables.items():
        losses = {method: losses_of(model, table, method, given.quick) for method in (None, *METHODS)}
        figures[name] = {str(method): relative(losses[method], losses[None]) for method in METHODS}
        print(name, figures[name], flush=True)
    harness.finish(figures, given.output)


def losses_of(model: Any, table: Table, method: str | None, quick: bool) -> np.ndarray:
    """SQL of each series and origin; ``method`` None: without the columns."""
    options: dict[str, Any] = {"known": table.known, "known_method": method} if method else {}
    options |= {"target": table.target, "quantiles": EVALUATION_LEVELS.tolist()}
    found = []
    times = np.unique(table.frame["date"].to_numpy())
    for cut in np.linspace(len(times) // 2, len(times) - table.horizon, 2 if quick else ORIGINS).astype(int):
        shown = table.frame["date"].between(times[max(cut - ROWS, 0)], times[cut - 1])
        ahead = table.frame["date"].between(times[cut], times[cut + table.horizon - 1])
        history: Any = table.frame[shown]
        future: Any = table.frame[ahead]
        if method:
            options["future"] = future.drop(columns=table.target)
        forecast = potstill.forecast(model, history, table.horizon, **options)
        count = len(forecast) // table.horizon
        quantiles = forecast.filter(like="q0.").to_numpy().reshape(count, table.horizon, -1).transpose(0, 2, 1)
        truth = future[table.target].to_numpy(float).reshape(count, table.horizon)
        past = history[table.target].to_numpy(float).reshape(count, -1)
        scale = np.nanmean(np.abs(past[:, table.season :] - past[:, : -table.season]), axis=1)
        found.append(2 * np.nanmean(pinball(quantiles, truth), axis=(1, 2)) / scale)
    losses = np.concatenate(found)
    return losses[np.isfinite(losses)]


def relative(losses: np.ndarray, to: np.ndarray) -> list[float]:
    """Ratio of the means, and its 95 % interval."""
    drawn = np.random.default_rng(0).integers(0, len(to), (BOOTSTRAP, len(to)))
    ratios = losses[drawn].mean(1) / to[drawn].mean(1)
    return [float(losses.mean() / to.mean()), *map(float, np.quantile(ratios, [0.025, 0.975]))]


def public() -> dict[str, Table]:
    """Tables with weather, holidays and the like."""
    return {
        "vic_electricity: temperature, holiday": read("corpus/vic_electricity", "Demand", "Temperature,Holiday", 48),
        "bike_sharing: weather, holiday": read(
            "suite/bike_sharing", "cnt", "holiday,workingday,weathersit,temp,atemp,hum,windspeed", 24
        ),
        "metro_traffic: weather": read(
            "suite/metro_traffic_regular", "traffic_volume", "clouds_all,rain_1h,snow_1h,temp", 24
        ),
        "beijing_pm25: weather": read("suite/beijing_pm25", "pm2.5", "DEWP,TEMP,PRES,Iws,Is,Ir", 24),
        "tetuan_power: weather": read(
            "suite/tetuan_power", "Zone1", "Temperature,Humidity,Wind_Speed,general_diffuse_flows,diffuse_flows", 144
        ),
    }


def read(file: str, target: str, known: str, season: int) -> Table:
    """A wide table of the data."""
    columns = known.split(",")
    frame: Any = pd.read_csv(DATA / f"{file}.csv", parse_dates=["date"])
    return Table(frame[["date", target, *columns]], target, columns, season, 48)


def promotions(effect: float) -> Table:
    """Daily sales of 20 items about 30, with promotions on one day in ten and a price that has no effect."""
    rng = np.random.default_rng(0)
    days, items = 600, 20
    promo = (rng.random((items, days)) < 0.1).astype(int)
    week = 5 * np.sin(2 * np.pi * np.arange(days) / 7)
    frame = pd.DataFrame(
        {
            "item": np.repeat([f"item {i:02}" for i in range(items)], days),
            "date": np.tile(pd.date_range("2023-01-01", periods=days), items),
            "sold": (30 + week + effect * promo + 4 * rng.standard_normal((items, days))).ravel(),
            "promo": promo.ravel(),
            "price": rng.uniform(8, 12, items * days).round(2),
        }
    )
    return Table(frame, "sold", ["promo", "price"], 7, 28)


if __name__ == "__main__":
    main()
