"""Frames of Nixtla's layout: columns, rows and types are StatsForecast's, values the model's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsforecast import StatsForecast
from statsforecast.models import SeasonalNaive
from utilsforecast.evaluation import evaluate
from utilsforecast.losses import coverage, mae, mase

import potstill
from potstill.adapters.nixtla import NixtlaForecaster
from potstill.errors import UserError

LEVEL = [80, 90]


@pytest.fixture
def df() -> pd.DataFrame:
    """Two series of 90 and 70 days."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame({"unique_id": name, "ds": pd.date_range("2024-01-01", periods=size), "y": rng.normal(50, 5, size)})
        for name, size in (("b", 90), ("a", 70))
    ]
    return pd.concat(parts, ignore_index=True)


def statsforecast(freq: Any = "D") -> Any:
    return StatsForecast([SeasonalNaive(7, alias="M")], freq=freq)


def same_frame(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """All is equal but the forecasts."""
    assert list(ours) == list(theirs)
    assert ours.dtypes.to_dict() == theirs.dtypes.to_dict()
    keys = [name for name in theirs if not name.startswith("M")]
    pd.testing.assert_frame_equal(ours[keys], theirs[keys])


def test_predict_has_the_frame_of_statsforecast_and_the_models_values(tiny_teacher, df):
    forecaster = NixtlaForecaster(str(tiny_teacher), "D", "M").fit(df)
    found = forecaster.predict(5, level=LEVEL)
    same_frame(found, statsforecast().fit(df).predict(5, level=LEVEL))
    same_frame(forecaster.predict(5), statsforecast().fit(df).predict(5))
    same_frame(forecaster.forecast(df, 5, level=LEVEL), statsforecast().forecast(df=df, h=5, level=LEVEL))
    values = df.loc[df["unique_id"] == "a", "y"].to_numpy()
    own = potstill.load(tiny_teacher).predict(values, 5, quantiles=[0.05, 0.1, 0.5, 0.9, 0.95]).quantiles[0]
    columns = ["M-lo-90", "M-lo-80", "M", "M-hi-80", "M-hi-90"]
    np.testing.assert_allclose(found.loc[found["unique_id"] == "a", columns].T, own, rtol=1e-5)


def test_cross_validation_has_the_frame_of_statsforecast_and_their_metrics_run(tiny_teacher, df):
    forecaster = NixtlaForecaster(str(tiny_teacher), "D", "M")
    found = forecaster.cross_validation(df, 5, n_windows=3, level=LEVEL)
    theirs = statsforecast().cross_validation(df=df, h=5, n_windows=3, step_size=5, level=LEVEL)
    same_frame(found, theirs)
    overlapping = forecaster.cross_validation(df, 5, n_windows=3, step_size=1)
    same_frame(overlapping, statsforecast().cross_validation(df=df, h=5, n_windows=3, step_size=1))
    cut = found["cutoff"].unique()[0]
    only = df[df["ds"] <= cut]
    before = only[only["unique_id"] == "b"] if cut > pd.Timestamp("2024-03-15") else only[only["unique_id"] == "a"]
    alone = NixtlaForecaster(str(tiny_teacher), "D", "M").fit(before).predict(5)
    first = found[(found["cutoff"] == cut) & (found["unique_id"] == before["unique_id"].iloc[0])]
    np.testing.assert_allclose(first["M"], alone["M"], rtol=1e-5)
    table = evaluate(found.drop(columns="cutoff"), metrics=[mae, coverage], level=[80], models=["M"])
    by_hand = (found["y"] - found["M"]).abs().groupby(found["unique_id"]).mean()
    np.testing.assert_allclose(table.loc[table["metric"] == "mae", "M"], by_hand)
    weekly = mase(found.drop(columns="cutoff"), models=["M"], seasonality=7, train_df=df)
    scale = df.groupby("unique_id")["y"].apply(lambda y: y.diff(7).abs().mean())
    np.testing.assert_allclose(weekly.set_index("unique_id")["M"], by_hand / scale)


@pytest.mark.parametrize("freq", ["MS", "ME", "W-WED", "h", "QS", "30min"])
def test_steps_of_any_calendar(tiny_teacher, freq):
    frame = pd.DataFrame({"unique_id": 7, "ds": pd.date_range("2020-01-01", periods=40, freq=freq), "y": range(40)})
    found = NixtlaForecaster(str(tiny_teacher), freq, "M").fit(frame).predict(4)
    same_frame(found, statsforecast(freq).fit(frame.astype({"y": float})).predict(4))


def test_times_as_text_and_with_a_zone(tiny_teacher, df):
    forecaster = NixtlaForecaster(str(tiny_teacher), "D", "M")
    plain = forecaster.fit(df).predict(3)
    pd.testing.assert_frame_equal(forecaster.fit(df.assign(ds=df["ds"].astype(str))).predict(3), plain)
    zoned = forecaster.fit(df.assign(ds=df["ds"].dt.tz_localize("Europe/Berlin"))).predict(3)
    assert zoned["ds"].tolist() == plain["ds"].dt.tz_localize("Europe/Berlin").tolist()


def test_integer_steps(tiny_teacher):
    frame = pd.DataFrame({"unique_id": "x", "ds": np.arange(10, 50), "y": np.arange(40.0)})
    found = NixtlaForecaster(str(tiny_teacher), 1, "M").fit(frame).predict(3)
    same_frame(found, statsforecast(1).fit(frame).predict(3))


def test_order_of_rows_does_not_matter_and_missing_rows_are_missing_values(tiny_teacher, df):
    forecaster = NixtlaForecaster(str(tiny_teacher), "D", "M")
    shuffled = df.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(forecaster.fit(shuffled).predict(5), forecaster.fit(df).predict(5))
    gaps = df.drop([40, 41, 100])
    missing = df.assign(y=df["y"].mask(df.index.isin([40, 41, 100])))
    with pytest.warns(UserWarning, match="3 rows are missing"):
        found = forecaster.fit(gaps).predict(5)
    pd.testing.assert_frame_equal(found, forecaster.fit(missing).predict(5))


def test_covariates(tiny_teacher, tiny_bolt, df):
    df = df.assign(price=np.sin(np.arange(len(df))), seen=np.cos(np.arange(len(df))))
    plain = NixtlaForecaster(str(tiny_teacher), "D", "M").fit(df[["unique_id", "ds", "y"]])
    future = plain.predict(5)[["unique_id", "ds"]].assign(price=np.arange(10.0))
    known = NixtlaForecaster(str(tiny_teacher), "D", "M", futr_exog_list=["price"])
    past = NixtlaForecaster(str(tiny_teacher), "D", "M", hist_exog_list=["seen"])
    with pytest.warns(UserWarning, match="columns seen are not used; name covariates in futr_exog_list"):
        known.fit(df)
    found = [plain.predict(5)["M"], known.predict(5, future.sample(frac=1))["M"], past.forecast(df, 5)["M"]]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not np.allclose(found[one], found[other], rtol=1e-5)
    # the future of a window is that of the frame
    windows = known.cross_validation(df.drop(columns="seen"), 5)
    rest = df.groupby("unique_id").head(85)[lambda rows: rows["unique_id"] == "b"]
    ahead = df[(df["unique_id"] == "b")].tail(5)
    alone = known.forecast(rest.drop(columns="seen"), 5, ahead)
    np.testing.assert_allclose(windows.loc[windows["unique_id"] == "b", "M"], alone["M"], rtol=1e-5)
    with pytest.raises(UserError, match="are needed for the steps ahead; give them as X_df"):
        known.predict(5)
    with pytest.raises(UserError, match=r"a: X_df has no row for 2024-03-14"):
        known.fit(df.drop(columns="seen")).predict(5, future.iloc[:3])
    bolt = NixtlaForecaster(str(tiny_bolt), "D", "M", futr_exog_list=["price"])
    with pytest.warns(UserWarning, match="cannot use covariates; ignored: price"):
        bolt.forecast(df.drop(columns="seen"), 5)


BAD = {
    "no column": (lambda df: df.rename(columns={"y": "sales"}), "has no column 'y'", "frame.no_column"),
    "no rows": (lambda df: df.iloc[:0], "has no rows", "frame.empty"),
    "twice": (lambda df: pd.concat([df, df.iloc[[3]]]), "b has two rows for 2024-01-04", "frame.repeated_time"),
    "off the grid": (
        lambda df: df.assign(ds=df["ds"].where(df.index != 4, pd.Timestamp("2024-01-05 07:00"))),
        "b has a row at 2024-01-05 07:00:00, which is not a whole number of steps of D",
        "frame.off_grid",
    ),
    "no numbers": (lambda df: df.assign(y="much"), "column 'y' is not numbers", "frame.not_numbers"),
    "no times": (lambda df: df.assign(ds="soon"), "ds holds no times", "frame.no_times"),
    "integer times": (lambda df: df.assign(ds=range(len(df))), "ds holds integers, but freq is 'D'", "frame.freq"),
    "missing times": (lambda df: df.assign(ds=df["ds"].where(df.index != 4)), "no ds", "frame.missing_key"),
    "no frame": (lambda df: df.to_dict(), "is dict, not a pandas data frame", "frame.not_a_frame"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_frames_are_one_sentence(tiny_teacher, df, name):
    change, said, key = BAD[name]
    with pytest.raises(UserError, match=said) as error:
        NixtlaForecaster(str(tiny_teacher), "D").fit(change(df))
    assert error.value.key == key


def test_bad_arguments_are_one_sentence(tiny_teacher, df):
    with pytest.raises(UserError, match="freq 'daily': is no step"):
        NixtlaForecaster(str(tiny_teacher), "daily")
    with pytest.raises(UserError, match="but freq is 1; give a pandas offset"):
        NixtlaForecaster(str(tiny_teacher), 1).fit(df)
    forecaster = NixtlaForecaster(str(tiny_teacher), "D")
    with pytest.raises(UserError, match="call fit"):
        forecaster.predict(3)
    for level in ([0], [100], [-5]):
        with pytest.raises(UserError, match="widths in per cent"):
            forecaster.fit(df).predict(3, level=level)
    with pytest.raises(UserError, match="must be 1 or more"):
        forecaster.fit(df).predict(0)
    with pytest.raises(UserError, match="a: has 70 steps; 4 windows of 20 steps need 81"):
        forecaster.cross_validation(df, 20, n_windows=4)
