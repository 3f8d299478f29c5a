"""sktime's own checks, and forecasts that are the model's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import potstill

pytest.importorskip("sktime", reason="sktime is in the extra adapters")

from sktime.utils.estimator_checks import check_estimator

from potstill.adapters.sktime import PotstillForecaster

#: fit keeps no second copy of the data in the base class, which will be sktime's default from 1.3 on
NOT_HELD = "test__y_remember_data"


@pytest.fixture
def y() -> pd.Series:
    index = pd.period_range("2020-01", periods=60, freq="M")
    return pd.Series(50 + np.random.default_rng(0).normal(size=60).cumsum(), index=index, name="sales")


@pytest.fixture
def X() -> pd.DataFrame:
    index = pd.period_range("2020-01", periods=66, freq="M")
    return pd.DataFrame({"price": np.sin(np.arange(66.0))}, index=index)


def test_sktimes_checks_pass(tiny_teacher, monkeypatch):
    monkeypatch.setattr(
        PotstillForecaster,
        "get_test_params",
        classmethod(lambda cls, parameter_set="default": [{"model": str(tiny_teacher)}, {"model": tiny_teacher}]),
    )
    found = check_estimator(PotstillForecaster, raise_exceptions=False, verbose=False)
    failed = [name for name, result in found.items() if result != "PASSED" and not name.startswith(NOT_HELD)]
    assert not failed, {name: found[name] for name in failed}
    assert len(found) > 200


def test_forecasts_are_the_models_at_the_steps_of_the_horizon(tiny_teacher, y):
    forecaster = PotstillForecaster(str(tiny_teacher)).fit(y, fh=[1, 4])
    own = potstill.load(tiny_teacher).predict(y.to_numpy(), 4, quantiles=[0.1, 0.5, 0.9]).quantiles[0, :, [0, 3]]
    point: Any = forecaster.predict()
    band: Any = forecaster.predict_interval(coverage=0.8)
    assert point.index.equals(pd.PeriodIndex(["2025-01", "2025-04"], freq="M"))
    assert point.name == "sales"
    np.testing.assert_allclose(point, own[1], rtol=1e-5)
    np.testing.assert_allclose(band["sales"][0.8]["lower"], own[0], rtol=1e-5)
    np.testing.assert_allclose(band["sales"][0.8]["upper"], own[2], rtol=1e-5)
    quantiles: Any = forecaster.predict_quantiles(alpha=[0.9, 0.1])
    np.testing.assert_allclose(quantiles["sales"][[0.9, 0.1]], own[[2, 0]].T, rtol=1e-5)


def test_update_adds_to_the_history(tiny_teacher, y):
    updated = PotstillForecaster(str(tiny_teacher)).fit(y[:50]).update(y[50:]).predict(fh=[1, 2])
    pd.testing.assert_series_equal(updated, PotstillForecaster(str(tiny_teacher)).fit(y).predict(fh=[1, 2]))


def test_covariates_are_used_ahead_and_in_the_past(tiny_teacher, tiny_bolt, y, X):
    def forecast(model, fit_X, predict_X):
        return PotstillForecaster(str(model)).fit(y, X=fit_X).predict(fh=range(1, 7), X=predict_X).to_numpy()

    plain = forecast(tiny_teacher, None, None)
    known, past = forecast(tiny_teacher, X[:60], X[60:]), forecast(tiny_teacher, X[:60], None)
    assert not np.allclose(plain, known, rtol=1e-5)
    assert not np.allclose(past, known, rtol=1e-5)
    assert not np.allclose(plain, past, rtol=1e-5)
    with pytest.warns(UserWarning, match="cannot use covariates; ignored: price"):
        ignored = forecast(tiny_bolt, X[:60], X[60:])
    np.testing.assert_array_equal(ignored, forecast(tiny_bolt, None, None))


def test_a_panel_is_forecast_at_once(tiny_teacher, y):
    frame = pd.concat({"b": y.to_frame(), "a": y.to_frame() * 2 - 7}, names=["shop", "month"])
    found: Any = PotstillForecaster(potstill.load(tiny_teacher)).fit(frame).predict(fh=[1, 2, 3])
    for name, rows in (("b", y), ("a", y * 2 - 7)):
        alone: Any = PotstillForecaster(str(tiny_teacher)).fit(rows).predict(fh=[1, 2, 3])
        np.testing.assert_allclose(found.loc[name]["sales"], alone, rtol=1e-4)
