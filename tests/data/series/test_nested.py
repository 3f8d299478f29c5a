"""Arrow and Parquet files, saved data sets, and tables with one row per series and its values in a list."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest
from store_files import opened
from usage_errors import usage_error

DAYS = pd.date_range("2020-01-01", periods=30)
Y = np.random.default_rng(0).normal(size=30).round(3)
CHRONOS = {
    "id": ["u", "v"],
    "timestamp": [DAYS.to_list(), DAYS[:20].to_list()],
    "target": [Y.tolist(), Y[:20].tolist()],
}
GIFT = {
    "item_id": ["u", "v"],
    "start": pa.array([DAYS[0], DAYS[3]], pa.timestamp("s")),
    "freq": ["D", "D"],
    "target": pa.array([Y.tolist(), Y[:20].tolist()], pa.list_(pa.float32())),
}


def write_stream(path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def write_file(path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def write_saved(folder, *tables: pa.Table) -> None:
    """A folder as ``Dataset.save_to_disk`` of ``datasets`` 4.8 writes it."""
    folder.mkdir(parents=True)
    names = [f"data-{k:05d}-of-{len(tables):05d}.arrow" for k in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        write_stream(folder / name, table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")


def series_of(store) -> dict[str, list[float]]:
    return {name: store.series(i).tolist() for i, name in enumerate(store.names)}


def floats(values) -> list[float]:
    return np.asarray(values, np.float32).tolist()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.arrow", write_stream),
        ("a.arrow", write_file),
        ("a.feather", lambda path, table: feather.write_feather(table, path, compression="zstd")),
        ("a.parquet", lambda path, table: parquet.write_table(table, path)),
    ],
)
def test_files_of_arrow_tables(tmp_path, name, write):
    (tmp_path / "files").mkdir()
    write(tmp_path / "files" / name, pa.table({"sku": ["NA", "x"] * 15, "ds": DAYS.repeat(2)[:30].to_list(), "y": Y}))
    assert series_of(opened(tmp_path)) == {"a/NA": floats(Y[::2]), "a/x": floats(Y[1::2])}


@pytest.mark.parametrize("layout", [CHRONOS, GIFT], ids=["chronos", "gift"])
@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_rows_with_lists_are_series(tmp_path, layout, ending):
    (tmp_path / "files").mkdir()
    table = pa.table({**layout, "domain": ["web", "web"], "level": [1.0, 2.0]})
    path = tmp_path / "files" / f"a.{ending}"
    write_stream(path, table) if ending == "arrow" else parquet.write_table(table, path)
    store = opened(tmp_path)
    assert series_of(store) == {"a/u": floats(Y), "a/v": floats(Y[:20])}
    assert (store.frequency, str(store.timestamps(1, 0, 1)[0])[:10]) == (
        ["D"],
        (layout is GIFT and "2020-01-04") or "2020-01-01",
    )
    assert any("a/level" in line and "left out" in line for line in store.report.lines())


def test_saved_data_sets_in_a_tree(tmp_path):
    table = pa.table(GIFT)
    write_saved(tmp_path / "files" / "web" / "D", table.slice(0, 1), table.slice(1))
    write_saved(tmp_path / "files" / "power" / "D", table.slice(0, 1))
    (tmp_path / "files" / "web" / "dataset_dict.json").write_text("{}")
    store = opened(tmp_path)
    assert series_of(store) == {"power/D/u": floats(Y), "web/D/u": floats(Y), "web/D/v": floats(Y[:20])}
    alone = opened(tmp_path, paths=[str(tmp_path / "files" / "web" / "D")])
    assert alone.names == ["D/u", "D/v"]
    write_stream(tmp_path / "files" / "web" / "D" / "data-00001-of-00002.arrow", pa.table(GIFT))
    assert opened(tmp_path, paths=[str(tmp_path / "files" / "web" / "D")]).fingerprint != alone.fingerprint
    (tmp_path / "files" / "web" / "D" / "data-00001-of-00002.arrow").unlink()
    with usage_error("data.incomplete_saved", "web/D", "data-00001-of-00002.arrow is missing"):
        opened(tmp_path, exclude=["power/D"])


def test_a_folder_written_by_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {"item_id": ["u"], "start": [DAYS[0].to_pydatetime()], "freq": ["D"], "target": [Y.tolist()]}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)}).save_to_disk(str(tmp_path / "files"))
    assert series_of(opened(tmp_path)) == {"train/u": floats(Y)}


def test_several_columns_in_lists(tmp_path):
    (tmp_path / "files").mkdir()
    table = pa.table({"id": ["u"], "timestamp": [DAYS.to_list()], "load": [Y.tolist()], "wind": [(-Y).tolist()]})
    parquet.write_table(table, tmp_path / "files" / "a.parquet")
    assert series_of(opened(tmp_path)) == {"a/u/load": floats(Y), "a/u/wind": floats(-Y)}
    both = {"item_id": ["u", "v"], "target": [[Y.tolist(), (-Y).tolist()], [Y[:5].tolist(), Y[5:10].tolist()]],
            "past_feat_dynamic_real": [[Y.tolist()], [Y[:4].tolist()]]}  # fmt: skip
    parquet.write_table(pa.table(both), tmp_path / "files" / "a.parquet")
    store = opened(tmp_path)
    expected = {"u/target_0": Y, "u/target_1": -Y, "v/target_0": Y[:5], "v/target_1": Y[5:10]}
    assert series_of(store) == {f"a/{name}": floats(expected[name]) for name in sorted(expected, key=lambda n: n[-1])}
    assert any("past_feat_dynamic_real" in line and "left out" in line for line in store.report.lines())


@pytest.mark.parametrize(
    ("columns", "key", "facts"),
    [
        ({**CHRONOS, "timestamp": [DAYS.to_list(), DAYS[:19].to_list()]}, "data.ragged_lists", ("row 2", "19", "20")),
        ({**GIFT, "freq": ["D", "fortnight"]}, "data.bad_frequency", ("row 2", "'fortnight'")),
        ({**GIFT, "start": ["2020-01-01", "soon"]}, "data.unreadable_time", ("'start'", "soon")),
        (
            {"item_id": ["u"], "target": [[[1.0, 2, 3], [1.0, 2]]]},
            "data.ragged_lists",
            ("row 1", "3 and 2", "'target'"),
        ),
        ({"item_id": ["u", "v"], "target": [[[1.0]], [[1.0], [2.0]]]}, "data.ragged_lists", ("row 2", "2 lists")),
        ({"item_id": ["u"], "target": pa.array([[]], pa.list_(pa.float64()))}, "data.empty_file", ("'target'",)),
        ({"item_id": pa.array([], pa.string()), "target": pa.array([], pa.list_(pa.float64()))}, "data.empty_file", ()),
    ],
)
def test_wrong_lists_are_usage_errors(tmp_path, columns, key, facts):
    (tmp_path / "files").mkdir()
    parquet.write_table(pa.table(columns), tmp_path / "files" / "a.parquet")
    with usage_error(key, "a.parquet", *facts):
        opened(tmp_path)


def test_a_series_without_values_is_named(tmp_path):
    (tmp_path / "files").mkdir()
    table = pa.table({"item_id": ["u", "gone"], "target": [Y.tolist(), None]})
    parquet.write_table(table, tmp_path / "files" / "a.parquet")
    store = opened(tmp_path)
    assert store.names == ["a/u"]
    assert "left out: 1 series (no values): a/gone" in store.report.lines()


@pytest.mark.parametrize(
    "content", [b"", b"ARROW1\0\0abc", b"FEA1abc", b"\xff\xff\xff\xff\x10\0\0\0abc", b"a,b\n1,2\n"]
)
def test_broken_arrow_files(tmp_path, content):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.arrow").write_bytes(content)
    with usage_error("data.unreadable_arrow", "a.arrow"):
        opened(tmp_path)
