"""``forecast``: tables of quantiles behind the last row of every series."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from chronos.chronos2 import Chronos2Pipeline
from usage_errors import usage_error

import potstill
from potstill.families.chronos2.family import Chronos2Forecaster

LEVELS = [round(0.1 * k, 1) for k in range(1, 10)]


@pytest.fixture
def folder(small_csv: Path, tmp_path: Path) -> Path:
    """Two files with time: one of 500 hours, one of 30 days with a gap."""
    folder = tmp_path / "timed"
    folder.mkdir()
    (folder / "small.csv").write_bytes(small_csv.read_bytes())
    days = pd.date_range("2024-03-01", periods=30)
    values = np.where(np.arange(30) == 12, np.nan, 50 + np.arange(30) % 7)
    pd.DataFrame({"ds": days, "sales": values}).to_parquet(folder / "few.parquet")
    return folder


def by_pipeline(student: Path, series: np.ndarray, horizon: int) -> np.ndarray:
    """Upstream's own quantiles at the nine levels ``[Q, H]``; an untrained model's cross, so all are sorted first."""
    pipeline = Chronos2Pipeline.from_pretrained(student)
    levels = pipeline.quantiles
    found, _ = pipeline.predict_quantiles(
        [series.astype(np.float32)],
        prediction_length=horizon,
        quantile_levels=levels,
        limit_prediction_length=False,
    )
    in_order = found[0][0].T.sort(dim=0).values.numpy()
    return in_order[[levels.index(level) for level in LEVELS]]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("horizon", [7, 40])
@pytest.mark.filterwarnings("ignore:tiny was trained", "ignore:student was trained", "ignore:We recommend")
def test_forecasts_are_those_of_the_upstream_pipeline(distilled, folder, tmp_path, ending, horizon):
    path = potstill.forecast(str(distilled), str(folder), horizon, tmp_path / f"out.{ending}", calibrate=0)
    table = pd.read_csv(path, parse_dates=["ds"]) if ending == "csv" else pd.read_parquet(path)
    assert list(table.columns) == ["file", "unique_id", "ds", *[f"q{level:g}" for level in LEVELS]]
    table["unique_id"] = table["file"] + "/" + table["unique_id"]
    assert list(table["unique_id"].unique()) == ["few/sales", "small/low", "small/high"]
    assert len(table) == 3 * horizon
    small = pd.read_csv(folder / "small.csv")
    few = pd.read_parquet(folder / "few.parquet")["sales"].to_numpy()
    series = {"few/sales": few, "small/low": small["low"].to_numpy(), "small/high": small["high"].to_numpy()}
    for name, values in series.items():
        rows = table[table["unique_id"] == name]
        ours = rows[[f"q{level:g}" for level in LEVELS]].to_numpy().T
        assert (np.diff(ours, axis=0) >= 0).all()
        theirs = by_pipeline(distilled / "student", values, horizon)
        assert np.abs(ours - theirs).max() <= 2e-4 * max(1.0, np.abs(values[np.isfinite(values)]).max() / 10)
        step = timedelta(days=1) if name.startswith("few") else timedelta(hours=1)
        last = pd.Timestamp("2024-03-30" if name.startswith("few") else "2024-01-21 19:00")
        assert list(rows["ds"]) == [last + step * k for k in range(1, horizon + 1)]


def test_without_a_time_column_steps_are_whole_numbers(distilled, tmp_path):
    pd.DataFrame({"y": np.sin(np.arange(100))}).to_csv(tmp_path / "plain.csv", index=False)
    path = potstill.forecast(str(distilled), str(tmp_path / "plain.csv"), 3, tmp_path / "out.csv")
    table = pd.read_csv(path)
    assert table["ds"].tolist() == [100, 101, 102]
    assert table["unique_id"].tolist() == ["y"] * 3


def test_levels_and_targets_as_asked(distilled, folder, tmp_path):
    levels = [0.9, 0.05, 0.25, 0.5]
    data, options = [str(folder / "small.csv")], {"quantiles": levels, "target": ["high"], "calibrate": 0}
    path = potstill.forecast(str(distilled), data, 4, tmp_path / "o.parquet", **options)
    table = pd.read_parquet(path)
    assert list(table.columns)[2:] == ["q0.05", "q0.25", "q0.5", "q0.9"]
    assert set(table["unique_id"]) == {"high"}
    # a level of the model's own is its own; one between two is between them
    series = torch.tensor(pd.read_csv(folder / "small.csv")["high"].to_numpy())
    own = potstill.load(distilled).predict(series, 4)
    at = {level: own.quantiles[0, own.levels.tolist().index(pytest.approx(level))] for level in (0.05, 0.2, 0.3, 0.9)}
    np.testing.assert_allclose(table["q0.05"], at[0.05], rtol=1e-5)
    np.testing.assert_allclose(table["q0.9"], at[0.9], rtol=1e-5)
    assert (table["q0.25"].to_numpy() >= at[0.2].numpy() - 1e-4).all()
    assert (table["q0.25"].to_numpy() <= at[0.3].numpy() + 1e-4).all()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_many_series_go_through_in_batches(distilled, folder, tmp_path, monkeypatch, ending):
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet}[ending]
    whole = read(potstill.forecast(str(distilled), str(folder), 5, tmp_path / f"a.{ending}"))
    monkeypatch.setattr("potstill.verbs.forecasting.batches.BATCH_SIZE", 1)
    apart = read(potstill.forecast(str(distilled), str(folder), 5, tmp_path / f"b.{ending}"))
    pd.testing.assert_frame_equal(whole, apart, rtol=1e-4)


def test_a_failure_leaves_the_old_table_and_nothing_else(distilled, folder, tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    out.write_text("old")

    def fail(*_: object) -> None:
        raise RuntimeError("no more")

    monkeypatch.setattr(Chronos2Forecaster, "predict", fail)
    with pytest.raises(RuntimeError, match="no more"):
        potstill.forecast(str(distilled), str(folder), 5, out)
    assert out.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["out.csv"]


@pytest.mark.parametrize(
    ("output", "horizon", "levels", "key", "fact"),
    [
        ("out.json", 3, LEVELS, "output.unknown_ending", "'.json'"),
        ("absent/out.csv", 3, LEVELS, "output.no_parent_folder", "absent"),
        ("out.csv", 0, LEVELS, "option.out_of_range", "--prediction-length 0"),
        ("out.csv", 3, [0.5, 1.0], "quantiles.bad_levels", "0.5,1.0"),
        ("out.csv", 3, [], "quantiles.bad_levels", "--quantiles"),
    ],
)
def test_what_does_not_fit(distilled, folder, tmp_path, output, horizon, levels, key, fact):
    with usage_error(key, fact):
        potstill.forecast(str(distilled), str(folder), horizon, tmp_path / output, quantiles=levels)
    assert not (tmp_path / output).exists()


def test_levels_beyond_the_models_and_files_without_time_are_warned_of(
    folder: Path, tiny_teacher: Path, tmp_path: Path
):
    pd.DataFrame({"sales": np.sin(np.arange(60.0))}).to_csv(folder / "untimed.csv", index=False)
    with pytest.warns(UserWarning, match="stay flat|no time column") as said:
        potstill.forecast(str(tiny_teacher), folder, 4, tmp_path / "out.csv", quantiles=[0.5, 0.9999])
    texts = [str(one.message) for one in said]
    assert any("stay flat" in text for text in texts)
    assert any("untimed has no time column" in text for text in texts)


def test_a_frame_is_forecast_like_its_file(small_csv: Path, tiny_teacher: Path, tmp_path: Path):
    potstill.forecast(str(tiny_teacher), small_csv, 4, tmp_path / "file.csv")
    frame = pd.read_csv(small_csv, parse_dates=[0])
    potstill.forecast(str(tiny_teacher), frame, 4, tmp_path / "frame.csv")
    ours, theirs = pd.read_csv(tmp_path / "frame.csv"), pd.read_csv(tmp_path / "file.csv")
    np.testing.assert_allclose(ours.filter(regex=r"^q0"), theirs.filter(regex=r"^q0"))


def mixed_frame(**values: list[float]) -> pd.DataFrame:
    """A long frame of days that all end on the same one."""
    parts = [
        pd.DataFrame({"unique_id": name, "ds": pd.date_range(end="2024-03-31", periods=len(y)), "y": y})
        for name, y in values.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_every_series_comes_out_and_what_the_model_did_not_forecast_is_noted(
    tiny_teacher: Path, tmp_path: Path, capsys
):
    wave = (10 + np.sin(np.arange(60))).tolist()
    frame = mixed_frame(wave=wave, flat=[7.0] * 60, gone=[np.nan] * 60, one=[3.0], two=[5.0, 4.0])
    path = potstill.forecast(str(tiny_teacher), frame, 3, tmp_path / "out.csv", quantiles=[0.1, 0.5])
    table = pd.read_csv(path, keep_default_na=False, na_values={"q0.1": "", "q0.5": ""})
    assert table["unique_id"].unique().tolist() == ["wave", "flat", "gone", "one", "two"]  # as in the input
    assert table["ds"].tolist() == ["2024-04-01", "2024-04-02", "2024-04-03"] * 5
    rows = dict(list(table.groupby("unique_id")))
    assert (rows["flat"][["q0.1", "q0.5"]] == 7).all(axis=None)
    assert (rows["one"][["q0.1", "q0.5"]] == 3).all(axis=None)
    # two values that differ by 1: the last one, and normal errors of that size that add up
    np.testing.assert_allclose(rows["two"]["q0.5"], 4)
    np.testing.assert_allclose(rows["two"]["q0.1"], 4 - 1.2815516 * np.sqrt([1, 2, 3]), rtol=1e-6)
    assert rows["gone"][["q0.1", "q0.5"]].isna().to_numpy().all()
    assert {name: part["note"].iloc[0] for name, part in rows.items()} == {
        "wave": "",
        "flat": "",
        "gone": "no values: there is nothing to forecast from",
        "one": "fewer than 3 values: the last value is repeated, without an interval",
        "two": "fewer than 3 values: the last value is repeated",
    }
    said = capsys.readouterr().err
    assert "1 series without any value, their forecast is missing: frame/gone" in said
    assert "1 series constant, forecast as that constant: frame/flat" in said
    assert "2 series forecast without the model, see the column note: frame/one, frame/two" in said
    assert "frame: ids unique_id; time ds; forecast y" in said
    assert "frame: 2024-02-01 to 2024-03-31, step D, season 7" in said
    assert f"5 series in, 5 out, 3 steps each: 15 rows written to {path} in " in said


def test_strict_refuses_what_would_be_noted(tiny_teacher: Path, tmp_path: Path):
    wave = np.sin(np.arange(60)).tolist()
    with usage_error("forecast.strict_series", "2 of 4 series", "frame/one", "no values"):
        frame = mixed_frame(wave=wave, flat=[7.0] * 60, gone=[np.nan] * 60, one=[3.0])
        potstill.forecast(str(tiny_teacher), frame, 3, tmp_path / "out.csv", strict=True)
    frame = mixed_frame(wave=wave, flat=[7.0] * 60)
    assert len(potstill.forecast(str(tiny_teacher), frame, 3, strict=True)) == 6


def test_without_anything_to_note_there_is_no_column_for_it(tiny_teacher: Path, tmp_path: Path):
    frame = mixed_frame(flat=[7.0] * 60, wave=np.sin(np.arange(60)).tolist())
    table = pd.read_csv(potstill.forecast(str(tiny_teacher), frame, 3, tmp_path / "out.csv", quantiles=[0.5]))
    assert list(table.columns) == ["unique_id", "ds", "q0.5"]


def test_what_was_repaired_is_printed(tiny_teacher: Path, tmp_path: Path, capsys):
    rows = [f"2024-01-{d:02d},{'oops' if d == 9 else d % 5},{10**9 + d % 3}" for d in range(1, 30) if d != 12]
    (tmp_path / "days.csv").write_text("\n".join(["date,y,large", *rows, rows[-1]]) + "\n")
    path = potstill.forecast(str(tiny_teacher), tmp_path / "days.csv", 3, tmp_path / "out.csv")
    said = capsys.readouterr().err
    assert "repaired: 1 unreadable cells taken as missing: days/y" in said
    assert "repaired: 1 missing time steps opened" in said
    assert "repaired: 1 repeated timestamps" in said
    table = pd.read_csv(path, keep_default_na=False)
    large = table[table["unique_id"] == "large"]
    assert "note" not in table
    assert large["q0.5"].between(10**9 - 10, 10**9 + 10).all()


def test_forecasts_begin_after_the_last_row_of_the_table(tiny_teacher: Path, tmp_path: Path, capsys):
    wave = 10 + np.sin(np.arange(120))
    tail = np.where(np.arange(120) < 110, wave, np.nan)
    long_gone = np.where(np.arange(120) < 50, wave, np.nan)
    frame = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=120), "a": wave, "b": tail, "c": long_gone})
    path = potstill.forecast(str(tiny_teacher), frame, 3, tmp_path / "out.parquet")
    table = pd.read_parquet(path).set_index("unique_id")
    for name in "abc":
        assert table.loc[name, "ds"].iloc[0] == pd.Timestamp("2024-04-30")
    own = potstill.load(tiny_teacher).predict(tail, 3).at_levels(torch.tensor(LEVELS)).quantiles[0]
    ours = table.loc["b"].filter(regex="^q").to_numpy().T
    np.testing.assert_allclose(ours, own, rtol=1e-5)
    assert (table.loc["c", "note"] == "no value in the last 64 rows: the last season of 7 steps is repeated").all()
    # the last of the seven known weeks is repeated; 70 missing days are ten weeks, so the season is in phase
    np.testing.assert_allclose(table.loc["c", "q0.5"], np.float32(wave[43:46]))
    assert "2 series end with missing values" in capsys.readouterr().err


@pytest.fixture
def nan_of_the_last(monkeypatch):
    """The model's forecast of the last window of every pass is NaN."""

    def broken(self, windows, horizon, hidden=(), attention=()):
        output = forward(self, windows, horizon)
        output.forecast.values[-1] = torch.nan
        return output

    forward = Chronos2Forecaster.forward
    monkeypatch.setattr(Chronos2Forecaster, "forward", broken)


def test_a_forecast_that_is_not_finite_is_replaced_and_noted(tiny_teacher: Path, tmp_path: Path, monkeypatch):
    def overflowing(self, windows, horizon, **options):
        forecast = predict(self, windows, horizon, **options)
        loc = forecast.loc.clone()
        loc[-1] = 1e39  # beyond single precision
        return replace(forecast, loc=loc)

    predict = Chronos2Forecaster.predict
    monkeypatch.setattr(Chronos2Forecaster, "predict", overflowing)
    frame = mixed_frame(a=np.sin(np.arange(60)).tolist(), b=[7.0] * 60, c=np.arange(60.0).tolist())
    path = potstill.forecast(str(tiny_teacher), frame, 3, tmp_path / "out.parquet", quantiles=[0.5])
    table = pd.read_parquet(path).set_index("unique_id")
    assert table.loc["c", "q0.5"].tolist() == [59, 59, 59]
    assert table.loc["c", "note"].unique().tolist() == [
        "the model's forecast is not finite: the last value is repeated"
    ]
    assert (table.loc[["a", "b"], "note"] == "").all()
    with usage_error("forecast.strict_series", "frame/c", "not finite"):
        potstill.forecast(str(tiny_teacher), frame, 3, tmp_path / "out.csv", strict=True)


def test_a_broken_model_writes_nothing(tiny_teacher: Path, tmp_path: Path, nan_of_the_last):
    frame = mixed_frame(a=np.sin(np.arange(60)).tolist(), b=[7.0] * 60)
    with usage_error("model.forecast_not_finite", "tiny", "frame/a"):
        potstill.forecast(str(tiny_teacher), frame, 3, tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []


def days(count: int, **columns) -> pd.DataFrame:
    return pd.DataFrame({"day": pd.date_range("2024-01-01", periods=count), **columns})


def test_ids_and_times_have_the_names_and_types_of_the_input(tiny_teacher: Path, tmp_path: Path):
    wave = 10 + np.sin(np.arange(60))
    parts = [days(60, sku=np.int16(sku), sold=wave * sku) for sku in (20, 3)]
    frame = pd.concat(parts, ignore_index=True)[["sku", "day", "sold"]]
    frame.to_parquet(tmp_path / "in.parquet")
    frame.to_csv(tmp_path / "in.csv", index=False)
    ahead = pd.date_range("2024-03-01", periods=2)
    by_file = pd.read_parquet(potstill.forecast(str(tiny_teacher), tmp_path / "in.parquet", 2, tmp_path / "o.parquet"))
    by_frame = potstill.forecast(str(tiny_teacher), frame, 2)
    for table in (by_file, by_frame):
        assert list(table.columns[:2]) == ["sku", "day"]
        assert table["sku"].tolist() == [20, 20, 3, 3]
        assert (table["sku"].dtype, table["day"].dtype) == (frame["sku"].dtype, frame["day"].dtype)
        assert table["day"].tolist() == [*ahead, *ahead]
    text = potstill.forecast(str(tiny_teacher), tmp_path / "in.csv", 2, tmp_path / "o.csv")
    assert text.read_text().splitlines()[1].startswith('20,"2024-03-01",')
    joined = potstill.forecast(str(tiny_teacher), tmp_path / "in.csv", 2).merge(
        pd.read_csv(tmp_path / "in.csv"), on="sku"
    )
    assert len(joined) == 4 * 60
    categories = frame.astype({"sku": "category"})
    assert potstill.forecast(str(tiny_teacher), categories, 2)["sku"].dtype == "category"
    leading = frame.assign(sku=frame["sku"].map(lambda sku: f"{sku:03}"))
    assert potstill.forecast(str(tiny_teacher), leading, 2)["sku"].unique().tolist() == ["020", "003"]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC"])
def test_times_keep_their_zone_over_a_change_of_clocks(tiny_teacher: Path, tmp_path: Path, zone: str):
    times = pd.date_range("2024-10-25", periods=72, freq="h", tz=zone)
    frame = pd.DataFrame({"at": times, "load": np.sin(np.arange(72.0))})
    ahead = pd.date_range(times[-1], periods=4, freq="h")[1:]
    table = potstill.forecast(str(tiny_teacher), frame, 3)
    assert table["at"].dtype == times.dtype
    assert table["at"].tolist() == ahead.tolist()
    frame.to_parquet(tmp_path / "in.parquet")
    written = potstill.forecast(str(tiny_teacher), tmp_path / "in.parquet", 3, tmp_path / "o.csv")
    assert pd.read_csv(written)["at"].tolist() == ahead.astype(str).tolist()


@pytest.mark.parametrize(
    ("times", "ahead"),
    [
        (pd.date_range("2024-01-01", periods=40).strftime("%Y%m%d").astype("int32"), [20240210, 20240211]),
        (1704067200000 + np.arange(40) * 3600000, [1704067200000 + k * 3600000 for k in (40, 41)]),
        (np.arange(1980, 2020), [2020, 2021]),
    ],
)
def test_times_that_are_numbers_stay_numbers(tiny_teacher: Path, times, ahead):
    frame = pd.DataFrame({"date": times, "y": np.sin(np.arange(40.0))})
    table = potstill.forecast(str(tiny_teacher), frame, 2)
    assert table["date"].tolist() == ahead
    assert table["date"].dtype == frame["date"].dtype


def test_several_targets_of_a_long_table_have_a_column(tiny_teacher: Path, tmp_path: Path):
    wave = 10 + np.sin(np.arange(60))
    parts = [days(60, unique_id=sku, sold=wave, price=wave + 1) for sku in "ab"]
    frame = pd.concat(parts, ignore_index=True)
    table = potstill.forecast(str(tiny_teacher), frame, 1, target=["sold", "price"])
    assert list(zip(table["unique_id"], table["target_name"], strict=True)) == [
        ("a", "sold"), ("b", "sold"), ("a", "price"), ("b", "price")
    ]  # fmt: skip


def test_files_with_other_columns_have_joined_ids(tiny_teacher: Path, tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    wave = 10 + np.sin(np.arange(60))
    pd.concat([days(60, item_id=k, y=wave) for k in (1, 2)]).to_csv(folder / "long.csv", index=False)
    days(60, load=wave).to_csv(folder / "wide.csv", index=False)
    table = potstill.forecast(str(tiny_teacher), folder, 1)
    assert list(table.columns[:3]) == ["file", "unique_id", "day"]
    assert list(zip(table["file"], table["unique_id"], strict=True)) == [
        ("long", "1"), ("long", "2"), ("wide", "load")
    ]  # fmt: skip


def test_layouts_have_the_columns_of_other_libraries(tiny_teacher: Path):
    wave = 10 + np.sin(np.arange(60))
    frame = pd.concat([days(60, sku=k, sold=wave) for k in (1, 2)], ignore_index=True)
    tables = {
        layout: potstill.forecast(str(tiny_teacher), frame, 2, quantiles=[0.1, 0.8], layout=layout)
        for layout in ("chronos", "nixtla", "autogluon")
    }
    chronos = potstill.load(tiny_teacher).predict_df(
        frame, id_column="sku", timestamp_column="day", target="sold", prediction_length=2, quantile_levels=[0.1, 0.8]
    )
    assert list(tables["chronos"].columns) == ["item_id", "timestamp", *chronos.columns[2:]]
    assert (tables["chronos"]["target_name"] == "sold").all()
    assert list(tables["nixtla"].columns) == ["unique_id", "ds", "Potstill", "Potstill-lo-80", "Potstill-hi-60"]
    assert list(tables["autogluon"].columns) == ["item_id", "timestamp", "mean", "0.1", "0.8"]
    np.testing.assert_array_equal(tables["chronos"]["predictions"], tables["nixtla"]["Potstill"])
    for table in tables.values():
        assert table.iloc[:, 0].tolist() == [1, 1, 2, 2]
    with usage_error("names.unknown_layout", "chronos"):
        potstill.forecast(str(tiny_teacher), frame, 2, layout="darts")


def test_non_negative_is_suggested_and_floors_the_forecast(tiny_teacher: Path, capsys):
    counts = np.random.default_rng(0).poisson(0.3, 60).astype(float)
    frame = days(60, sold=counts)
    raw = potstill.forecast(str(tiny_teacher), frame, 5, quantiles=[0.01, 0.5], mean=True)
    assert (raw["q0.01"] < 0).any()
    assert "1 series never fall below 0 and their forecast does; --non-negative" in capsys.readouterr().err
    floored = potstill.forecast(str(tiny_teacher), frame, 5, quantiles=[0.01, 0.5], mean=True, non_negative=True)
    numbers = ["mean", "q0.01", "q0.5"]
    np.testing.assert_array_equal(floored[numbers], raw[numbers].clip(lower=0))
    assert "--non-negative" not in capsys.readouterr().err


def test_a_loaded_model_forecasts_like_its_folder(tiny_teacher: Path):
    frame = days(60, sold=10 + np.sin(np.arange(60)))
    pd.testing.assert_frame_equal(
        potstill.forecast(potstill.load(tiny_teacher), frame, 3), potstill.forecast(tiny_teacher, frame, 3)
    )


@pytest.mark.parametrize(
    "shape",
    ["series", "unnamed index", "index and column", "period index", "multi index", "unnamed multi index"],
)
def test_frames_of_any_index(tiny_teacher: Path, shape: str):
    wave = 10 + np.sin(np.arange(60))
    index = pd.date_range("2024-01-01", periods=60)
    long = pd.MultiIndex.from_product([["a", "b"], index])
    data, ids, time = {
        "series": (pd.Series(wave, index, name="v"), ["v"], "ds"),
        "unnamed index": (pd.DataFrame({"v": wave}, index), ["v"], "ds"),
        "index and column": (pd.DataFrame({"t": index, "v": wave}).set_index("t", drop=False), ["v"], "t"),
        "period index": (pd.DataFrame({"v": wave}, index.to_period("D").rename("p")), ["v"], "p"),
        "multi index": (pd.DataFrame({"v": np.r_[wave, wave]}, long.rename(["item", "t"])), ["a", "b"], "t"),
        "unnamed multi index": (pd.DataFrame({"v": np.r_[wave, wave]}, long), ["a", "b"], "ds"),
    }[shape]
    table = potstill.forecast(str(tiny_teacher), data, 2)
    assert table.columns[1] == time
    assert table.iloc[:, 0].tolist() == [one for one in ids for _ in range(2)]
    ahead = pd.date_range("2024-03-01", periods=2)
    assert table[time].tolist() == [*(ahead.to_period("D") if shape == "period index" else ahead)] * len(ids)


def test_an_index_that_differs_from_the_column_of_its_name_is_refused(tiny_teacher: Path):
    frame = pd.DataFrame({"t": np.arange(60.0)}, pd.date_range("2024-01-01", periods=60, name="t"))
    with usage_error("data.index_and_column", "'t'"):
        potstill.forecast(str(tiny_teacher), frame, 2)


@pytest.mark.filterwarnings("ignore:tiny was trained", "ignore:student was trained")
def test_units_and_levels_of_any_size_are_forecast_as_the_plain_series(distilled, tmp_path):
    """Public reports: units of 1e-12 taken for constant, 1e16 times too large forecasts of values of 1e20."""
    index = pd.date_range("2024-01-01", periods=200, freq="h")
    wave = 100 + 10 * np.sin(2 * np.pi * np.arange(200) / 24) + np.random.default_rng(0).normal(size=200)
    exact = 2_000_000_000.3
    columns = {"plain": wave, "tiny": 1e-12 * wave, "wei": 1e18 * wave, "huge": 1e60 * wave, "high": wave + 2e9}
    frame = pd.DataFrame({**columns, "flat": exact, "counter": 10**9 + np.arange(200) % 5}, index=index)
    table = pd.read_parquet(potstill.forecast(str(distilled), frame, 6, tmp_path / "out.parquet"))
    found = {name: rows[[f"q{level:g}" for level in LEVELS]].to_numpy()
             for name, rows in table.groupby("unique_id")}  # fmt: skip
    assert set(found) == {*columns, "flat", "counter"}
    assert "note" not in table
    width = np.ptp(found["plain"])
    for name, unit in (("tiny", 1e-12), ("wei", 1e18), ("huge", 1e60)):
        np.testing.assert_allclose(found[name] / unit, found["plain"], rtol=0, atol=1e-3 * width)
    np.testing.assert_allclose(found["high"] - 2e9, found["plain"], rtol=0, atol=1e-3 * width)
    assert (found["flat"] == exact).all()
    assert np.ptp(found["counter"]) > 0


@pytest.mark.filterwarnings("ignore:tiny was trained", "ignore:student was trained")
def test_steps_of_a_microsecond_are_read(distilled, tmp_path):
    index = pd.date_range("2024-01-01", periods=120, freq="us")
    frame = pd.DataFrame({"a": 20 + 5 * np.sin(np.arange(120) / 4)}, index=index)
    table = pd.read_parquet(potstill.forecast(str(distilled), frame, 4, tmp_path / "out.parquet"))
    assert table["ds"].tolist() == pd.date_range(index[-1], periods=5, freq="us")[1:].tolist()


def test_no_input_is_replaced(folder, tmp_path):
    small = folder / "small.csv"
    known = pd.read_csv(small)
    ahead = tmp_path / "ahead.csv"
    known.tail(4).drop(columns="low").to_csv(ahead, index=False)
    before = {path: path.read_bytes() for path in (small, ahead)}
    link = tmp_path / "link.csv"
    link.symlink_to(small)
    for data in (small, folder, [str(small)]):
        for output in (small, link):
            with usage_error("output.is_an_input", output.name):
                potstill.forecast("embedded", data, 4, output)
    with usage_error("output.is_an_input", "ahead.csv"):
        potstill.forecast("embedded", small, 4, ahead, target="low", known="high", future=ahead)
    assert {path: path.read_bytes() for path in before} == before
    other = tmp_path / "old.csv"
    other.write_text("old")
    assert potstill.forecast("embedded", small, 4, other) == other  # another file is replaced, as before
    assert len(pd.read_csv(other)) == 8


def test_an_output_in_the_home_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert potstill.forecast("embedded", folder / "small.csv", 4, "~/next.csv") == tmp_path / "next.csv"
    assert (tmp_path / "next.csv").is_file()


def test_intervals_follow_the_last_errors(tiny_teacher: Path, tmp_path: Path, capsys):
    rng = np.random.default_rng(0)
    frame = mixed_frame(a=rng.normal(size=60).tolist(), b=[7.0] * 60, c=(100 * rng.normal(size=12)).tolist())
    tables = (potstill.forecast(str(tiny_teacher), frame, 4, calibrate=n, mean=True) for n in (0, 3))
    plain, fitted = (table.set_index("unique_id") for table in tables)
    said = [line for line in capsys.readouterr().err.splitlines() if "intervals fitted" in line]
    assert len(said) == 1
    assert (
        "to the errors of the last 3 horizons, by as many further forecasts (--calibrate 0: none): 1 series" in said[0]
    )
    assert said[0].endswith("; 1 without known values there, or with too little history, keep theirs")  # c
    for name in ("q0.5", "mean"):
        pd.testing.assert_series_equal(plain[name], fitted[name])
    pd.testing.assert_frame_equal(plain.loc[["b", "c"]], fitted.loc[["b", "c"]])
    factor = float(said[0].split("factors ")[1].split()[0])
    assert factor > 1.2
    widths = [table.loc["a", "q0.9"] - table.loc["a", "q0.1"] for table in (fitted, plain)]
    np.testing.assert_allclose(widths[0] / widths[1], factor, atol=0.01)


@pytest.mark.parametrize("horizons", [-1, 101, 2.5, "4"])
def test_horizons_to_fit_to(tiny_teacher: Path, folder, horizons):
    with usage_error("option.out_of_range", f"--calibrate {horizons}"):
        potstill.forecast(str(tiny_teacher), folder, 3, calibrate=horizons)
