"""Every teacher teaches every student, through the verb: levels, scales, contexts and horizons differ between them."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from usage_errors import usage_error

import potstill
from potstill.evaluation import cost
from potstill.families.load import load
from potstill.recipe import Recipe

STUDENTS = {
    "chronos2": {"num_layers": 1, "d_model": 32, "num_heads": 1, "d_kv": 16, "d_ff": 32},
    "moirai": {"num_layers": 1, "d_model": 64, "patch_sizes": 16},
    "patch_transformer": {"num_layers": 1, "d_model": 32, "num_heads": 2, "d_ff": 32, "patch_size": 16},
    "linear": {"window": 25, "rank": 8},
    "mixer": {"num_layers": 1, "d_model": 16, "d_ff": 16, "patch_size": 16},
}
TEACHERS = ("chronos2", "bolt", "moirai")
UNI2TS = "pip install --no-deps uni2ts"


@pytest.fixture(scope="module")
def teachers(
    tiny_teacher: Path, tiny_bolt: Path, tmp_path_factory: pytest.TempPathFactory, quick_trainer: None
) -> dict[str, Path]:
    """Folders of untrained models of upstream's own classes.

    Chronos-2 has 13 levels, Bolt nine, both read 64 steps and forecast 32; Moirai has any levels, 720 and 96.
    """
    folders = {"chronos2": tiny_teacher, "bolt": tiny_bolt}
    try:
        from uni2ts.distribution import LogNormalOutput, MixtureOutput, NormalFixedScaleOutput, StudentTOutput
        from uni2ts.model.moirai import MoiraiModule
    except ImportError:
        return folders
    torch.manual_seed(0)
    mixture = MixtureOutput([StudentTOutput(), NormalFixedScaleOutput(), LogNormalOutput()])
    folders["moirai"] = tmp_path_factory.mktemp("teacher") / "moirai"
    MoiraiModule(mixture, 64, 1, (16, 32), 512, 0.0, 0.0).save_pretrained(folders["moirai"])
    return folders


@pytest.fixture(autouse=True)
def _quick_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round of small passes: costs are not what is tested."""
    monkeypatch.setattr(cost, "LONGEST_PASS", 0.0)
    monkeypatch.setattr("potstill.tasks.forecasting.measure_costs", partial(cost.measure_costs, repeats=1))


def recipe_for(teacher: Path, student: str, data: Path, **lengths: int) -> Recipe:
    tree = {
        "teacher": str(teacher),
        "student": {"family": student, "overrides": STUDENTS[student]},
        "data": {"paths": [str(data)], **lengths},
        "training": {"batch_size": 4, "max_steps": 3, "eval_steps": 3, "eval_windows": 4, "precision": "fp32"},
        "evaluation": {"baselines": ["seasonal_naive"], "max_windows": 4},
    }
    return Recipe.model_validate(tree)


def log_lines(run: Path, event: str) -> list[dict]:
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == event]


def check(run: Path, student: str, context: int, horizon: int) -> None:
    """The run's losses are finite and both named, its student loads and forecasts at its levels."""
    losses = log_lines(run, "train")
    assert losses
    for line in losses:
        assert math.isfinite(line["loss"])
        assert {"expected_pinball", "pinball"} <= set(line["terms"])
        assert all(math.isfinite(value) and value > 0 for value in line["terms"].values())
    forecaster = load(run)
    assert forecaster.family == student
    assert forecaster.max_horizon >= horizon
    forecast = forecaster.predict(torch.randn(2, context).cumsum(1) + 100, horizon)
    assert forecast.quantiles.shape == (2, len(forecaster.levels), horizon)
    assert forecast.quantiles.isfinite().all()
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"teacher", "student"} <= set(metrics["cost"])


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("teacher", TEACHERS)
def test_any_teacher_to_any_student(
    teachers: dict[str, Path], teacher: str, student: str, small_csv: Path, tmp_path: Path
):
    if "moirai" in (teacher, student):
        pytest.importorskip("uni2ts", reason=UNI2TS)
    recipe = recipe_for(teachers[teacher], student, small_csv, context_length=64, prediction_length=32)
    check(potstill.distill(recipe, tmp_path / "run"), student, 64, 32)


def test_lengths_that_were_not_given_follow_the_teacher(
    teachers: dict[str, Path], small_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Bolt reads and forecasts less than a recipe's defaults; its nine levels are bridged to Chronos-2's 13."""
    run = potstill.distill(recipe_for(teachers["bolt"], "chronos2", small_csv), tmp_path / "run")
    check(run, "chronos2", 64, 31)  # 31: every part then has 20 windows
    said = capsys.readouterr().err
    assert "context_length is 64: bolt reads no more" in said
    assert "prediction_length is 31: by default 24 to 48 for steps that are hourly" in said
    resolved = Recipe.read(run / "recipe.yaml")
    assert (resolved.data.context_length, resolved.data.prediction_length) == (64, 31)
    assert len(load(run).levels) == 13


def test_a_teacher_of_longer_lengths_reads_what_there_is(teachers: dict[str, Path], small_csv: Path, tmp_path: Path):
    """A context and a horizon that are no whole patches of either side."""
    pytest.importorskip("uni2ts", reason=UNI2TS)
    recipe = recipe_for(teachers["moirai"], "patch_transformer", small_csv, context_length=75, prediction_length=21)
    check(potstill.distill(recipe, tmp_path / "run"), "patch_transformer", 75, 21)


@pytest.mark.parametrize("teacher", ["bolt", "moirai"])
def test_labels_serve_as_well_as_the_teacher(teachers: dict[str, Path], teacher: str, small_csv: Path, tmp_path: Path):
    if teacher == "moirai":
        pytest.importorskip("uni2ts", reason=UNI2TS)
    recipe = recipe_for(teachers[teacher], "linear", small_csv, context_length=64, prediction_length=32)
    recipe.labels = "auto"
    check(potstill.distill(recipe, tmp_path / "run"), "linear", 64, 32)


def test_a_bolt_teacher_alone_asks_for_a_student(teachers: dict[str, Path], small_csv: Path, tmp_path: Path):
    recipe = recipe_for(teachers["bolt"], "chronos2", small_csv)
    recipe.student.family, recipe.student.overrides = None, {}
    with usage_error("student.family_cannot_be_trained", "bolt", "chronos2"):
        potstill.distill(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
