"""How the time and memory of forecasts grow with the number of series, the horizon and the number of experts.

Intervals are as trained; by the number of series also as students forecast by default, fitted to their last errors.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from scale_commands import HORIZON, POTSTILL, forecast_command, fresh, measure, series_file

from potstill.families.base import ModelSource
from potstill.families.experts.model import Mixture
from potstill.families.experts.router import RouterSettings
from potstill.families.load import load_forecaster

READING = (
    "import sys; from potstill.data.series.opening import open_store; from potstill.recipe import SeriesData;"
    " open_store(SeriesData(paths=[sys.argv[1]]))"
)
GROWTH = (1_000, 10_000, 100_000)
TEACHER_MOST = 10_000  # series that the teacher forecasts
HORIZONS, SERIES_OF_HORIZONS = (HORIZON, 4 * HORIZON, 8 * HORIZON, 16 * HORIZON), 1_000  # teacher: 192 in one pass
EXPERTS, SERIES_OF_EXPERTS, CHOSEN = (2, 4, 8), 10_000, 2
FITTED = ", intervals fitted to the last errors"


def growth(student: Path, given: Any) -> dict[str, Any]:
    """Time and memory of forecasts by a student, an exported student, the teacher and mixtures of the student."""
    exported = given.runs / "exported"
    if not (exported / "export.json").exists():
        command = ["export", str(student), "--format", "openvino", "--quantize", "bf16", "--output", str(exported)]
        subprocess.run([*POTSTILL, *command, "--allow-loss"], check=True)
    models = {"student": str(student), "exported student": str(exported), "teacher": "embedded"}
    return {
        "series": by_series(models, given),
        "horizon": by_horizon(models, given),
        "experts": by_experts(student, given),
    }


def by_series(models: dict[str, str], given: Any) -> dict[str, Any]:
    """The first reading of a table, which is kept in the cache, and forecasts of more and more series."""
    students = [f"{name}{FITTED}" for name in models if name != "teacher"]
    found: dict[str, Any] = {name: {} for name in ("first reading", *models, *students)}
    for count in GROWTH[: 1 if given.quick else None]:
        table = series_file(given.runs, count)
        os.environ["POTSTILL_CACHE"] = str(fresh(given.runs / f"cache-{count}"))
        reading = measure([sys.executable, "-c", READING, str(table)])
        found["first reading"][f"{count:,}"] = reading.figures(count, "series")
        for name, model in models.items():
            if name == "teacher" and count > TEACHER_MOST:
                continue
            found[name][f"{count:,}"] = forecast(model, table, count, given)
            if name != "teacher":
                found[f"{name}{FITTED}"][f"{count:,}"] = forecast(model, table, count, given, fitted=True)
            print(count, {kind: sizes.get(f"{count:,}") for kind, sizes in found.items()}, flush=True)
    return found


def by_horizon(models: dict[str, str], given: Any) -> dict[str, Any]:
    """Forecasts of more and more steps. The student was trained for the first horizon, the teacher for 192 steps."""
    count, table = read_table(SERIES_OF_HORIZONS, given)
    found: dict[str, Any] = {"series": count}
    for name, model in models.items():
        horizons = HORIZONS[: 2 if given.quick else None]
        found[name] = {str(steps): forecast(model, table, count, given, steps) for steps in horizons}
        print(name, found[name], flush=True)
    return found


def by_experts(student: Path, given: Any) -> dict[str, Any]:
    """Forecasts by mixtures of copies of the student, of which the router chooses two, or all, for each series."""
    count, table = read_table(SERIES_OF_EXPERTS, given)
    found: dict[str, Any] = {"series": count, "student": forecast(str(student), table, count, given)}
    for experts in EXPERTS[: 1 if given.quick else None]:
        for chosen in sorted({CHOSEN, experts}):
            model = mixture(student, experts, chosen, given.runs / f"mixture-{experts}-{chosen}")
            name = f"{chosen} of {experts} experts"
            found[name] = forecast(str(model), table, count, given)
            print(name, found[name], flush=True)
    return found


def read_table(count: int, given: Any) -> tuple[int, Path]:
    """A table that the cache holds, and the number of its series."""
    count = GROWTH[0] if given.quick else count
    table = series_file(given.runs, count)
    os.environ["POTSTILL_CACHE"] = str(given.runs / f"cache-{count}")
    subprocess.run([sys.executable, "-c", READING, str(table)], check=True)
    return count, table


def forecast(
    model: str, table: Path, count: int, given: Any, steps: int = HORIZON, fitted: bool = False
) -> dict[str, Any]:
    """Seconds, rate and memory of one command."""
    command = forecast_command(model, table, given.runs / f"growth-{count}.parquet", steps)
    return measure([*POTSTILL, *command, *([] if fitted else ["--calibrate", "0"])]).figures(count, "series")


def mixture(student: Path, experts: int, chosen: int, folder: Path) -> Path:
    """A mixture of copies of a student, whose router has random weights and so spreads the series over them."""
    torch.manual_seed(0)
    members = {f"expert-{number}": load_forecaster(student) for number in range(experts)}
    model = Mixture(members, RouterSettings(top_k=chosen), ModelSource("mixture", "mixture"))
    last: Any = model.router.network[-1]
    torch.nn.init.normal_(last.weight)
    model.save(fresh(folder))
    return folder
