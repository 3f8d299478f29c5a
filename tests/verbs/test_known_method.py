"""``potstill forecast --known-method``: the last known steps decide how known covariates are used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from usage_errors import usage_error

import potstill
from potstill.errors import NotFinite
from potstill.families.load import load_forecaster
from potstill.recipe import SeriesData
from potstill.verbs.forecasting import known_method

STEPS = 14


def sales(effect: float, count: int = 10, days: int = 200) -> tuple[Any, Any]:
    """History and future of daily sales about 30, with promotions."""
    rng = np.random.default_rng(0)
    parts = []
    for item in range(count):
        promo = (rng.random(days + STEPS) < 0.2).astype(int)
        weekday = 5 * np.sin(2 * np.pi * np.arange(days + STEPS) / 7)
        sold = 30 + weekday + effect * promo + 2 * rng.standard_normal(days + STEPS)
        dates = pd.date_range("2024-01-01", periods=days + STEPS)
        parts.append(pd.DataFrame({"item": f"i{item}", "day": dates, "sold": sold, "promo": promo}))
    frame = pd.concat(parts)
    ahead = frame.groupby("item").cumcount() >= days
    return frame[~ahead], frame[ahead]


def error(model: Any, frames: tuple[Any, Any], **options: Any) -> float:
    """The MAE of the medians."""
    history, future = frames
    options = {"known": "promo", "future": future.drop(columns="sold"), **options}
    if options["known"] is None:
        del options["future"]
    table = potstill.forecast(model, history, STEPS, target="sold", **options)
    assert table["item"].tolist() == future["item"].tolist()
    return float(np.abs(table["q0.5"].to_numpy() - future["sold"].to_numpy()).mean())


def test_a_large_effect_is_used_with_the_embedded_teacher(capsys):
    """The teacher itself hardly uses events with a large effect (benchmarks/covariates.py)."""
    frames = sales(effect=40)
    with_promo = error("embedded", frames)
    assert "promo: used by a regression for each series" in capsys.readouterr().err
    assert with_promo < 0.25 * error("embedded", frames, known=None)
    assert with_promo < 1.25 * 2 * np.sqrt(2 / np.pi), "the noise"
    assert error("embedded", frames, known_method="regression") == with_promo


@pytest.mark.parametrize(
    ("worse", "said"), [("with", "weekend: not used, because they do not help"), ("without", "by the model")]
)
def test_past_windows_decide(tiny_teacher: Path, monkeypatch: pytest.MonkeyPatch, capsys, worse: str, said: str):
    """A column that repeats each season has no effect of its own. The model is made worse with it, or without it."""
    history, future = (frame.assign(weekend=frame["day"].dt.dayofweek // 5) for frame in sales(effect=0))
    told: Any = {"target": "sold", "known": "weekend", "future": future.drop(columns="sold")}
    model: Any = potstill.load(tiny_teacher)
    predict = model.predict

    def disturbed(windows: Any, horizon: int) -> Any:
        forecast = predict(windows, horizon)
        forecast.loc = forecast.loc + 500 * ((windows.future_covariates is None) == (worse == "without"))
        return forecast

    by_model = potstill.forecast(model, history, STEPS, known_method="model", **told)
    alone = potstill.forecast(model, history, STEPS, target="sold")
    assert np.abs(by_model["q0.5"] - alone["q0.5"]).max() > 0.01
    capsys.readouterr()
    monkeypatch.setattr(model, "predict", disturbed)
    table = potstill.forecast(model, history, STEPS, **told)
    assert said in capsys.readouterr().err
    wanted = alone if worse == "with" else by_model
    np.testing.assert_allclose(table.filter(like="q0"), wanted.filter(like="q0"), rtol=1e-5)


@pytest.mark.parametrize(("loss", "method"), [(0.96, "model"), (0.94, "regression")])
def test_another_method_must_be_clearly_better(tiny_teacher: Path, monkeypatch, capsys, loss: float, method: str):
    monkeypatch.setattr(known_method, "_losses", lambda *_: np.array([[1.0, 1.0, loss]]))
    history, future = sales(effect=40, count=1)
    told: Any = {"target": "sold", "known": "promo", "future": future.drop(columns="sold")}
    potstill.forecast(tiny_teacher, history, STEPS, **told)
    assert f"promo: {known_method.WORDS[method]} (loss on" in capsys.readouterr().err


def test_many_columns_are_counted():
    assert known_method.Choice("model").line(list("abcdefg")) == "a, b, c, d, e and 2 more: used by the model"


def test_one_nearly_constant_series_does_not_decide(capsys):
    history, future = sales(effect=40)
    odd = history["item"] == "i0"
    history.loc[odd, "sold"] = 1e-3 * history.loc[odd, "sold"].to_numpy()
    history.loc[odd & (history["day"] >= history["day"].max() - pd.Timedelta(days=15)), "sold"] = 500.0
    told: Any = {"target": "sold", "known": "promo", "future": future.drop(columns="sold")}
    potstill.forecast("embedded", history, STEPS, **told)
    assert "promo: used by a regression" in capsys.readouterr().err


def test_columns_that_are_missing_ahead_are_missing_in_the_comparison(capsys):
    history, future = sales(effect=40)
    told: Any = {"target": "sold", "known": "promo", "future": future.drop(columns="sold").assign(promo=np.nan)}
    with pytest.warns(UserWarning, match="the forecast does not use them there"):
        potstill.forecast("embedded", history, STEPS, **told)
    said = capsys.readouterr().err
    ratio = float(said.partition("regression ")[2].partition(";")[0])
    assert 0.6 < ratio < 1.5, "as good as without the column, where it is 0.2 with it"


def test_histories_that_are_too_short_leave_it_to_the_model(tiny_teacher: Path, capsys):
    history, future = sales(effect=40, count=2, days=20)
    told = {"target": "sold", "known": "promo", "future": future.drop(columns="sold")}
    table = potstill.forecast(tiny_teacher, history, STEPS, **told)
    assert "not compared with a regression" in capsys.readouterr().err
    by_model = potstill.forecast(tiny_teacher, history, STEPS, known_method="model", **told)
    pd.testing.assert_frame_equal(table, by_model)


def test_past_forecasts_that_are_not_finite_leave_it_to_the_model(tiny_teacher: Path, monkeypatch, capsys):
    history, future = sales(effect=40, count=2)
    told: Any = {"target": "sold", "known": "promo", "future": future.drop(columns="sold")}
    model: Any = potstill.load(tiny_teacher)
    predict = model.predict

    def broken(windows: Any, horizon: int) -> Any:
        if len(windows) > 2:  # the past windows
            raise NotFinite("model", [0], 1)
        return predict(windows, horizon)

    monkeypatch.setattr(model, "predict", broken)
    assert len(potstill.forecast(model, history, STEPS, **told)) == 2 * STEPS
    assert "used by the model (not compared with a regression" in capsys.readouterr().err


@pytest.mark.parametrize("past", [None, "visits"])
def test_a_regression_is_for_every_model(tiny_teacher: Path, tiny_bolt: Path, capsys, past: str | None):
    """With a model that reads no covariates, and with one that also reads those of the past."""
    history, future = sales(effect=40)
    history["visits"] = np.arange(len(history))
    model = tiny_teacher if past else tiny_bolt
    told: Any = {"target": "sold", "known": "promo", "past": past, "known_method": "regression"}
    table = potstill.forecast(model, history, STEPS, future=future.drop(columns="sold"), **told)
    assert (
        capsys.readouterr().err.count("promo: used by a regression for each series; the model forecasts the rest\n")
        == 1
    )
    gain = np.where(future["promo"] == 1, table["q0.5"], np.nan), np.where(future["promo"] == 0, table["q0.5"], np.nan)
    assert np.nanmean(gain[0]) - np.nanmean(gain[1]) > 25


def test_constant_and_empty_series_are_forecast_as_before(tiny_teacher: Path):
    history, future = sales(effect=40, count=3)
    history.loc[history["item"] == "i1", "sold"] = 7.0
    history.loc[history["item"] == "i2", "sold"] = np.nan
    told: Any = {"target": "sold", "known": "promo", "known_method": "regression"}
    table = potstill.forecast(tiny_teacher, history, STEPS, future=future.drop(columns="sold"), **told)
    assert (table.loc[table["item"] == "i1", "q0.5"] == 7).all()
    assert table.loc[table["item"] == "i2", "q0.5"].isna().all()


def test_evaluate_measures_both_ways(tmp_path: Path, capsys):
    history, _ = sales(effect=40, count=4, days=150)
    history.to_csv(tmp_path / "sales.csv", index=False)
    data = SeriesData(paths=[str(tmp_path / "sales.csv")], target=["sold"], known=["promo"], prediction_length=STEPS)
    model = load_forecaster("embedded")
    model.calibrate_horizons = 2
    folder = potstill.evaluate([model], data, tmp_path / "out", split="6:2:2", baselines=[])
    metrics = json.loads((folder / "metrics.json").read_text())
    overall = {name: found["sql_rel_naive"] for name, found in metrics["overall"].items()}
    rows = ["embedded", "embedded+regression"]
    assert list(overall) == [*rows, *(f"{row}+calibrated" for row in rows), "seasonal_naive"]
    assert overall["embedded+regression"] < 0.5 * overall["embedded"]
    assert metrics["subject"] == "embedded", "no verdict is about the regression"
    said = " ".join(capsys.readouterr().err.split())
    assert f"promo: SQL relative to seasonal naive {overall['embedded']:.3g} used by embedded, " in said


def test_evaluate_refuses_a_name_that_it_needs(tiny_teacher: Path, tmp_path: Path):
    history, _ = sales(effect=0, count=1, days=400)
    history.to_csv(tmp_path / "sales.csv", index=False)
    data = SeriesData(paths=[str(tmp_path / "sales.csv")], target=["sold"], known=["promo"], prediction_length=STEPS)
    with usage_error("evaluation.reserved_model_name", "a+regression"):
        potstill.evaluate([f"a={tiny_teacher}", f"a+regression={tiny_teacher}"], data, tmp_path / "out")


def test_a_method_without_columns_and_an_unknown_one(tiny_teacher: Path):
    history, _ = sales(effect=0, count=1)
    with usage_error("known_method.without_known", "--known"):
        potstill.forecast(tiny_teacher, history, STEPS, known_method="regression")
    with usage_error("names.unknown_known_method", "regression"):
        potstill.forecast(tiny_teacher, history, STEPS, known="promo", known_method="regress")  # pyright: ignore
