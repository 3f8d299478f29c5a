"""Every adapter takes any predictor, and says which library is missing."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from last_value import Last

from potstill.errors import UserError

DAYS = pd.date_range("2024-01-01", periods=30)
VALUES = np.arange(30.0)


def test_gluonts():
    pytest.importorskip("gluonts")
    from potstill.adapters.gluonts import PotstillPredictor

    (found,) = PotstillPredictor(Last(), 3).predict([{"start": pd.Period("2024-01-01", "D"), "target": VALUES}])
    np.testing.assert_allclose(found.quantile(0.9), [30, 30, 30], rtol=1e-6)
    np.testing.assert_allclose(found.quantile(0.7), [29.5, 29.5, 29.5], rtol=1e-6)


def test_fev(tmp_path: Path):
    fev = pytest.importorskip("fev")
    from potstill.adapters.fev import PotstillModel

    path = tmp_path / "series.parquet"
    pd.DataFrame({"id": "a", "timestamp": DAYS, "target": VALUES}).to_parquet(path)
    task = fev.Task(dataset_path=str(path), horizon=2, eval_metric="MAE")
    summary = task.evaluation_summary(PotstillModel(Last()).fit_predict(task), model_name="last")
    assert summary["test_error"] == pytest.approx(1.5)  # 28 and 29 from 27


def test_nixtla():
    from potstill.adapters.nixtla import NixtlaForecaster

    found = NixtlaForecaster(Last(), "D").forecast(pd.DataFrame({"unique_id": 1, "ds": DAYS, "y": VALUES}), 2)
    assert found["Last"].tolist() == [29, 29]


def test_sktime():
    pytest.importorskip("sktime")
    from potstill.adapters.sktime import PotstillForecaster

    y = pd.Series(VALUES, index=DAYS.to_period("D"))
    band = PotstillForecaster(Last()).fit(y).predict_interval(fh=[2], coverage=0.8)
    assert band.to_numpy().tolist() == [[28, 30]]


@pytest.mark.parametrize("library", ["gluonts", "fev", "sktime"])
def test_a_missing_library_is_one_sentence(library: str, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"potstill.adapters.{library}", raising=False)
    with pytest.raises(UserError, match=f"run `pip install {library}`") as error:
        importlib.import_module(f"potstill.adapters.{library}")
    assert error.value.key == "adapter.missing_library"
