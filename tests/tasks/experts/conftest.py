"""Two files with different seasons, and experts of which each knows one season."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from potstill.families.base import Forecaster
from potstill.families.registry import family
from potstill.recipe import MixtureRecipe, Recipe

CONTEXT, HORIZON = 64, 16
SEASONS = {"daily": 24, "weekly": 7}


def repeating(season: int, spread: float = 0.1) -> Forecaster:
    """A linear model that repeats the last season, with narrow intervals."""
    one = family("linear")
    torch.manual_seed(0)
    student = one.build(one.design(None, {}, CONTEXT, HORIZON), 0.0)
    module: Any = student.module
    copied = torch.zeros(HORIZON, CONTEXT)
    copied[torch.arange(HORIZON), CONTEXT - season + torch.arange(HORIZON) % season] = 1
    with torch.no_grad():
        module.trend.copy_(copied)
        module.season.copy_(copied)
        module.bias.zero_()
    student.scale_spread(spread)
    return student


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """``daily.csv`` and ``weekly.csv``: 900 noisy rows with a season of 24 and of 7."""
    folder, rng = tmp_path_factory.mktemp("seasons"), np.random.default_rng(0)
    paths = []
    for name, season in SEASONS.items():
        values = np.tile(rng.normal(size=season), 900 // season + 1)[:900] + 0.1 * rng.normal(size=900)
        path = folder / f"{name}.csv"
        stamps = pd.date_range("2024-01-01", periods=900, freq="h")
        pd.DataFrame({"date": stamps, name: values}).to_csv(path, index=False)
        paths.append(path)
    return paths


@pytest.fixture(scope="session")
def experts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By season, and one that knows neither."""
    folder = tmp_path_factory.mktemp("experts")
    for name, season in {**SEASONS, "neither": 11}.items():
        repeating(season).save(folder / name)
    return {name: folder / name for name in (*SEASONS, "neither")}


@pytest.fixture(autouse=True)
def _no_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs take seconds to measure."""
    monkeypatch.setattr("potstill.tasks.forecasting.measure_costs", lambda models, *_, **__: {m: {} for m in models})


@pytest.fixture
def recipe(files: list[Path], experts: dict[str, Path]) -> MixtureRecipe:
    """A router over the two experts, in forty steps."""
    return mixture_recipe(files, [experts[name] for name in SEASONS])


def mixture_recipe(files: list[Path], experts: list[Path], **more: Any) -> Any:
    training = {"max_steps": 40, "batch_size": 64, "eval_steps": 10, "eval_windows": 40, "precision": "fp32"}
    tree = {
        "task": "mixture",
        "experts": [str(path) for path in experts],
        "data": {
            "paths": [str(path) for path in files],
            "context_length": CONTEXT,
            "prediction_length": HORIZON,
            "distinct_windows": 600,
        },
        "training": {**training, "learning_rate": 0.01},
        "evaluation": {"baselines": ["seasonal_naive"], "max_windows": 20},
    }
    return Recipe.lay_over({**tree, **more}, {})


@pytest.fixture
def make_recipe(files: list[Path], experts: dict[str, Path]) -> Any:
    """Makes the recipe with other experts and sections."""

    def make(names: list[str], **more: Any) -> Any:
        return mixture_recipe(files, [experts[name] for name in names], **more)

    return make


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear student that repeats the mean of the last day, which is right for neither file."""
    folder = tmp_path_factory.mktemp("base") / "base"
    repeating(11, spread=0.5).save(folder)
    return folder
