"""Which columns identify the series of a table: never two series in one, and no id lost."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_files import opened
from usage_errors import usage_error

ROWS = 40


def stacked(ids: list[dict], rows: int = ROWS, starts: list[int] | None = None) -> pd.DataFrame:
    """A long daily table: one series for each entry of ``ids``, which gives its cells in the id columns."""
    parts = []
    for k, cells in enumerate(ids):
        days = pd.date_range("2024-01-01", periods=rows) + pd.Timedelta(days=(starts or [0] * len(ids))[k])
        values = (100 * k + np.random.default_rng(k).normal(size=rows)).round(3)
        parts.append(pd.DataFrame({**cells, "day": days, "qty": values}))
    return pd.concat(parts, ignore_index=True)


def read(folder, frame: pd.DataFrame, **config):
    path = folder / "files" / "a.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return opened(folder, **config)


def series_of(store) -> dict[str, list[float]]:
    return {name.removeprefix("a/"): store.series(i).tolist() for i, name in enumerate(store.names)}


def expected(frame: pd.DataFrame, ids: list[str]) -> dict[str, list[float]]:
    names = frame[ids].astype(str).agg("/".join, axis=1)
    return {
        str(name): rows.sort_values("day")["qty"].astype(np.float32).tolist() for name, rows in frame.groupby(names)
    }


PAIRS = [{"store": s, "item": i} for s in "NS" for i in "xyz"]
TRIPLES = [{"country": c, "store": s, "item": i} for c in "DF" for s in "NS" for i in "xy"]


@pytest.mark.parametrize(
    ("ids", "columns"),
    [
        (PAIRS, ["store", "item"]),
        ([{"store": s, "item": i} for s in (1, 2) for i in (5, 6, 7)], ["store", "item"]),
        (TRIPLES, ["country", "store", "item"]),
        ([{"unique_id": s, "item": i} for s in "NS" for i in "xyz"], ["unique_id", "item"]),
        ([{"sku": s, "scenario": c} for s in "ab" for c in ("base", "high")], ["sku", "scenario"]),
        ([{"channel": c} for c in (1, 2, 3)], ["channel"]),
        ([{"product": p} for p in ("NA", "null", "None", "nan", "-", "DE")], ["product"]),
        ([{"sku": s} for s in ("001", "01", "1")], ["sku"]),
    ],
)
def test_the_columns_that_make_times_unique_are_the_ids(tmp_path, ids, columns):
    frame = stacked(ids).sample(frac=1, random_state=0)
    store = read(tmp_path, frame)
    assert series_of(store) == expected(frame, columns)
    listed = ", ".join(map(repr, columns))
    assert f"columns: ids {listed}, time 'day', values 'qty': a" in store.report.lines()


def test_a_slash_in_ids_does_not_join_two_series(tmp_path):
    ids = [{"a_id": a, "b_id": b} for a in ("x/y", "x") for b in ("z", "y/z")]
    store = read(tmp_path, stacked(ids))
    assert store.names == ["a/x/y/z", "a/x/y/y/z", "a/x/z", "a/x/y/z"]
    assert store.lengths.tolist() == [ROWS] * 4


@pytest.mark.parametrize(
    ("more", "names"),
    [
        (stacked([{"scenario": "plan"}], 5, [35]), ["actual", "plan"]),
        (stacked([{"scenario": "plan"}], 2, [38]), ["actual", "plan"]),
    ],
)
def test_a_column_that_explains_a_few_repeats_splits_the_table(tmp_path, more, names):
    store = read(tmp_path, pd.concat([stacked([{"scenario": "actual"}]), more]))
    assert sorted(series_of(store)) == names


def test_truth_values_and_dates_tell_versions_apart(tmp_path):
    frame = stacked([{"is_plan": False}, {"is_plan": True}])
    assert sorted(series_of(read(tmp_path, frame))) == ["False", "True"]
    frame = stacked([{}, {}])
    frame["published"] = np.repeat(pd.to_datetime(["2024-06-01", "2024-07-01"]), ROWS)
    (tmp_path / "b" / "files").mkdir(parents=True)
    frame.to_parquet(tmp_path / "b" / "files" / "a.parquet")
    assert len(opened(tmp_path / "b")) == 2


@pytest.mark.parametrize("column", ["sku", "animal"])
def test_corrected_rows_do_not_hide_the_ids(tmp_path, column):
    frame = stacked([{column: "x"}, {column: "y"}]).assign(note="ok")
    frame = pd.concat([frame, frame.iloc[[3, 50]].assign(qty=7.0, note="corrected")])
    store = read(tmp_path, frame)
    assert sorted(series_of(store)) == ["x", "y"]
    assert store.series(0)[3] == 7


def test_rows_that_are_equal_in_every_cell_are_one_row(tmp_path):
    frame = stacked([{"sku": "x"}, {"sku": "y"}])
    store = read(tmp_path, pd.concat([frame, frame]))
    assert series_of(store) == expected(frame, ["sku"])
    assert any("80 repeated timestamps" in line for line in store.report.lines())


@pytest.mark.parametrize("copies", [2, 3])
def test_series_that_no_column_tells_apart_are_a_usage_error(tmp_path, copies):
    with usage_error("data.repeated_timestamps", "a.csv", f"{ROWS * (copies - 1)} of {ROWS * copies}", "--id-column"):
        read(tmp_path, stacked([{}] * copies))


def test_the_id_column_setting(tmp_path):
    frame = stacked(PAIRS)
    store = read(tmp_path, frame, id_column=["item", "store"])
    assert series_of(store) == expected(frame, ["item", "store"])
    assert store.fingerprint != opened(tmp_path).fingerprint
    with usage_error("data.ids_incomplete", "a.csv", "'store'", "'item'", "--id-column store,item"):
        opened(tmp_path, id_column=["store"])
    with usage_error("data.no_such_id_column", "a.csv", "'shop'", "'store', 'item', 'day', 'qty'"):
        opened(tmp_path, id_column=["shop"])


def test_series_that_follow_one_another_in_time_are_split_by_a_column_whose_name_suggests_ids(tmp_path):
    frame = stacked([{"sku": "x"}, {"sku": "y"}], starts=[0, ROWS])
    assert series_of(read(tmp_path, frame)) == expected(frame, ["sku"])
    constant = stacked([{"station": "mill"}]).assign(weather=lambda f: np.where(f.index % 3, "sun", "rain"))
    assert list(series_of(read(tmp_path, constant))) == ["mill"]
    varying = stacked([{}]).assign(user=lambda f: np.where(f.index % 3, "ann", "bob"))
    assert list(series_of(read(tmp_path, varying))) == ["qty"]


@pytest.mark.parametrize("column", ["sku", "animal"])
def test_ids_of_a_table_without_times(tmp_path, column):
    frame = stacked([{column: "x"}, {column: "y"}])
    assert series_of(read(tmp_path, frame.drop(columns="day"))) == expected(frame, [column])


def test_rows_without_an_id_are_counted(tmp_path):
    store = read(tmp_path, stacked([{"sku": "x"}, {"sku": ""}, {"sku": "y"}]))
    assert sorted(series_of(store)) == ["x", "y"]
    assert f"repaired: {ROWS} rows without time or id left out: a" in store.report.lines()


@given(
    counts=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    starts=st.lists(st.integers(0, 10), min_size=27, max_size=27),
    shuffled=st.booleans(),
)
@settings(max_examples=40)
def test_every_series_of_a_long_table_is_read(tmp_path_factory, counts, starts, shuffled):
    names = ["shop", "product", "scenario"][: len(counts)]
    ids = [{}]
    for name, count in zip(names, counts, strict=True):
        ids = [{**cells, name: f"{name}{k}"} for cells in ids for k in range(count)]
    frame = stacked(ids, 12, starts[: len(ids)])
    store = read(tmp_path_factory.mktemp("ids"), frame.sample(frac=1, random_state=1) if shuffled else frame)
    found = sorted(tuple(values) for values in series_of(store).values())
    assert found == sorted(tuple(values) for values in expected(frame, names).values())
