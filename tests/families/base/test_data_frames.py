"""``predict_df`` gives what chronos-forecasting's gives; expected values are upstream's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from chronos.chronos2 import Chronos2Pipeline
from usage_errors import usage_error

import potstill
from potstill.families.load import embedded_folder, load_forecaster
from potstill.families.registry import family

STEPS = 14


@pytest.fixture(scope="module")
def models():
    """The embedded teacher and upstream's pipeline of it, in the same precision (its config asks for bfloat16)."""
    return potstill.load("embedded"), Chronos2Pipeline.from_pretrained(embedded_folder(), dtype=torch.float32)


def item(name: object, count: int, rng: np.random.Generator) -> pd.DataFrame:
    promo = (rng.random(count) < 0.2).astype(float)
    wave = 100 + 10 * np.sin(np.arange(count) / 7 * 2 * np.pi)
    return pd.DataFrame(
        {
            "item_id": name,
            "timestamp": pd.date_range("2024-01-01", periods=count),
            "target": wave + 20 * promo + rng.normal(size=count),
            "other": 50 + rng.normal(size=count),
            "promo": promo,
            "weather": rng.choice(["sun", "rain"], count),
        }
    )


def frames(ids: tuple[object, ...] = ("b", "a", "c")) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Items of unequal length, and their known covariates of the steps ahead, with a category that the past lacks."""
    rng = np.random.default_rng(0)
    parts = [item(name, count, rng) for name, count in zip(ids, (200, 90, 150), strict=True)]
    ahead = [
        pd.DataFrame(
            {
                "item_id": part["item_id"].iloc[0],
                "timestamp": pd.date_range(part["timestamp"].iloc[-1], periods=STEPS + 1)[1:],
                "promo": (rng.random(STEPS) < 0.3).astype(float),
                "weather": rng.choice(["sun", "rain", "snow"], STEPS),
            }
        )
        for part in parts
    ]
    return pd.concat(parts, ignore_index=True), pd.concat(ahead, ignore_index=True)


def same(models, df: pd.DataFrame, **options) -> pd.DataFrame:
    ours, theirs = (model.predict_df(df.copy(), **{"prediction_length": STEPS, **options}) for model in models)
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-5, atol=1e-5)
    return ours


PLAIN = ["item_id", "timestamp", "target"]


@pytest.mark.parametrize(
    ("columns", "known", "options"),
    [
        (PLAIN, None, {}),
        (PLAIN, None, {"quantile_levels": [0.05, 0.33, 0.995], "context_length": 64}),
        (PLAIN, None, {"cross_learning": True}),
        ([*PLAIN, "other"], None, {"target": ["target", "other"]}),
        ([*PLAIN, "other", "weather"], None, {}),
        ([*PLAIN, "other", "promo", "weather"], ["promo", "weather"], {}),
        ([*PLAIN, "promo", "weather"], ["promo"], {"batch_size": 5}),
        ([*PLAIN, "other", "promo", "weather"], ["promo", "weather"], {"target": ["target", "other"]}),
        ([*PLAIN, "promo", "weather"], ["promo", "weather"], {"cross_learning": True, "batch_size": 6}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_result_is_upstreams(models, columns, known, options):
    df, ahead = frames()
    df = df.loc[:, columns].sample(frac=1, random_state=0)
    same(models, df, future_df=None if known is None else ahead[["item_id", "timestamp", *known]], **options)


@pytest.mark.filterwarnings("ignore")
def test_missing_values_other_names_and_a_long_horizon(models):
    df, _ = frames(ids=(7, 3, 5))
    df = df.loc[:, PLAIN].set_axis(["sku", "day", "sold"], axis=1)
    df.loc[20:30, "sold"] = np.nan
    names = {"id_column": "sku", "timestamp_column": "day", "target": "sold"}
    table = same(models, df, **names, freq="D", prediction_length=200)
    assert table["sku"].unique().tolist() == [7, 3, 5]


@pytest.mark.parametrize(("step", "zone"), [("h", "Europe/Berlin"), ("D", "Europe/Berlin"), ("D", "UTC")])
def test_times_keep_their_zone(models, step, zone):
    times = pd.date_range("2024-10-01", periods=80 if step == "D" else 700, freq=step, tz=zone)
    df = pd.DataFrame({"item_id": "a", "timestamp": times, "target": np.sin(np.arange(len(times)))})
    table = models[0].predict_df(df, prediction_length=3)
    assert table["timestamp"].tolist() == pd.date_range(times[-1], periods=4, freq=step)[1:].tolist()
    assert table["timestamp"].dtype == times.dtype


def test_a_model_without_covariates_ignores_those_of_the_past_and_refuses_known_ones():
    mixer = family("mixer")
    model = mixer.build(mixer.design(None, {"d_model": 8}, 64, 20), 0.0)
    df, ahead = frames()
    with pytest.warns(UserWarning, match="ignored columns: other, promo, weather"):
        table = model.predict_df(df, prediction_length=3)
    pd.testing.assert_frame_equal(table, model.predict_df(df[PLAIN], prediction_length=3))
    assert len(table) == 9
    with usage_error("model.no_groups", "'promo'"):
        model.predict_df(df, ahead, prediction_length=STEPS)


@pytest.mark.parametrize(
    ("change", "options", "key", "fact"),
    [
        (lambda df: df.drop(columns="target"), {}, "frame.no_column", "'target'"),
        (lambda df: df.rename(columns={"item_id": "sku"}), {}, "frame.no_column", "id_column"),
        (lambda df: df.iloc[:0], {}, "frame.empty", "no rows"),
        (lambda df: df["target"], {}, "frame.not_a_frame", "Series"),
        (lambda df: df.assign(target="x"), {}, "frame.invalid", "numeric"),
        (lambda df: df.assign(item_id=None), {}, "frame.missing_key", "item_id"),
        (lambda df: df.drop(index=[3, 5, 6]), {}, "frame.invalid", "frequency"),
        (lambda df: df, {"quantile_levels": [0.5, 1]}, "quantiles.bad_levels", "[0.5, 1]"),
        (lambda df: df, {"prediction_length": 0}, "option.out_of_range", "0"),
    ],
)
def test_wrong_frames_are_refused_in_one_sentence(models, change, options, key, fact):
    with usage_error(key, fact):
        models[0].predict_df(change(frames()[0][PLAIN]), **{"prediction_length": 3, **options})


def test_wrong_futures_are_refused_in_one_sentence(models):
    df, ahead = frames()
    for wrong, key in (
        (ahead.iloc[1:], "frame.invalid"),
        (ahead[ahead["item_id"] != "a"], "frame.invalid"),
        (ahead.assign(timestamp=ahead["timestamp"] + pd.Timedelta(days=1)), "frame.future_times"),
    ):
        with usage_error(key, "predict_df: "):
            models[0].predict_df(df, wrong, prediction_length=STEPS)


def test_a_signal_on_a_large_level_is_kept(tiny_teacher: Path):
    """chronos-forecasting reads float32, in which nothing of it would be left."""
    model = load_forecaster(tiny_teacher)
    wave = 10 * np.sin(np.arange(60) * 2 * np.pi / 12)
    level = np.repeat([0.0, 2e9, 0.0], 60)
    frame = pd.DataFrame(
        {
            "item_id": np.repeat(["b", "a", "c"], 60),
            "timestamp": np.tile(pd.date_range("2024-01-01", periods=60), 3),
            "target": np.tile(wave, 3) + level,
        }
    )
    table = model.predict_df(frame, prediction_length=4)
    parts = {name: part.set_index("timestamp").select_dtypes("number") for name, part in table.groupby("item_id")}
    np.testing.assert_allclose(parts["a"] - 2e9, parts["b"], atol=1e-3)
    np.testing.assert_array_equal(parts["b"], parts["c"])
