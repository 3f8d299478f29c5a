"""Data in memory: frames with any index, arrays, series, GluonTS lists, tables of other libraries."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from usage_errors import usage_error

from potstill.data.series.from_argument import store_of
from potstill.data.series.in_memory import is_in_memory
from potstill.data.series.saved_frames import saved_frames
from potstill.recipe import SeriesData

DAYS = pd.date_range("2020-01-01", periods=30)
Y = np.random.default_rng(0).normal(size=30).round(3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POTSTILL_CACHE", str(tmp_path / "cache"))


def read(data, **columns):
    """Series by name, and the alias of the step; read from memory and from the saved file alike."""
    store, _ = store_of(data, **columns)
    with saved_frames({"data": data}) as (options, _):
        saved, _ = store_of(options["data"], **columns)
    assert saved.names == store.names
    np.testing.assert_array_equal(saved.values, store.values)
    assert saved.starts.tolist() == store.starts.tolist()
    names = [name.removeprefix("frame/") for name in store.names]
    return {name: store.series(i) for i, name in enumerate(names)}, store.frequency[0]


def check(data, expected: dict[str, np.ndarray], frequency: str, **columns):
    found, step = read(data, **columns)
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], np.asarray(values, np.float32))
    assert step == frequency


PAIR = pd.MultiIndex.from_product([["a", "b"], DAYS])
BOTH = np.r_[Y, 9 * Y]


@pytest.mark.parametrize(
    ("frame", "expected", "frequency"),
    [
        (pd.DataFrame({"ds": DAYS, "v": Y}).set_index("ds", drop=False), {"v": Y}, "D"),
        (pd.Series(Y, index=DAYS, name="v"), {"v": Y}, "D"),
        (pd.Series(Y, index=DAYS), {"y": Y}, "D"),
        (pd.Series(Y), {"y": Y}, ""),
        (pd.Series(Y, index=pd.period_range("2020-01", periods=30, freq="M")), {"y": Y}, "MS"),
        (pd.DataFrame({"target": BOTH}, index=PAIR), {"a": Y, "b": 9 * Y}, "D"),
        (pd.DataFrame({"target": BOTH}, index=PAIR.swaplevel()), {"a": Y, "b": 9 * Y}, "D"),
        (pd.DataFrame({"sales": BOTH}, index=PAIR.set_names(["shop", "when"])), {"a": Y, "b": 9 * Y}, "D"),
        (pd.Series(BOTH, index=PAIR), {"a": Y, "b": 9 * Y}, "D"),
        (
            pd.Series(np.r_[BOTH, Y, Y], index=pd.MultiIndex.from_product([["a", "b"], [1, 2], DAYS])),
            {"a/1": Y, "a/2": 9 * Y, "b/1": Y, "b/2": Y},
            "D",
        ),
        (pd.Series(Y, index=[np.array(["a", "b"]).repeat(15), DAYS]), {"a": Y[:15], "b": Y[15:]}, "D"),
        (pd.DataFrame({"ds": DAYS[::-1], "y": Y}, index=DAYS), {"y": Y}, "D"),
        (pd.DataFrame({"ds": DAYS, "y": Y}).iloc[5:], {"y": Y[5:]}, "D"),
        (pd.DataFrame({("a", "x"): Y, ("a", "y"): -Y}, index=DAYS), {"a/x": Y, "a/y": -Y}, "D"),
        (pd.DataFrame({"unique_id": [1, "NA"] * 15, "ds": DAYS.repeat(2)[:30], "y": Y}),
         {"1": Y[::2], "NA": Y[1::2]}, "D"),
    ],
)  # fmt: skip
def test_pandas(frame, expected, frequency):
    check(frame, expected, frequency)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (Y, {"0": Y}),
        (Y.tolist(), {"0": Y}),
        (np.stack([Y, -Y]), {"0": Y, "1": -Y}),
        (torch.tensor(np.stack([Y, -Y])), {"0": Y, "1": -Y}),
        ([Y, Y[:10], [1, 5, 2]], {"0": Y, "1": Y[:10], "2": [1, 5, 2]}),
        ([[1, None, 2, 4], [3, 1, 2]], {"0": [1, np.nan, 2, 4], "1": [3, 1, 2]}),
        ({"p": Y, "q": Y[:10]}, {"p": Y, "q": Y[:10]}),
        (np.stack([[Y, -Y]]), {"0/target_0": Y, "0/target_1": -Y}),
        ([{"target": Y, "item_id": 7}, {"target": Y[:9]}], {"7": Y, "1": Y[:9]}),
    ],
)
def test_series_without_times(data, expected):
    check(data, expected, "")


@pytest.mark.parametrize(
    ("data", "expected", "frequency"),
    [
        ({"ds": DAYS, "y": Y}, {"y": Y}, "D"),
        ([pd.Series(Y, DAYS, name="p"), pd.Series(Y[:9], DAYS[3:12], name="q")], {"p": Y, "q": Y[:9]}, "D"),
        ([{"start": pd.Period("2020-01", "M"), "target": Y, "item_id": "A"}], {"A": Y}, "MS"),
        ([{"start": "2020-01-31 05:30", "freq": "h", "target": Y}], {"0": Y}, "h"),
        ([{"start": DAYS[0], "freq": "D", "target": [Y, -Y]}], {"0/target_0": Y, "0/target_1": -Y}, "D"),
        (pa.table({"ds": pa.array(DAYS), "y": Y}), {"y": Y}, "D"),
        (pa.table({"id": ["u"], "timestamp": [DAYS.tolist()], "load": [Y.tolist()]}), {"u": Y}, "D"),
    ],
)
def test_series_with_times(data, expected, frequency):
    check(data, expected, frequency)


def test_other_libraries_export_arrow_tables():
    class Exporter:
        """Like a polars frame."""

        def __init__(self, table):
            self.table = table

        def __arrow_c_stream__(self, requested_schema=None):
            return self.table.__arrow_c_stream__(requested_schema)

    table = pa.table({"sku": pa.array(["x", "NA"] * 30, pa.string_view()), "ds": pa.array(DAYS.repeat(2)), "y": BOTH})
    check(Exporter(table), {"x": BOTH[::2], "NA": BOTH[1::2]}, "D")


def test_polars():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"sku": ["x", "NA"] * 30, "ds": DAYS.repeat(2).to_list(), "y": BOTH.tolist()})
    check(frame.with_columns(polars.col("sku").cast(polars.Categorical)), {"x": BOTH[::2], "NA": BOTH[1::2]}, "D")
    check(frame.lazy(), {"x": BOTH[::2], "NA": BOTH[1::2]}, "D")


def test_a_data_set_of_datasets():
    datasets = pytest.importorskip("datasets")
    rows = {"item_id": ["u", "v"], "start": [DAYS[0]] * 2, "freq": ["D"] * 2, "target": [Y.tolist(), Y[:9].tolist()]}
    check(datasets.Dataset.from_dict(rows), {"u": Y, "v": Y[:9]}, "D")


def test_settings_of_columns_may_be_names_or_lists():
    frame = pd.DataFrame({"k": [1, 2] * 15, "ds": DAYS.repeat(2)[:30], "y": Y, "z": -Y})
    check(frame, {"1": -Y[::2], "2": -Y[1::2]}, "D", id_column="k", target="z")
    check(frame, {"1": -Y[::2], "2": -Y[1::2]}, "D", id_column=["k"], target=["z"])


def test_the_index_is_part_of_the_fingerprint():
    frame = pd.DataFrame({"u": Y, "when": DAYS, "day": DAYS[::-1]})
    one, other = (store_of(frame.set_index(name))[0] for name in ("when", "day"))
    assert one.fingerprint != other.fingerprint
    assert one.series(0).tolist() == other.series(0).tolist()[::-1]


@pytest.mark.parametrize(
    ("data", "key", "facts"),
    [
        (pd.DataFrame({"ds": DAYS[::-1], "v": Y}, index=DAYS.rename("ds")), "data.index_and_column", ("'ds'",)),
        ({}, "data.empty_frame", ("frame",)),
        (np.zeros(0), "data.empty_file", ("frame",)),
        (object(), "data.unknown_form", ("object",)),
        ([None], "data.no_array", ("entry 0",)),
        ([["a", "b"]], "data.no_array", ("entry 0",)),
        ([[[1, 2], [1]]], "data.no_array", ("entry 0",)),
        ([np.zeros((2, 2, 2, 2))], "data.no_array", ("entry 0",)),
        ([{"start": "2020-01-01"}], "data.no_target_entry", ("entry 0", "'target'", "start")),
        ([{"start": "soon", "freq": "D", "target": Y}], "data.unreadable_time", ("entry 0", "soon")),
        ([{"start": "2020-01-01", "freq": "often", "target": Y}], "data.bad_frequency", ("row 1", "'often'")),
        (pa.table({"id": ["u"], "timestamp": [DAYS.tolist()[:5]], "target": [Y.tolist()]}), "data.ragged_lists",
         ("row 1", "5 values in 'timestamp'", "30 in 'target'")),
        ([pd.DataFrame({"y": Y})], "data.list_of_frames", ("entry 0", "pd.concat")),
    ],
)  # fmt: skip
def test_wrong_data_is_a_usage_error(data, key, facts):
    with usage_error(key, *facts):
        store_of(data)


def test_paths_and_settings_are_not_in_memory(tmp_path):
    for data in ("a.csv", tmp_path, ["a.csv", tmp_path], SeriesData(paths=["a.csv"]), None, []):
        assert not is_in_memory(data)


def test_a_saved_frame_names_its_index(tmp_path):
    with saved_frames({"data": pd.Series(BOTH, index=PAIR), "alpha": 1}) as (options, path):
        assert options == {"data": str(path), "alpha": 1}
        assert parquet.read_table(path).num_rows == 60
    assert not path.exists()
