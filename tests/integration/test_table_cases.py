"""Tables that were once read wrongly: ids, times and the history of every series as pandas has them.

That the history is right is seen from the forecast: it equals the model's own of the values as they were made, so a
value that is lost, doubled or moved, or a gap that is invented, changes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from usage_errors import usage_error

import potstill
from potstill.data.series.opening import open_store
from potstill.data.series.splits import part_bounds
from potstill.families.base import Forecaster
from potstill.recipe import SeriesData

STEPS = 3


def wave(rows: int, level: float = 100.0, season: int = 12) -> np.ndarray:
    """Values with two decimals, so that a file holds them exactly."""
    noise = np.random.default_rng(rows).normal(size=rows)
    return np.round(level + 10 * np.sin(2 * np.pi * np.arange(rows) / season) + noise, 2)


@dataclass
class Case:
    """A table, and what its series are.

    ``stamps`` are the forecast's times as they are written, for each id; ``histories`` the values of each id. A table
    of one series has the id None.
    """

    name: str
    table: pd.DataFrame
    stamps: Mapping[Any, list[str]]
    histories: Mapping[Any, np.ndarray]
    ids: str | None = None
    time: str = "date"
    parquet: bool = False
    csv: dict[str, object] = field(default_factory=dict)
    says: tuple[str, ...] = ()


def one(name: str, stamps: Any, ahead: Any, values: np.ndarray, time: str = "date", **options: Any) -> Case:
    """One series: ``stamps`` are written as text, ``ahead`` are those of the forecast."""
    table = pd.DataFrame({time: stamps, "v": values})
    return Case(name, table, {None: [str(a) for a in list(ahead)]}, {None: values}, time=time, **options)


def dates(stamps: Any, form: str = "%Y-%m-%d") -> list[str]:
    return list(stamps.strftime(form))


def regular(name: str, freq: str, form: str = "%Y-%m-%d", rows: int = 60, start: str = "2015-01-01") -> Case:
    """Dates of a pandas frequency, written in a form; those of the forecast are written as the table's."""
    stamps = pd.date_range(start, periods=rows + STEPS, freq=freq)
    return one(name, dates(stamps[:rows], form), dates(stamps[rows:], "%Y-%m-%d"), wave(rows))


def panel(name: str, ids: Mapping[Any, np.ndarray], columns: tuple[str, str, str], **options: Any) -> Case:
    """Daily items below each other from 2020-01-01 on."""
    item, time, value = columns
    parts, stamps = [], {}
    for key, values in ids.items():
        days = pd.date_range("2020-01-01", periods=len(values) + STEPS)
        parts.append(pd.DataFrame({item: key, time: days[: len(values)], value: values}))
        stamps[key] = dates(days[len(values) :])
    return Case(name, pd.concat(parts, ignore_index=True), stamps, dict(ids), item, time, **options)  # type: ignore[arg-type]


def billed(day: int, rows: int = 60) -> Case:
    """The same day of every month, or the month's last one where it has no such day."""
    months = pd.period_range("2015-01", periods=rows + STEPS, freq="M")
    stamps = [f"{month}-{min(day, month.days_in_month):02d}" for month in months]
    return one(f"billed on the {day}th", stamps[:rows], stamps[rows:], wave(rows))


def epochs(name: str, unit: str) -> Case:
    stamps = pd.date_range("2020-01-01", periods=103)
    numbers = stamps.astype("int64") // {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    return one(name, list(numbers[:100]), list(numbers[100:]), wave(100, season=7), time="timestamp")


def months_as_numbers() -> Case:
    months = pd.period_range("2010-01", periods=123, freq="M").strftime("%Y%m").astype(int)
    return one("yyyymm", list(months[:120]), list(months[120:]), wave(120))


def changing_clocks(parquet: bool) -> Case:
    """600 hours of Berlin with the end of summer time among them."""
    stamps = pd.date_range("2023-10-20", periods=603, freq="h", tz="Europe/Berlin")
    values = wave(600, season=24)
    if parquet:
        case = one("zone in Parquet", stamps[:600], stamps[600:], values, time="ds", parquet=True)
    else:
        ahead = stamps[600:].tz_convert("UTC")  # offsets tell the instants, not the zone
        case = one("offsets in CSV", [str(s) for s in stamps[:600]], ahead, values, time="ds")
    return case


def date_and_hour(first: int) -> Case:
    """Hours 0 to 23, or 1 to 24, where 1 is the hour from 00:00 to 01:00; its time is then 00:00."""
    stamps = pd.date_range("2024-01-01", periods=243, freq="h")
    hours = stamps.hour + first
    values = wave(240, season=24)
    table = pd.DataFrame({"date": dates(stamps[:240]), "hour": hours[:240], "load": values})
    ahead = dates(stamps[240:], "%Y-%m-%d %H:%M:%S")
    return Case(f"date and hour from {first}", table, {None: ahead}, {None: values}, says=("'hour' is joined",))


def hourly_among_daily() -> Case:
    days = pd.date_range("2019-01-01", periods=403)
    hours = pd.date_range("2024-01-01", periods=43, freq="h")
    histories = {"d1": wave(400, season=7), "h": wave(40, season=24)}
    parts = [
        pd.DataFrame({"unique_id": key, "ds": stamps[: len(histories[key])], "y": histories[key]})
        for key, stamps in (("d1", days), ("h", hours))
    ]
    form = "%Y-%m-%d %H:%M:%S"
    stamps = {"d1": dates(days[400:], form), "h": dates(hours[40:], form)}
    return Case("an hourly item among daily ones", pd.concat(parts), stamps, dict(histories), "unique_id", "ds")


def nan_tail() -> Case:
    """The last ten values of an item are missing: its forecast begins after the last row all the same."""
    case = panel("missing at the end", {"a": wave(100), "b": np.r_[wave(90), [np.nan] * 10]}, ("unique_id", "ds", "y"))
    case.says = ("1 series end with missing values",)
    return case


def german() -> Case:
    """Points separate thousands beside whole numbers below a thousand."""
    values = np.round(1200 + 400 * np.sin(np.arange(200) * 2 * np.pi / 7))
    stamps = pd.date_range("2023-01-01", periods=203)
    table = pd.DataFrame(
        {"Datum": dates(stamps[:200], "%d.%m.%Y"), "Menge": [f"{int(v):,}".replace(",", ".") for v in values]}
    )
    expected = {None: dates(stamps[200:])}
    return Case("German thousands", table, expected, {None: values}, time="Datum", csv={"sep": ";"},
                says=("is read as",))  # fmt: skip


def three_skus() -> Case:
    quantities = {f"SKU_{k}": np.round(wave(120, 20.0 * k, 7)) for k in (3, 1, 2)}
    return panel("an id of an unknown name", dict(quantities), ("sku", "day", "qty"), says=("sku",))


CASES = [
    *(
        regular(f"{freq} as {form}", freq, form)
        for freq in ("MS", "QS")
        for form in ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y", "%Y-%m-%d")
    ),
    panel("items under id", {"A": wave(100), "B": wave(100, 1000)}, ("id", "timestamp", "target")),
    panel("three items under id", {"A": wave(100), "B": wave(100, 1000), "C": wave(80)}, ("id", "timestamp", "target")),
    panel(
        "ids that are words for missing",
        {key: wave(100, 100.0 * k) for k, key in enumerate(("DE", "NA", "null", "None", "nan", "-", "N/A"), 1)},
        ("unique_id", "ds", "y"),
    ),
    hourly_among_daily(),
    regular("last working day of the month", "BME"),
    regular("last working day of the quarter", "BQE"),
    regular("first working day of the month", "BMS"),
    regular("month ends", "ME"),
    regular("working days", "B", rows=100),
    billed(28),
    billed(29),
    billed(30),
    billed(31),
    nan_tail(),
    panel("a constant item", {"a": wave(100), "flat": np.full(100, 7.0)}, ("unique_id", "ds", "y")),
    *(epochs(f"epochs in {unit}", unit) for unit in ("s", "ms", "us", "ns")),
    months_as_numbers(),
    changing_clocks(parquet=True),
    changing_clocks(parquet=False),
    regular("a huge unit", "D"),
    date_and_hour(0),
    date_and_hour(1),
    panel("whole numbers as ids", {1: wave(100), 2: wave(100, 900)}, ("item_id", "timestamp", "target"), parquet=True),
    panel("ids that differ in zeros", {"001": wave(60), "01": wave(60, 50), "é漢": wave(60, 9)},
          ("item_id", "timestamp", "target")),
    german(),
    three_skus(),
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Forecaster:
    loaded = potstill.load("embedded")
    assert isinstance(loaded, Forecaster)
    return loaded


def medians(model: Forecaster, history: np.ndarray) -> np.ndarray:
    if np.nanmin(history) == np.nanmax(history):
        return np.full(STEPS, history[0])
    return model.predict(history, STEPS, quantiles=[0.5]).quantiles[0, 0].numpy()


def written(case: Case, folder: Path) -> Path:
    path = folder / f"table.{'parquet' if case.parquet else 'csv'}"
    if case.parquet:
        case.table.to_parquet(path)
    else:
        case.table.to_csv(path, index=False, **case.csv)  # type: ignore[call-overload]
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_table_is_read_as_it_was_made(case: Case, model: Forecaster, tmp_path: Path, capsys):
    output = tmp_path / "out.csv"
    potstill.forecast(model, written(case, tmp_path), STEPS, output, quantiles=[0.5])
    found = pd.read_csv(output, dtype=str, keep_default_na=False)
    assert case.time in found.columns
    keys = found[case.ids].tolist() if case.ids else [None] * len(found)
    expected_keys = [key if key is None else str(key) for key in case.stamps for _ in range(STEPS)]
    assert keys == expected_keys
    assert found[case.time].tolist() == [stamp for stamps in case.stamps.values() for stamp in stamps]
    expected = np.concatenate([medians(model, history) for history in case.histories.values()])
    np.testing.assert_allclose(found["q0.5"].astype(float), expected, rtol=2e-3)
    said = capsys.readouterr().err
    for part in case.says:
        assert part in said
    count = len(case.histories)
    assert f"{count} series in, {count} out" in said
    assert "repaired" not in said
    assert "left out" not in said


def test_a_date_splits_month_ends_where_it_says(tmp_path: Path):
    """Training ends before 2020-12-31, validation before 2022-12-31."""
    stamps = pd.date_range("2015-02-28", periods=120, freq="ME")
    pd.DataFrame({"date": stamps, "v": wave(120)}).to_csv(tmp_path / "table.csv", index=False)
    store = open_store(SeriesData(paths=[str(tmp_path / "table.csv")]))
    split = "2020-12-31,2022-12-31"
    bounds = [part_bounds(store, split, part) for part in ("train", "validation", "test")]
    rows = [(int(first[0]), int(stop[0])) for first, stop in bounds]
    counts = [int(np.searchsorted(stamps, np.datetime64(date))) for date in split.split(",")]
    assert counts == [70, 94]
    assert rows == [(0, 70), (70, 94), (94, 120)]


@pytest.mark.parametrize("power", [-12, -60, 18, 25, 100])
def test_a_unit_does_not_change_a_forecast(power: int, model: Forecaster, tmp_path: Path):
    stamps = pd.date_range("2024-01-01", periods=400, freq="h")
    values, factor = wave(400, season=24), 10.0**power
    medians = []
    for scale in (1.0, factor):
        pd.DataFrame({"date": stamps, "v": values * scale}).to_csv(tmp_path / "table.csv", index=False)
        frame = potstill.forecast(model, tmp_path / "table.csv", STEPS, quantiles=[0.5])
        medians.append(frame["q0.5"].to_numpy() / scale)
    np.testing.assert_allclose(medians[1], medians[0], rtol=1e-3)


def test_a_unit_does_not_change_an_evaluation(tmp_path: Path, tiny_teacher: Path):
    stamps = pd.date_range("2024-01-01", periods=400, freq="h")
    figures = []
    for place, scale in enumerate((1.0, 1e-12, 1e18)):
        pd.DataFrame({"date": stamps, "v": wave(400, season=24) * scale}).to_csv(tmp_path / "table.csv", index=False)
        data = SeriesData(paths=[str(tmp_path / "table.csv")], context_length=64, prediction_length=12)
        output = tmp_path / f"evaluation{place}"
        potstill.evaluate([tiny_teacher], data, output, max_windows=10, baselines=["seasonal_naive"], device="cpu")
        metrics = json.loads((output / "metrics.json").read_text())["models"]
        own = metrics[tiny_teacher.name]["table"]
        figures.append([own[key] for key in ("mase", "sql", "sql_rel_naive")])
    np.testing.assert_allclose(figures[1:], [figures[0]] * 2, rtol=1e-4)


def test_no_series_vanishes(model: Forecaster, tmp_path: Path, capsys):
    """One row, a constant, a normal series, one without a value, and one of two rows."""
    days = pd.date_range("2024-01-01", periods=50)
    series = {
        "A_one_row": ([49], [3.0]),
        "B_constant_5": (range(50), [5.0] * 50),
        "C_normal": (range(50), wave(50, season=7)),
        "D_all_nan": (range(50), [np.nan] * 50),
        "E_two_rows": ([48, 49], [3.0, 4.0]),
    }
    parts = [pd.DataFrame({"unique_id": k, "ds": days[list(r)], "y": v}) for k, (r, v) in series.items()]
    pd.concat(parts).to_csv(tmp_path / "table.csv", index=False)
    potstill.forecast(model, tmp_path / "table.csv", 2, tmp_path / "out.csv", quantiles=[0.5])
    found = pd.read_csv(tmp_path / "out.csv")
    assert found["unique_id"].tolist() == [key for key in series for _ in range(2)]
    assert found["ds"].tolist() == ["2024-02-20", "2024-02-21"] * 5
    by_id = found.set_index("unique_id")
    assert by_id.loc["A_one_row", "q0.5"].tolist() == [3, 3]
    assert by_id.loc["B_constant_5", "q0.5"].tolist() == [5, 5]
    assert by_id.loc["D_all_nan", "q0.5"].isna().all()
    assert by_id.loc["E_two_rows", "q0.5"].between(3, 4).all()
    noted = by_id["note"].notna().groupby(level=0).all()
    assert noted[noted].index.tolist() == ["A_one_row", "D_all_nan", "E_two_rows"]
    said = capsys.readouterr().err
    assert "1 series without any value, their forecast is missing: table/D_all_nan" in said
    assert "5 series in, 5 out" in said


def frame_with_index_and_column() -> tuple[object, list[object]]:
    frame = pd.DataFrame({"ds": pd.date_range("2020-01-01", periods=100), "v": wave(100)})
    return frame.set_index("ds", drop=False), [wave(100)]


def plain_series() -> tuple[object, list[object]]:
    return pd.Series(wave(100), index=pd.date_range("2020-01-01", periods=100), name="v"), [wave(100)]


def unnamed_levels() -> tuple[object, list[object]]:
    index = pd.MultiIndex.from_product([["a", "b"], pd.date_range("2020-01-01", periods=100)])
    return pd.DataFrame({"target": np.r_[wave(100), 9 * wave(100)]}, index=index), [wave(100), 9 * wave(100)]


@pytest.mark.parametrize("make", [frame_with_index_and_column, plain_series, unnamed_levels])
def test_frames_of_any_shape(make: Callable[[], tuple[object, list[np.ndarray]]], model: Forecaster):
    data, histories = make()
    found = potstill.forecast(model, data, 2, quantiles=[0.5])
    expected = np.concatenate([medians(model, history)[:2] for history in histories])
    np.testing.assert_allclose(found["q0.5"], expected, rtol=2e-3)
    times = found[next(c for c in found if pd.api.types.is_datetime64_any_dtype(found[c]))]
    assert times.tolist() == [pd.Timestamp("2020-04-10"), pd.Timestamp("2020-04-11")] * len(histories)


def test_contexts_of_objects_and_of_unequal_length(model: Forecaster):
    values = wave(400)
    alone = [model.predict(v, STEPS).quantiles for v in (values, values[:50])]
    np.testing.assert_allclose(model.predict(values.astype(object), STEPS).quantiles, alone[0], rtol=1e-5)
    together = model.predict([values, values[:50]], STEPS).quantiles
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-3)


TIMES_AS_COLUMNS = {
    "days": dates(pd.date_range("2020-01-01", periods=40)),
    "years": [str(year) for year in range(1980, 2000)],
    "months": dates(pd.date_range("2020-01-01", periods=24, freq="MS"), "%b-%y"),
    "quarters": [f"{2000 + k // 4}Q{k % 4 + 1}" for k in range(12)],
    "years beside other numbers": ["latitude", "longitude", *(str(year) for year in range(1980, 2000))],
}


@pytest.mark.parametrize("names", TIMES_AS_COLUMNS.values(), ids=TIMES_AS_COLUMNS)
def test_a_table_with_a_column_for_each_time_is_refused(names: list[str], model: Forecaster, tmp_path: Path):
    """Every row is a series there; read as series, its columns would have as many values as there are rows."""
    values = wave(5 * len(names)).reshape(5, -1)
    path = tmp_path / "table.csv"
    pd.DataFrame(values, index=pd.Index(list("abcde"), name="sku"), columns=pd.Index(names)).to_csv(path)
    with usage_error("data.times_as_columns", "table.csv", "--target"):
        potstill.forecast(model, path, STEPS)
    named = potstill.forecast(model, path, STEPS, target=names[-3:], quantiles=[0.5])
    assert named["unique_id"].unique().tolist() == names[-3:]


@pytest.mark.parametrize(
    "names", [["0", "1", "2", "3"], ["101", "102", "103"], ["0.1", "0.5", "0.9"], ["d_1", "d_2", "d_3"]]
)
def test_columns_named_by_numbers_are_series(names: list[str], model: Forecaster, tmp_path: Path):
    path = tmp_path / "table.parquet"
    pd.DataFrame(wave(40 * len(names)).reshape(40, -1), columns=pd.Index(names)).to_parquet(path)
    assert potstill.forecast(model, path, STEPS)["unique_id"].unique().tolist() == names


def test_without_a_regular_step_only_the_last_time_is_said(model: Forecaster, tmp_path: Path, capsys):
    stamps = ["2020-01-01", "2020-01-05", "2020-03-01", "2020-03-02", "2020-07-01"]
    pd.DataFrame({"date": stamps, "v": wave(5)}).to_csv(tmp_path / "table.csv", index=False)
    potstill.forecast(model, tmp_path / "table.csv", STEPS)
    said = capsys.readouterr().err
    assert "until 2020-07-01, no regular step" in said
