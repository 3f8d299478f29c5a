"""Any predictor can be evaluated, next to torch modules or without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_gpt2 import save_gpt2
from torch import nn

import potstill
from potstill.data.series.opening import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.evaluation import cost
from potstill.evaluation.benchmark import evaluate_models
from potstill.evaluation.cost import measure_costs
from potstill.families.base import Forecaster
from potstill.families.language.model import LanguageModel
from potstill.recipe import ForecastEvaluation, SeriesData
from potstill.types import Forecast, Windows


class Persistence:
    """Forecasts the last known value, a little lower and a little higher; three levels and no torch module."""

    max_context, max_horizon = 64, 32
    parameters, bytes = 3, 12

    def __init__(self) -> None:
        self.levels = torch.tensor([0.1, 0.5, 0.9])
        self.asked: list[int] = []

    def predict(self, windows: Any, prediction_length: int) -> Forecast:
        context = windows.context if isinstance(windows, Windows) else torch.as_tensor(windows)
        self.asked.append(len(context))
        steps = torch.tensor([-1.0, 0.0, 1.0])[None, :, None].expand(len(context), -1, prediction_length)
        last = context.nan_to_num(0.0)[:, -1:].double()
        return Forecast(self.levels, steps, last, torch.ones_like(last))


@pytest.fixture
def windows(small_csv: Path) -> tuple[SeriesWindows, SeriesWindows]:
    data = SeriesData(paths=[str(small_csv)], context_length=64, prediction_length=32)
    store = open_store(data)
    return SeriesWindows(store, data, "test", stride=1), SeriesWindows(store, data, "train")


def test_models_of_either_kind_open_by_one_function(tiny_teacher: Path, tiny_bolt: Path, tmp_path: Path):
    forecaster, bolt = potstill.load(tiny_teacher), potstill.load(str(tiny_bolt))
    assert isinstance(forecaster, Forecaster)
    assert forecaster.predict(torch.randn(2, 64), 32).quantiles.shape == (2, 13, 32)
    assert isinstance(bolt, Forecaster)
    assert (bolt.info.family, bolt.info.vocabulary, len(bolt.info.levels)) == ("bolt", 0, 9)
    language = potstill.load(save_gpt2(tmp_path / "gpt2"))
    assert isinstance(language, LanguageModel)
    assert (language.info.family, language.info.vocabulary, language.info.levels) == ("language", 300, ())
    assert isinstance(language.generate(["two"], 4)[0], str)
    assert "logits" in language.info.signals
    assert "forecast" in forecaster.info.signals


def test_a_predictor_that_is_no_module_is_evaluated_beside_one_that_is(windows, tiny_teacher: Path):
    test, train = windows
    mine = Persistence()
    assert not isinstance(mine, nn.Module)
    models = {"teacher": potstill.load(tiny_teacher).freeze(), "mine": mine}
    found = evaluate_models(models, test, train, [], ForecastEvaluation(max_windows=20)).to_dict()
    assert set(found["models"]) == {"teacher", "mine", "seasonal_naive"}
    figures = found["models"]["mine"]["small"]
    assert mine.asked[0] == found["account"]["datasets"]["small"]["windows"]
    assert figures["mae_raw"] == pytest.approx(error_by_hand(test), rel=0.5)
    assert figures["sql"] > 0
    assert found["retention"]["small"]["sql"] == pytest.approx(
        found["models"]["teacher"]["small"]["sql"] / figures["sql"]
    )


def error_by_hand(test: SeriesWindows) -> float:
    """Mean distance of the future from the last known value, over all windows of the part."""
    batch = test.batch(list(range(len(test))))
    return (batch.future - batch.context[:, -1:]).abs().nanmean().item()


def test_its_costs_are_measured_and_say_what_is_not_known(tiny_teacher: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cost, "LONGEST_PASS", 0.0)
    models = {"teacher": potstill.load(tiny_teacher).freeze(), "mine": Persistence()}
    costs = measure_costs(models, 64, 32, repeats=1, seconds=0)
    assert (costs["mine"]["parameters"], costs["mine"]["bytes"], costs["mine"]["flops"]) == (3, 12, None)
    assert costs["teacher"]["flops"] > 0
    assert costs["mine"]["latency_ms_b1"] > 0
    assert costs["mine"]["speedup_b1"] > 0
