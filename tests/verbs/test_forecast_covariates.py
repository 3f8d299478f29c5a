"""``potstill forecast`` with covariates: equal to ``predict_df``, which equals chronos-forecasting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from usage_errors import usage_error

import potstill
from potstill.families.base import Forecaster

STEPS, LEVELS = 6, [0.1, 0.5, 0.9]


def items() -> tuple[pd.DataFrame, pd.DataFrame]:
    """History and future of two items: ``promo`` and ``weather`` are known ahead, ``visits`` is not."""
    rng = np.random.default_rng(0)
    history, future = [], []
    for name, count in (("b", 64), ("a", 50)):
        days = pd.date_range("2024-01-01", periods=count + STEPS)
        promo = (rng.random(count + STEPS) < 0.3).astype(float)
        frame = pd.DataFrame(
            {
                "sku": name,
                "day": days,
                "sold": 20 + 5 * np.sin(np.arange(count + STEPS) * 2 * np.pi / 7) + 10 * promo,
                "promo": promo,
                "weather": rng.choice(["sun", "rain"], count + STEPS),
                "visits": rng.normal(size=count + STEPS),
            }
        )
        history.append(frame[:count])
        future.append(frame[count:])
    return pd.concat(history, ignore_index=True), pd.concat(future, ignore_index=True)


KNOWN = {"known": ["promo", "weather"], "past": "visits", "target": "sold", "known_method": "model"}


@pytest.fixture(scope="module")
def expected(tiny_teacher: Path) -> np.ndarray:
    history, future = items()
    model = potstill.load(tiny_teacher)
    assert isinstance(model, Forecaster)
    levels = [round(level, 6) for level in model.levels.tolist()]  # all: those of a random model cross
    columns = ["sku", "day", "promo", "weather"]
    table = model.predict_df(history, future.loc[:, columns], "sku", "day", "sold", STEPS, levels)
    ordered = np.sort(table[[str(level) for level in levels]].to_numpy(), axis=1)
    return ordered[:, [levels.index(level) for level in LEVELS]]


def check(table: pd.DataFrame, expected: np.ndarray) -> None:
    _, future = items()
    assert table["sku"].tolist() == future["sku"].tolist()
    assert pd.to_datetime(table["day"]).tolist() == future["day"].tolist()
    np.testing.assert_allclose(table[[f"q{level}" for level in LEVELS]], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["frame", "csv", "parquet", "one table"])
def test_known_covariates_are_used_as_in_predict_df(tiny_teacher: Path, tmp_path: Path, expected, form: str):
    history, future = items()
    ahead = future.drop(columns=["visits"])  # the true values of the target in this table are not read
    if form == "one table":
        rows = pd.concat([history, future.assign(sold=np.nan, visits=np.nan)])
        data, ahead = rows.sort_values(["sku", "day"], ascending=[False, True]), None
    elif form == "frame":
        data, ahead = history, ahead.sample(frac=1, random_state=0)
    else:
        data, path = tmp_path / f"data.{form}", tmp_path / f"ahead.{form}"
        for frame, place in ((history, data), (ahead, path)):
            frame.to_csv(place, index=False) if form == "csv" else frame.to_parquet(place)
        ahead = path
    table = potstill.forecast(tiny_teacher, data, STEPS, future=ahead, quantiles=LEVELS, **KNOWN)
    check(table, expected)


def test_covariates_change_the_forecast(tiny_teacher: Path, expected):
    history, _ = items()
    alone = potstill.forecast(tiny_teacher, history, STEPS, quantiles=LEVELS, target="sold")
    assert np.abs(alone[[f"q{level}" for level in LEVELS]].to_numpy() - expected).max() > 1e-2


def test_what_is_repaired_and_missing_in_the_future_is_said(tiny_teacher: Path, tmp_path: Path, capsys):
    history, future = items()
    text = future.drop(columns=["sold", "visits"]).to_csv(index=False)
    path = tmp_path / "plan.csv"
    path.write_text(text + "b,2024-04-01,1,sun,7\n")  # a cell too many
    potstill.forecast(tiny_teacher, history, STEPS, future=path, **KNOWN)
    assert "repaired: 1 ragged rows left out: future (first: line 14)" in capsys.readouterr().err
    gaps: Any = future.assign(promo=future["promo"].where(future.index != 2))
    with pytest.warns(UserWarning, match="1 values of known covariates are missing in the steps ahead, such as promo"):
        potstill.forecast(tiny_teacher, history, STEPS, future=gaps, **KNOWN)


def test_a_covariate_beyond_single_precision_is_missing_and_said(tiny_teacher: Path, capsys):
    history, _ = items()
    frame = history[["sku", "day", "sold"]].assign(visits=1e60)
    table = potstill.forecast(tiny_teacher, frame, STEPS, target="sold", past="visits")
    assert "114 values beyond 3.4e+38 taken as missing: frame/visits" in capsys.readouterr().err
    assert np.isfinite(table.filter(like="q0.").to_numpy()).all()
    assert "note" not in table


def test_what_does_not_fit(tiny_teacher: Path, tmp_path: Path):
    history, future = items()
    model = potstill.load(tiny_teacher)
    with usage_error("future.too_short", "frame/b", "6 of 9"):
        potstill.forecast(model, history, 9, future=future, **KNOWN)
    with usage_error("future.no_column", "'weather'"):
        potstill.forecast(model, history, STEPS, future=future.drop(columns="weather"), **KNOWN)
    with usage_error("future.without_known"):
        potstill.forecast(model, history, STEPS, future=future)
    for name in ("one", "two"):
        history.to_csv(tmp_path / f"{name}.csv", index=False)
    with usage_error("future.several_tables", "2 files"):
        potstill.forecast(model, tmp_path, STEPS, future=future, **KNOWN)
    with usage_error("future.several_files"):
        potstill.forecast(model, history, STEPS, future=tmp_path, **KNOWN)
    with usage_error("future.too_short", "0 of 6"):
        potstill.forecast(model, history, STEPS, **KNOWN)
    zoned = future.assign(day=future["day"].dt.tz_localize("UTC"))
    with usage_error("future.other_type", "'day'", "tz=UTC"):
        potstill.forecast(model, history, STEPS, future=zoned, **KNOWN)
    broken = future.assign(promo=["yes"] * len(future))
    with usage_error("future.other_type", "promo"):
        potstill.forecast(model, history, STEPS, future=broken, **KNOWN)


def test_a_model_that_cannot_use_covariates_is_named(tiny_bolt: Path):
    history, future = items()
    with usage_error("model.no_groups", "cannot use covariates"):
        potstill.forecast(tiny_bolt, history, STEPS, future=future, **KNOWN)
    with usage_error("model.no_groups", "--known-method regression"):
        potstill.forecast(tiny_bolt, history, STEPS, future=future, target="sold", known="promo")
