"""Figures do not depend on the unit: ratios stay the same, raw errors and examples follow it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from potstill.data.series.opening import store_from_frame
from potstill.data.series.windows import SeriesWindows
from potstill.evaluation.benchmark import evaluate_models
from potstill.evaluation.outcome import Evaluation
from potstill.evaluation.validation import Validation
from potstill.families.registry import family
from potstill.recipe import ForecastEvaluation, SeriesData

STEPS = np.arange(300)
WAVE = 3 * np.sin(2 * np.pi * STEPS / 24) + np.random.default_rng(0).normal(size=300)
SETTINGS = SeriesData(context_length=48, prediction_length=6, split="7:1:2")
RATIOS = ("sql", "mase", "mse", "mae", "rmse", "coverage_80", "sql_rel_naive", "mae_raw_rel_naive")
OF_LEVEL = ("wql", "mape", "smape")
RAW = {"mae_raw": 1, "rmse_raw": 1, "mse_raw": 2}  # metric: power of the unit


@pytest.fixture(scope="module")
def mixer():
    torch.manual_seed(0)
    chosen = family("mixer")
    model = chosen.build(chosen.design(None, {"d_model": 16, "num_layers": 1, "patch_size": 8}, 48, 6), 0.0)
    for weight in model.module.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    model.module.eval()
    return model


def windows(folder, values, part) -> SeriesWindows:
    index = pd.date_range("2024-01-01", periods=len(values), freq="h")
    return SeriesWindows(store_from_frame(pd.DataFrame({"y": values}, index=index), SETTINGS, folder), SETTINGS, part)


def evaluated(folder, values, models, baselines=("ridge",)) -> Evaluation:
    test, train = (windows(folder, values, part) for part in ("test", "train"))
    return evaluate_models(models, test, train, list(baselines), ForecastEvaluation(max_windows=30))


def assert_same_figures(found: Evaluation, wanted: Evaluation, unit: float, names) -> None:
    for model, sets in wanted.metrics.items():
        for name in names:
            value = sets["frame"][name] * unit ** RAW.get(name, 0)
            assert found.metrics[model]["frame"][name] == pytest.approx(value, rel=2e-3), (model, name)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(power=st.integers(-60, 60), level=st.sampled_from([0.0, 5.0]))
def test_another_unit_changes_raw_errors_only(tmp_path, mixer, power, level):
    unit = 10.0**power
    wanted = evaluated(tmp_path, WAVE + level, {"student": mixer})
    found = evaluated(tmp_path, unit * (WAVE + level), {"student": mixer})
    assert_same_figures(found, wanted, unit, [*RATIOS, *OF_LEVEL, *RAW])


@pytest.mark.parametrize("level", [1e5, -1e7, 2e9, 1e12])
def test_a_level_changes_only_what_is_relative_to_zero(tmp_path, mixer, level):
    wanted = evaluated(tmp_path, WAVE, {"student": mixer})
    found = evaluated(tmp_path, WAVE + level, {"student": mixer})
    assert_same_figures(found, wanted, 1.0, [*RATIOS, *RAW])
    own = found.metrics["student"]["frame"]
    assert own["wql"] == pytest.approx(own["mae_raw"] / abs(level), rel=0.5)
    assert own["mape"] == pytest.approx(own["mae_raw"] / abs(level), rel=1e-3)
    assert own["smape"] == pytest.approx(own["mae_raw"] / abs(level), rel=1e-3)


def test_auto_theta_sees_the_level(tmp_path):
    """A multiplicative season is relative to zero: without the level of 2e9 its forecasts would differ."""
    pytest.importorskip("statsforecast")
    wanted = evaluated(tmp_path, WAVE + 20, {}, ["auto_theta"])
    for values, unit in ((1e-12 * (WAVE + 20), 1e-12), (1e20 * (WAVE + 20), 1e20)):
        found = evaluated(tmp_path, values, {}, ["auto_theta"])
        assert found.metrics["auto_theta"]["frame"]["mae_raw"] == pytest.approx(
            wanted.metrics["auto_theta"]["frame"]["mae_raw"] * unit, rel=0.02
        )
    high = evaluated(tmp_path, WAVE + 2e9, {}, ["auto_theta"]).metrics["auto_theta"]["frame"]
    assert high["mae_raw"] < 3


@pytest.mark.parametrize("values", [2e9 + WAVE, 1e20 * WAVE, 1e-12 * WAVE])
def test_examples_are_in_input_units(tmp_path, mixer, values):
    examples = evaluated(tmp_path, values, {"student": mixer}).examples["examples"]
    spread = values.std()
    for example in examples:
        origin = example["origin"]
        np.testing.assert_allclose(example["truth"], values[origin : origin + 6], rtol=0, atol=1e-5 * spread)
        np.testing.assert_allclose(example["context"], values[origin - 48 : origin], rtol=0, atol=1e-5 * spread)
        forecast = mixer.predict(values[origin - 48 : origin], 6).quantiles.numpy()[0]
        assert np.ptp(forecast[4]) > 0.01 * spread
        for found, level in zip(example["forecasts"]["student"], (0, 4, 8), strict=True):
            np.testing.assert_allclose(found, forecast[level], rtol=0, atol=1e-4 * spread)


def test_validation_is_the_same_in_any_unit(tmp_path, mixer):
    wanted = Validation(windows(tmp_path, WAVE, "validation"), 20)(mixer)
    for values in (1e-12 * WAVE, 1e20 * WAVE, 2e9 + WAVE):
        assert Validation(windows(tmp_path, values, "validation"), 20)(mixer) == pytest.approx(wanted, rel=1e-3)
