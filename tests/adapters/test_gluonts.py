"""GluonTS runs the predictor on its own data sets, and its evaluators find the values of our metrics."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from eval_fakes import FakeStore

import potstill
from potstill.errors import UserError
from potstill.evaluation.histories import Histories
from potstill.evaluation.metrics import EVALUATION_LEVELS, score_windows, summarise

pytest.importorskip("gluonts", reason="gluonts is in the extra adapters")

from gluonts.dataset.common import ListDataset
from gluonts.dataset.pandas import PandasDataset
from gluonts.dataset.split import split
from gluonts.ev import metrics
from gluonts.evaluation import Evaluator, make_evaluation_predictions
from gluonts.model import evaluate_model
from gluonts.model.predictor import Predictor

from potstill.adapters.gluonts import PotstillPredictor

HORIZON, SEASON = 12, 24
FEATURES = {"feat_dynamic_real": np.sin(np.arange(62.0))[None], "past_feat_dynamic_real": np.cos(np.arange(50.0))[None]}


@pytest.fixture
def frame(small_csv) -> pd.DataFrame:
    return pd.read_csv(small_csv, parse_dates=["date"]).melt("date", var_name="item_id", value_name="target")


@pytest.fixture
def dataset(frame) -> PandasDataset:
    return PandasDataset.from_long_dataframe(frame, item_id="item_id", timestamp="date", target="target", freq="h")


def test_forecasts_have_ids_starts_steps_and_the_models_values(tiny_teacher, dataset, frame):
    predictor = PotstillPredictor(str(tiny_teacher), HORIZON)
    forecasts = list(predictor.predict(dataset))
    assert [f.item_id for f in forecasts] == ["high", "low"]
    last = frame["date"].max()
    for forecast in forecasts:
        assert forecast.index.equals(pd.period_range(last + pd.Timedelta(hours=1), periods=HORIZON, freq="h"))
        values = frame.loc[frame["item_id"] == forecast.item_id, "target"].to_numpy()
        own = potstill.load(tiny_teacher).predict(values, HORIZON, quantiles=[0.1, 0.5, 0.9])
        found = np.stack([forecast.quantile(q) for q in (0.1, 0.5, 0.9)])
        np.testing.assert_allclose(found, own.quantiles[0], rtol=1e-5)
        np.testing.assert_allclose(
            forecast.mean, potstill.load(tiny_teacher).predict(values, HORIZON).mean[0], rtol=1e-5
        )


@pytest.mark.parametrize("name", ["low", "high"])
def test_gluonts_metrics_are_those_of_our_own(tiny_teacher, frame, name):
    windows = 4
    predictor = PotstillPredictor(str(tiny_teacher), HORIZON)
    series = frame[frame["item_id"] == name].set_index("date")["target"]
    _, template = split(PandasDataset(series, freq="h"), offset=-windows * HORIZON)
    test = template.generate_instances(HORIZON, windows=windows)
    levels = EVALUATION_LEVELS.tolist()
    theirs = evaluate_model(
        predictor,
        test_data=test,
        metrics=[metrics.MAE("0.5"), metrics.MASE("0.5"), metrics.MeanWeightedSumQuantileLoss(levels)],
        seasonality=SEASON,
    ).iloc[0]
    values = series.to_numpy()
    origin = len(values) - windows * HORIZON + HORIZON * np.arange(windows)
    column, ones = np.zeros(windows, int), np.ones(windows)
    quantiles = np.stack([[f.quantile(q) for q in levels] for f in predictor.predict(test.input)])
    truth = np.stack([values[o : o + HORIZON] for o in origin])
    history = Histories(FakeStore([values], SEASON)).before(column, origin, HORIZON)
    ours = summarise(score_windows(quantiles, truth, history.scale, ones, history.squared, column))
    # the store keeps float32
    assert theirs["MAE[0.5]"] == pytest.approx(ours["mae_raw"], rel=1e-5)
    assert theirs["MASE[0.5]"] == pytest.approx(ours["mase"], rel=1e-5)
    assert theirs["mean_weighted_sum_quantile_loss"] == pytest.approx(ours["wql"], rel=1e-5)


def test_the_former_evaluator_takes_the_forecasts(tiny_teacher, dataset):
    predictor = PotstillPredictor(str(tiny_teacher), HORIZON)
    forecasts, truths = make_evaluation_predictions(dataset, predictor, num_samples=100)
    found, items = Evaluator(quantiles=[0.1, 0.5, 0.9], num_workers=0)(truths, forecasts)
    assert len(items) == 2
    assert np.isfinite(found["MASE"])
    assert found["Coverage[0.1]"] <= found["Coverage[0.9]"]


@pytest.mark.parametrize("name", [*FEATURES])
def test_covariates_are_used(tiny_teacher, name):
    predictor = PotstillPredictor(str(tiny_teacher), HORIZON)
    entry = {"start": pd.Period("2024-01-01", "D"), "target": np.arange(50.0), "item_id": "a"}
    plain, covered = predictor.predict([entry, {**entry, name: FEATURES[name]}])
    assert covered.start_date == pd.Period("2024-02-20", "D")
    assert not np.allclose(plain.quantile(0.5), covered.quantile(0.5), rtol=1e-5)


def test_covariates_that_a_model_cannot_use_are_said(tiny_bolt):
    entry = {"start": pd.Period("2024-01-01", "D"), "target": np.arange(50.0), **FEATURES}
    with pytest.warns(UserWarning, match=r"cannot use covariates; ignored: feat_dynamic_real, past_feat_dynamic_real"):
        (found,) = PotstillPredictor(str(tiny_bolt), HORIZON).predict([entry])
    assert found.item_id is None
    assert found.quantile(0.5).shape == (HORIZON,)


def test_features_that_end_too_early_are_refused(tiny_teacher):
    entry = {"start": pd.Period("2024-01-01", "D"), "target": np.arange(50.0), "item_id": "a"}
    with pytest.raises(UserError, match="a: its known covariates have 50 steps instead of 62"):
        list(PotstillPredictor(str(tiny_teacher), HORIZON).predict([{**entry, "feat_dynamic_real": np.ones((1, 50))}]))


def test_several_variables_of_an_entry(tiny_teacher):
    rows = np.random.default_rng(0).normal(size=(3, 50))
    data = ListDataset([{"start": "2024-01-01", "target": rows}], freq="D", one_dim_target=False)
    (found,) = PotstillPredictor(str(tiny_teacher), HORIZON).predict(data)
    assert found.quantile(0.5).shape == (HORIZON, 3)
    assert found.copy_dim(1).quantile(0.5).shape == (HORIZON,)


def test_it_is_serialised_by_the_place_of_its_model(tiny_teacher, dataset, tmp_path):
    predictor = PotstillPredictor(str(tiny_teacher), HORIZON, quantile_levels=[0.2, 0.5])
    predictor.serialize(tmp_path)
    again = Predictor.deserialize(tmp_path)
    assert again == predictor
    for one, two in zip(predictor.predict(dataset), again.predict(dataset), strict=True):
        np.testing.assert_array_equal(one.forecast_array, two.forecast_array)
    loaded = PotstillPredictor(potstill.load(tiny_teacher), HORIZON)
    with pytest.raises(UserError, match="made of a loaded model"):
        loaded.serialize(tmp_path)
