"""From files to series: choice of columns, time grid, counted repairs, and a cache that is never stale."""

import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_files import hourly, opened, write
from usage_errors import usage_error

from potstill.data.series import opening as store_module
from potstill.data.series.opening import open_store, store_from_frame
from potstill.data.series.store import Store
from potstill.errors import UserError
from potstill.recipe import SeriesData

WAVE = [float(v) for v in np.round(np.sin(np.arange(48) / 4), 4)]
NAN = float("nan")


def one(folder, content, name="a.csv", **config) -> Store:
    write(folder, name, content)
    return opened(folder, **config)


def repaired(store) -> dict[str, int]:
    return {entry["how"]: entry["count"] for entry in store.report.to_dict()["repaired"]}


def dropped(store) -> dict[str, str]:
    return {example: entry["why"] for entry in store.report.to_dict()["dropped"] for example in entry["examples"]}


def long_frame(**more) -> pd.DataFrame:
    stamps = pd.date_range("2024-01-01", periods=30, freq="D")
    rows = [pd.DataFrame({"unique_id": k, "ds": stamps[: 30 - 5 * i], "y": np.arange(30 - 5 * i) * (i + 1.0)})
            for i, k in enumerate(["b", "a"])]  # fmt: skip
    return pd.concat(rows, ignore_index=True).assign(**more)


def test_a_wide_file_has_a_series_per_numeric_column(tmp_path):
    store = one(tmp_path, "date,x,label,y\n" + "".join(f"2024-01-{d:02d},{d % 3},t{d},{d * d}\n" for d in range(1, 11)))
    assert store.names == ["a/x", "a/y"]
    assert store.datasets == ["a"]
    assert store.series(1).tolist() == [d * d for d in range(1, 11)]
    assert dropped(store)["a/label"] == "no numbers"
    assert store.frequency == ["D"]
    assert store.season.tolist() == [7, 7]
    assert store.timestamps(0, 10, 2).astype("M8[D]").astype(str).tolist() == ["2024-01-11", "2024-01-12"]
    assert isinstance(store.values, np.memmap)


def test_a_column_without_values_is_reported(tmp_path):
    rows = "".join(f"2024-01-{d:02d},{d * d},,\n" for d in range(1, 11))
    store = one(tmp_path, f"date,y,gone,\n{rows}")
    assert store.names == ["a/y"]
    assert (dropped(store)["a/gone"], dropped(store)["a/(unnamed)"]) == ("no values", "no values")


def test_only_the_first_numeric_column_can_be_used(tmp_path):
    rows = "".join(f"{d},2024-01-{d + 1:02d},t{d},{d % 3},{d * d}\n" for d in range(10))
    write(tmp_path, "a.csv", f"id,date,label,x,y\n{rows}")
    write(tmp_path, "b.csv", hourly(WAVE))
    store = opened(tmp_path, columns="first")
    assert store.names == ["a/x", "b/y"]
    assert dropped(store)["a/y"] == "not the first column of numbers"
    assert opened(tmp_path).names == ["a/x", "a/y", "b/y"]
    assert opened(tmp_path).fingerprint != store.fingerprint


def test_unusable_files_of_a_directory_are_left_out(tmp_path):
    good = {f"deep/{k}/good{k}.csv": hourly(np.sin(np.arange(80) * (k + 1)).round(3)) for k in range(6)}
    unusable = {
        "deep/0/empty.csv": "",
        "deep/1/header.csv": "date,y\n",
        "deep/2/nothing.csv": hourly([""] * 30),
        "deep/3/text.csv": hourly(["a"] * 30),
        "deep/4/flat.csv": hourly([7] * 30),
        "deep/5/bytes.csv": bytes(range(256)),
        "deep/zone.csv": hourly(WAVE).replace("2024-01-02 02:00:00", "2024-01-02 02:00:00+05:00"),
        "deep/gone.parquet": "PAR1",
    }
    for name, content in {**good, **unusable}.items():
        write(tmp_path, name, content)
    store = opened(tmp_path)
    assert sorted(store.datasets) == ["flat", *(f"good{k}" for k in range(6))]
    assert [name for name, why in zip(store.names, store.skip, strict=True) if why] == ["flat/y"]
    left_out = {e: entry["why"] for entry in store.training_report().to_dict()["dropped"] for e in entry["examples"]}
    assert {"empty", "header", "nothing", "text", "bytes", "zone", "gone"} <= set(left_out)
    assert left_out["flat/y"] == "constant"
    assert len(opened(tmp_path, max_files=5).datasets) < 6
    for name in good:
        (tmp_path / "files" / name).unlink()
    assert re.search(r"empty\.csv: is empty.*7 more file\(s\) cannot be used", opened(tmp_path).barren)
    (tmp_path / "files" / "deep/4/flat.csv").unlink()
    with usage_error("data.empty_file", "empty.csv", "6 more file(s)"):
        opened(tmp_path)


def test_a_file_that_may_not_be_read_is_left_out(tmp_path, monkeypatch):
    write(tmp_path, "a.csv", hourly(WAVE))
    locked = write(tmp_path, "locked.csv", hourly(WAVE))
    whole = {name: getattr(Path, name) for name in ("open", "read_bytes")}

    def refuse(name):
        def call(path, *arguments, **options):
            if path.name == locked.name:
                raise PermissionError(13, "Permission denied")
            return whole[name](path, *arguments, **options)

        return call

    for name in whole:
        monkeypatch.setattr(Path, name, refuse(name))
    store = opened(tmp_path)
    assert store.names == ["a/y"]
    assert "cannot be read (Permission denied)" in dropped(store)["locked"]
    with usage_error("data.unreadable_file", "locked.csv", "Permission denied"):
        opened(tmp_path, exclude=["a"])
    monkeypatch.undo()
    assert opened(tmp_path).names == ["a/y", "locked/y"]


def test_files_are_data_sets_and_targets_are_picked(tmp_path):
    write(tmp_path, "a.csv", hourly(WAVE))
    write(tmp_path, "b.csv", hourly(WAVE, column="OT"))
    store = opened(tmp_path, target=["OT"])
    assert store.names == ["b/OT"]
    assert "no column 'OT'" in dropped(store)["a"]
    assert opened(tmp_path, target=["y", "OT"]).names == ["a/y", "b/OT"]


@pytest.mark.parametrize(
    ("target", "facts"),
    [(["OT"], ("a.csv", "'OT'", "columns: y")), (["y", "OT"], ("'OT'", "found: y")), (["s"], ("a.csv", "'s'"))],
)
def test_an_unknown_target_lists_the_known_columns(tmp_path, target, facts):
    write(tmp_path, "a.csv", "date,y,s\n" + "".join(f"2024-01-{d:02d},{d * d},a\n" for d in range(1, 11)))
    with usage_error("data.no_such_target", *facts):
        opened(tmp_path, target=target)


@pytest.mark.parametrize("column", ["", "Unnamed: 0", "id", "anything"])
def test_row_numbers_are_left_out_unless_they_are_the_target(tmp_path, column):
    content = f"{column},y\n" + "".join(f"{i},{v}\n" for i, v in enumerate(WAVE))
    assert one(tmp_path, content).names == ["a/y"]
    assert dropped(opened(tmp_path))[f"a/{column or '(unnamed)'}"] == "row numbers or ids"
    if column == "anything":
        assert opened(tmp_path, target=[column]).names == ["a/anything"]


def test_a_time_column_is_found_by_its_content(tmp_path):
    content = hourly(WAVE).replace("date,y", "Zeit,y")
    store = one(tmp_path, content)
    assert store.frequency == ["h"]
    assert any("'Zeit'" in line for line in store.report.lines())
    store = one(tmp_path, "y\n" + "".join(f"{v}\n" for v in WAVE), "b.csv", paths=[str(tmp_path / "files/b.csv")])
    assert store.frequency == [""]
    assert store.timestamps(0, 48, 2).tolist() == [48, 49]


def test_date_and_time_of_day_in_two_columns(tmp_path):
    rows = "".join(
        f"{1 + i // 24:02d}/03/2004;{i % 24:02d}.00.00;{str(v).replace('.', ',')}\n" for i, v in enumerate(WAVE)
    )
    store = one(tmp_path, "Date;Time;CO(GT)\n" + rows)
    assert store.names == ["a/CO(GT)"]
    assert store.frequency == ["h"]
    np.testing.assert_allclose(store.series(0), WAVE, rtol=1e-6)


def test_unsorted_rows_duplicates_and_gaps_are_repaired_and_counted(tmp_path):
    lines = hourly(range(10)).replace(",3\n", ",33\n").splitlines()
    lines = [lines[0], lines[2], lines[1], *lines[3:6], *lines[7:], lines[4].replace(",33", ",30")]
    store = one(tmp_path, "\n".join(lines) + "\n")
    np.testing.assert_array_equal(store.series(0), [0, 1, 2, 30, 4, np.nan, 6, 7, 8, 9])
    assert repaired(store) == {
        "rows out of order sorted by time": 2,
        "repeated timestamps, the last one kept": 1,
        "missing time steps opened as missing values": 1,
    }
    assert store.missing.tolist() == [1]


def test_one_mistyped_year_cannot_blow_up_the_grid(tmp_path):
    content = hourly(WAVE * 10).replace("2024-01-05 03:00:00", "1524-01-05 03:00:00")
    store = one(tmp_path, content.replace("2024-01-06 03:00:00", "9024-01-06 03:00:00"))
    assert store.lengths.tolist() == [480]
    assert repaired(store)["rows with isolated timestamps left out"] == 2
    assert store.timestamps(0, 0, 1)[0] == np.datetime64("2024-01-01")


def test_a_very_long_gap_is_not_filled(tmp_path):
    content = hourly(WAVE) + hourly(WAVE, first="2064-01-01").split("\n", 1)[1]
    store = one(tmp_path, content)
    assert store.lengths.tolist() == [96]
    assert store.regular == [False]
    assert store.timestamps(0, 96, 1)[0] == np.datetime64("2064-01-03")
    assert any("too long to fill" in line for line in store.report.lines())


def test_irregular_rows_are_kept_in_order_and_keep_the_last_timestamp(tmp_path):
    minutes = np.cumsum(np.random.default_rng(0).integers(1, 10_000, 60))
    stamps = np.datetime64("2024-01-01T00:00") + minutes
    store = one(tmp_path, "date,y\n" + "".join(f"{t},{i % 7}\n" for i, t in enumerate(stamps)))
    assert store.lengths.tolist() == [60]
    assert store.regular == [False]
    assert store.timestamps(0, 59, 1)[0] == stamps[-1]


def test_columns_of_every_arrow_type(tmp_path):
    import decimal

    import pyarrow as pa
    import pyarrow.parquet as parquet

    days = pd.date_range("2024-01-01", periods=6)
    table = pa.table(
        {
            "when": pa.array(days.to_pydatetime()),
            "large": pa.array(["1", "x", "3.5", "4", "5", "9"], pa.large_string()),
            "coded": pa.array(["a", "b", "a", "b", "a", "b"]).dictionary_encode(),
            "flag": pa.array([True, False, True, None, True, True]),
            "exact": pa.array([decimal.Decimal(f"{i * i}.25") for i in range(6)]),
            "half": pa.array(np.array([1, 3, 2, 5, 4, 6], np.float16)),
            "lists": pa.array([[1], [2], [3], [4], [5], [6]]),
        }
    )
    (tmp_path / "files").mkdir()
    parquet.write_table(table, tmp_path / "files" / "a.parquet")
    store = opened(tmp_path)
    assert store.names == ["a/large", "a/flag", "a/exact", "a/half"]
    assert store.frequency == ["D"]
    assert store.series(2).tolist() == [i * i + 0.25 for i in range(6)]
    np.testing.assert_array_equal(store.series(0), [1, NAN, 3.5, 4, 5, 9])


CELLS = st.sampled_from(
    ["", "1", "2.5", "-3e5", "x", "NaN", "inf", "2024-01-01", "2024-01-01 05:00", "31/12/2023", "9999999999", "1e400",
     '"', '"a,b"', "2024-01-01T00:00:00Z", "0000-00-00", "24:00", "１", "-", "1,5"]
)  # fmt: skip
NAMES = st.sampled_from(["", "date", "time", "ds", "y", "unique_id", "id", "x", "1", "2024-01-01", "x", '"q'])


@given(data=st.data(), columns=st.integers(1, 4), delimiter=st.sampled_from(",;\t"))
@settings(max_examples=150)
def test_any_table_has_series_or_is_a_usage_error(tmp_path_factory, data, columns, delimiter):
    folder = tmp_path_factory.mktemp("fuzz")
    header = [data.draw(NAMES) for _ in range(columns)]
    ragged = st.lists(CELLS, min_size=max(columns - 1, 1), max_size=columns)
    rows = data.draw(st.lists(ragged, max_size=8))
    write(folder, "a.csv", "\n".join(delimiter.join(row) for row in [header, *rows]))
    try:
        store = opened(folder)
    except UserError as error:
        text = str(error)
    else:
        text = " ".join(store.report.lines()[1:])
        assert len(store) == len(store.names) > 0
        assert not np.isinf(store.values).any()
        store.timestamps(0, 0, 3)
    assert "\n" not in text


def test_business_days_have_no_weekends(tmp_path):
    days = pd.bdate_range("2024-01-01", periods=60)
    store = one(tmp_path, "date,y\n" + "".join(f"{d:%Y-%m-%d},{i % 7}\n" for i, d in enumerate(days)))
    assert (store.lengths[0], store.frequency, store.season[0]) == (60, ["B"], 5)


def test_infinities_unreadable_cells_and_edges(tmp_path):
    cells = ["", "NA", "inf", "-inf", "2", "oops", "1e400", "4e180", "3", "", "5", "nan"]
    store = one(tmp_path, hourly(cells))
    np.testing.assert_array_equal(store.series(0), [2, NAN, NAN, NAN, 3, NAN, 5])
    assert (store.first_row[0], store.grid_rows[0]) == (4, 12)
    assert store.timestamps(0, 0, 1)[0] == np.datetime64("2024-01-01T04:00")
    counts = repaired(store)
    assert counts["unreadable cells taken as missing"] == 1
    assert counts["infinities taken as missing"] + counts["values beyond 1e+150 taken as missing"] == 4


def test_numbers_in_other_formats(tmp_path):
    assert one(tmp_path, 'date,y\n2024-01-01,"1,234.5"\n2024-01-02,+2\n2024-01-03, 3 \n').series(0).tolist() == [
        1234.5,
        2,
        3,
    ]


@pytest.mark.parametrize(
    ("values", "key", "fact"),
    [
        ([""] * 20, "data.no_values", "'y'"),
        (["inf"] * 20, "data.no_usable_series", "no values (1 series)"),
    ],
)
def test_series_without_any_value(tmp_path, values, key, fact):
    write(tmp_path, "bad.csv", hourly(values))
    with usage_error(key, "bad.csv", fact):
        opened(tmp_path)
    write(tmp_path, "good.csv", hourly(WAVE))
    store = opened(tmp_path)
    assert store.names[-1] == "good/y"
    # a file without any number has no column to forecast; one without any finite number has a series without rows
    bad = store.names.index("bad/y") if "bad/y" in store.names else None
    assert (bad is None) == (key == "data.no_values")
    if bad is not None:
        assert (store.skip[bad], len(store.series(bad)), int(store.grid_rows[bad])) == ("no values", 0, 20)
    assert "bad" in " ".join(store.training_report().lines())


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([5] * 20, "constant"),
        ([1, 2], "fewer than 3 values"),
        ([0.3, 0.1 + 0.2] * 10, "changes that are not larger than rounding errors of double precision"),
    ],
)
def test_unusable_series_are_kept_and_flagged(tmp_path, values, why):
    write(tmp_path, "bad.csv", hourly(values))
    store = opened(tmp_path)
    assert (store.names, store.skip, len(store.series(0))) == (["bad/y"], [why], len(values))
    assert re.search(rf"bad\.csv: no usable series \({why} \(1 series\)\)", store.barren)
    store = one(tmp_path, hourly(WAVE), "good.csv")
    assert (store.skip, store.barren) == ([why, ""], "")
    assert store.report.used["series"] == 2
    assert dropped(store) == {}
    report = store.training_report()
    assert report.used == {"series": 1, "rows": 48, "missing_values": 0, "files": 2}
    assert report.reasons() == [f"{why} (1 series)"]


@pytest.mark.parametrize(
    ("content", "key", "facts"),
    [
        (
            hourly(WAVE).replace("2024-01-02 02:00:00", "soon"),
            "data.unreadable_time",
            ("a.csv line 28:", "'soon'", "'date'"),
        ),
        (
            hourly(WAVE).replace("2024-01-02 02:00:00", "2024-01-02 02:00:00+05:00"),
            "data.mixed_time_zones",
            ("a.csv line 28:", "+05:00", "'date'"),
        ),
        ("date,y\n" + "\n".join(f"day {i},{i}" for i in range(9)), "data.unreadable_time", ("line 2:", "'day 0'")),
        (
            "date,y\n" + "\n".join(f"2024-01-01 0{i}:00:00,a{i}" for i in range(9)),
            "data.no_numeric_column",
            ("a.csv",),
        ),
        (
            "date,y\n" + "\n".join(f"2024-01-01 0{i}:00:00,{i}" for i in range(9)),
            "data.only_row_numbers",
            ("a.csv", "'y'"),
        ),
        (
            "date,shop,y\n" + "\n".join(f"2024-01-0{1 + i // 9},s{i},{i % 7}" for i in range(27)),
            "data.repeated_timestamps",
            ("24 of 27", "unique_id"),
        ),
    ],
)
def test_errors_of_a_table_name_file_line_and_column(tmp_path, content, key, facts):
    with usage_error(key, *facts):
        one(tmp_path, content)


def test_rows_without_time_are_left_out(tmp_path):
    store = one(tmp_path, hourly(WAVE) + ",17\n")
    assert store.lengths.tolist() == [48]
    assert repaired(store)["rows without time or id left out"] == 1


@pytest.mark.parametrize("names", [("unique_id", "ds", "y"), ("item_id", "timestamp", "target")])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_long_files_have_a_series_per_id(tmp_path, names, ending):
    frame = long_frame(extra=1.5).set_axis([*names, "extra"], axis=1).sample(frac=1, random_state=0)
    (tmp_path / "files").mkdir()
    path = tmp_path / "files" / f"a.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path, index=False)
    store = opened(tmp_path)
    assert sorted(store.names) == ["a/a", "a/b"]
    series = {name: store.series(i).tolist() for i, name in enumerate(store.names)}
    assert series == {"a/b": np.arange(30.0).tolist(), "a/a": (np.arange(25) * 2.0).tolist()}
    assert store.frequency == ["D"]
    assert dropped(store)["a/extra"] == "not the target"


def test_each_id_has_separate_gaps_and_start(tmp_path):
    frame = long_frame()
    frame = frame[~((frame.unique_id == "a") & frame.y.isin([0, 8]))]
    assert isinstance(frame, pd.DataFrame)
    store = store_from_frame(frame, SeriesData(), tmp_path)
    i = store.names.index("frame/a")
    np.testing.assert_array_equal(store.series(i)[:4], [2, 4, 6, NAN])
    assert store.timestamps(i, 0, 1)[0] == np.datetime64("2024-01-02")


def test_wide_frames_with_a_time_index_and_column_names_that_are_not_text(tmp_path):
    index = pd.date_range("2024-01-01", periods=48, freq="h")
    frame = pd.DataFrame({0: WAVE, "t": "text"}, index=index)
    store = store_from_frame(frame, SeriesData(), tmp_path)
    assert store.names == ["frame/0"]
    assert store.frequency == ["h"]
    np.testing.assert_allclose(store.series(0), WAVE, rtol=1e-6)
    months = pd.DataFrame({"y": WAVE}, index=pd.period_range("2020-01", periods=48, freq="M"))
    assert store_from_frame(months, SeriesData(), tmp_path).frequency == ["MS"]
    doubled = pd.DataFrame(np.array([WAVE, WAVE]).T, columns=pd.Index(["y", "y"]), index=index)
    assert store_from_frame(doubled, SeriesData(), tmp_path).names == ["frame/y", "frame/y.1"]


def test_frames_are_rebuilt_when_they_change_and_empty_ones_are_usage_errors(tmp_path):
    index = pd.date_range("2024-01-01", periods=48, freq="h")
    one = store_from_frame(pd.DataFrame({"y": WAVE}, index=index), SeriesData(), tmp_path)
    other = store_from_frame(pd.DataFrame({"y": [*WAVE[:-1], 9]}, index=index), SeriesData(), tmp_path)
    assert one.fingerprint != other.fingerprint
    assert other.series(0)[-1] == 9
    with usage_error("data.empty_frame", "frame"):
        store_from_frame(pd.DataFrame({"y": []}), SeriesData(), tmp_path)
    with usage_error("data.mixed_types", "frame"):
        store_from_frame(pd.DataFrame({"y": [1, "a", (2,)]}), SeriesData(), tmp_path)
    with usage_error("data.no_numeric_column", "frame"):
        store_from_frame(pd.DataFrame({"y": ["a", "b"]}), SeriesData(), tmp_path)


def test_a_store_is_built_again_only_if_its_content_changes(tmp_path, monkeypatch):
    path = write(tmp_path, "a.csv", hourly(WAVE))
    first = opened(tmp_path)
    monkeypatch.setattr(store_module, "Builder", None)
    assert opened(tmp_path).fingerprint == first.fingerprint
    monkeypatch.undo()
    state = path.stat()
    path.write_text(hourly([*WAVE[:-1], 7.12]).replace("7.12", str(WAVE[-1])[:-1] + "9"))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    second = opened(tmp_path)
    assert path.stat().st_size == state.st_size
    assert second.fingerprint != first.fingerprint
    assert second.series(0)[-1] != first.series(0)[-1]


def test_a_settled_file_is_hashed_once(tmp_path, monkeypatch):
    from potstill.data import fingerprints

    write(tmp_path, "a.csv", hourly(WAVE))
    monkeypatch.setattr(fingerprints, "_SETTLED", -(10**12))
    first = opened(tmp_path)
    monkeypatch.setattr(fingerprints.hashlib, "file_digest", None)
    assert opened(tmp_path).fingerprint == first.fingerprint


def test_the_fingerprint_does_not_depend_on_the_location(tmp_path):
    prints = []
    for place in ("one", "two"):
        write(tmp_path / place, "a.csv", hourly(WAVE))
        prints.append(opened(tmp_path / place).fingerprint)
    assert prints[0] == prints[1]
    assert prints[0] != opened(tmp_path / "one", target=["y"]).fingerprint


def test_an_incomplete_store_is_built_again(tmp_path):
    store = one(tmp_path, hourly(WAVE))
    values = store.folder / "values.f32"
    values.write_bytes(values.read_bytes()[:100])
    assert opened(tmp_path).lengths.tolist() == [48]
    (store.folder / "index.json").write_text("{")
    assert opened(tmp_path).lengths.tolist() == [48]
    np.save(store.folder / "offsets.npy", np.zeros(0, np.int64))
    assert opened(tmp_path).lengths.tolist() == [48]


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    write(tmp_path, "a.csv", hourly(WAVE))
    data = SeriesData(paths=[str(tmp_path / "files")])
    with usage_error("cache.not_writable", "a.csv", "POTSTILL_CACHE"):
        open_store(data, tmp_path / "files" / "a.csv")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.Builder, "build", full)
    with usage_error("cache.not_writable", "No space left", "POTSTILL_CACHE"):
        open_store(data, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/"))


def test_the_cache_folder_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("POTSTILL_CACHE", str(tmp_path / "elsewhere"))
    write(tmp_path, "a.csv", hourly(WAVE))
    assert open_store(SeriesData(paths=[str(tmp_path / "files")])).folder.parent == tmp_path / "elsewhere"


def test_a_store_pickles_as_its_folder_and_its_report_as_json(tmp_path):
    store = one(tmp_path, hourly(WAVE))
    assert len(pickle.dumps(store)) < 1000
    assert np.array_equal(pickle.loads(pickle.dumps(store)).values, store.values)
    tree = store.report.to_dict()
    assert json.loads(json.dumps(tree)) == tree
    assert tree["used"] == {"series": 1, "rows": 48, "missing_values": 0, "files": 1}


SUITE = {"ETTh1": ("h", 24, 7), "tetuan_power": ("10min", 144, 8), "metro_traffic_regular": ("h", 24, 4),
         "bike_sharing": ("h", 24, 11), "beijing_pm25": ("h", 24, 7), "fred_md": ("MS", 12, 107),
         "saugeen_river": ("D", 365, 1), "cloud_cpu": ("5min", 288, 1)}  # fmt: skip


def test_the_suite(shared_data, tmp_path):
    store = open_store(SeriesData(paths=[str(shared_data / "suite")]), tmp_path)
    summary = {}
    for d, name in enumerate(store.datasets):
        mine = np.flatnonzero(store.dataset_of == d)
        summary[name] = (store.frequency[d], int(store.season[mine[0]]), int(store.usable[mine].sum()))
    assert summary == SUITE
    assert store.training_report().reasons() == ["constant (1 series)"]
    assert [name for name, why in zip(store.names, store.skip, strict=True) if why] == ["metro_traffic_regular/snow_1h"]
    assert repaired(store) == {"missing time steps opened as missing values": 165}
    frame = pd.read_csv(shared_data / "suite" / "ETTh1.csv")
    i = store.names.index("ETTh1/OT")
    np.testing.assert_array_equal(store.series(i), frame.OT.to_numpy(np.float32))
    assert str(store.timestamps(i, 17419, 1)[0])[:19].replace("T", " ") == frame.date.iloc[-1]


@pytest.mark.parametrize(
    ("name", "expected"), [("bicimad_users", 7), ("daily_min_temperatures", 365), ("us_gasoline", 52)]
)
def test_seasons_of_the_corpus(shared_data, tmp_path, name, expected):
    store = open_store(SeriesData(paths=[str(shared_data / "corpus" / f"{name}.csv")]), tmp_path)
    assert store.season.tolist() == [expected]


def test_numeric_months_are_read_as_months_and_ambiguity_is_noted(tmp_path):
    months = pd.date_range("2015-01-01", periods=60, freq="MS")
    store = one(tmp_path, "date,y\n" + "".join(f"{m:%d/%m/%Y},{i % 7}\n" for i, m in enumerate(months)))
    assert (store.frequency, store.season.tolist(), store.missing.tolist()) == (["MS"], [12], [0])
    assert not any("day/month" in note for note in store.report.notes)
    few = one(tmp_path, "date,y\n" + "".join(f"{m:%d/%m/%Y},{i % 7}\n" for i, m in enumerate(months[:9])))
    assert any("'date' fit both month/day and day/month; month/day was used" in note for note in few.report.notes)


def stacked(column: str, ids: list, starts=(0, 0, 0), rows: int = 40, by_time: bool = False, **more) -> pd.DataFrame:
    """A long daily frame with ids in ``column``; ``starts`` are the days on which the series begin."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {
                column: name,
                "day": pd.date_range("2024-01-01", periods=rows) + pd.Timedelta(days=start),
                "qty": (100 * k + rng.normal(size=rows)).round(3),
            }
        )
        for k, (name, start) in enumerate(zip(ids, starts))  # noqa: B905
    ]
    frame = pd.concat(parts, ignore_index=True).assign(**more)
    return frame.sort_values("day", kind="stable", ignore_index=True) if by_time else frame


def written_and_opened(folder, frame: pd.DataFrame, ending: str = "csv", **config) -> Store:
    path = folder / "files" / f"a.{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    return opened(folder, **config)


@pytest.mark.parametrize("by_time", [False, True])
@pytest.mark.parametrize("starts", [(0, 0, 0), (0, 10, 20), (0, 38, 76)], ids=["together", "later", "little overlap"])
@pytest.mark.parametrize(
    ("column", "ids"),
    [
        ("id", ["A", "B"]),
        ("sku", ["x", "y", "z"]),
        ("animal", ["cat", "dog"]),
        ("sku", [17, 4, 9]),
        ("StoreID", [1, 2]),
        ("store_nbr", [1, 2, 3]),
    ],
)
def test_repeated_times_reveal_the_id_column(tmp_path, column, ids, starts, by_time):
    frame = stacked(column, ids, starts, by_time=by_time)
    store = written_and_opened(tmp_path, frame)
    assert sorted(store.names) == sorted(f"a/{name}" for name in ids)
    assert store.lengths.tolist() == [40] * len(ids)
    for name in ids:
        expected = frame[frame[column] == name]["qty"].to_numpy(np.float32)
        np.testing.assert_array_equal(store.series(store.names.index(f"a/{name}")), expected)
    assert any(f"column {column!r} identifies the series" in note for note in store.report.notes)
    assert repaired(store) == {}


@pytest.mark.parametrize("kind", ["category", "string", "Int64"])
def test_ids_of_any_type_in_parquet_and_frames(tmp_path, kind):
    frame = stacked("sku", [1, 2] if kind == "Int64" else ["a", "b"]).astype({"sku": kind})
    assert len(written_and_opened(tmp_path, frame, "parquet", target=["qty"])) == 2
    assert len(store_from_frame(frame, SeriesData(), tmp_path / "cache")) == 2
    several = frame.set_index(["sku", "day"])
    assert len(store_from_frame(several, SeriesData(), tmp_path / "cache")) == 2


def test_among_several_id_columns_name_and_fewest_ids_decide(tmp_path):
    frame = stacked("sku", ["x", "y", "z"])
    frame["animal"] = frame["sku"].map({"x": "cat", "y": "dog", "z": "cow"}.get)
    frame["item"] = frame["sku"] + (np.arange(len(frame)) % 5).astype(str)
    store = written_and_opened(tmp_path, frame.reindex(columns=["animal", "item", "sku", "day", "qty"]))
    assert store.names == ["a/x", "a/y", "a/z"]


def test_duplicated_rows_are_not_separate_series(tmp_path):
    hours = pd.date_range("2024-01-01", periods=500, freq="h")
    frame = pd.DataFrame({"date": hours, "y": np.random.default_rng(0).normal(size=500), "weather": "sun"})
    frame.loc[::3, "weather"] = "rain"
    again = frame.iloc[[100, 200]].assign(weather=["rain", "sun"], y=7.0)
    frame = pd.concat([frame, again])
    frame["note"] = None
    frame.loc[frame.index[-1], "note"] = "corrected"
    store = written_and_opened(tmp_path, frame)
    assert (store.names, store.lengths.tolist()) == (["a/y"], [500])
    assert repaired(store)["repeated timestamps, the last one kept"] == 2


def test_row_numbers_and_measurements_are_not_ids(tmp_path):
    frame = stacked("animal", ["cat", "dog"]).assign(order=[f"o{i}" for i in range(80)], items=np.arange(80) % 4)
    store = written_and_opened(tmp_path, frame)
    assert sorted(store.names) == ["a/cat/items", "a/cat/qty", "a/dog/items", "a/dog/qty"]


def test_how_a_table_was_read_is_part_of_its_fingerprint(tmp_path):
    frame = stacked("animal", ["cat", "dog"])
    detected = written_and_opened(tmp_path / "detected", frame)
    named = written_and_opened(tmp_path / "named", frame.rename(columns={"animal": "unique_id"}))
    np.testing.assert_array_equal(detected.values, named.values)
    index = json.loads((detected.folder / "index.json").read_text())
    assert detected.fingerprint == index["fingerprint"]
    assert not detected.folder.name.startswith(detected.fingerprint[:32])
    assert opened(tmp_path / "detected").fingerprint == detected.fingerprint


def test_series_know_the_column_of_their_values(tmp_path):
    """Columns of a wide table differ; in a table with ids, all series of a column are of one."""
    rows = [f"{t},{v},{v * 2}\n" for t, v in zip(pd.date_range("2024-01-01", periods=48, freq="h"), WAVE, strict=True)]
    wide = one(tmp_path / "wide", "date,a,b\n" + "".join(rows))
    assert wide.names == ["a/a", "a/b"]
    assert wide.keys.columns == ["a", "b"]
    long = store_from_frame(long_frame(), SeriesData(), tmp_path)
    assert len(long) == 2
    assert long.keys.columns == ["y", "y"]
    both = store_from_frame(long_frame(z=np.arange(55) % 7), SeriesData(target=["y", "z"]), tmp_path)
    assert both.names == ["frame/b/y", "frame/a/y", "frame/b/z", "frame/a/z"]
    assert both.keys.columns == ["y", "y", "z", "z"]


def test_pages_that_were_read_are_given_back(tmp_path):
    """Resident memory falls by what was read, and the values are the same when read again."""
    if not Path("/proc/self/smaps").exists():
        pytest.skip("/proc/self/smaps is Linux's")
    rows = 1_000_000
    values = np.random.default_rng(0).normal(size=rows)
    store = store_from_frame(pd.DataFrame({"y": values}), SeriesData(), tmp_path)

    def resident() -> int:
        """Kilobytes of the map of the values that are in memory."""
        lines = iter(Path("/proc/self/smaps").read_text().splitlines())
        found = [next(k for k in lines if k.startswith("Rss:")) for line in lines if "values.f32" in line]
        return sum(int(line.split()[1]) for line in found)

    before = store.series(0).copy()
    assert resident() >= 4 * rows / 1024
    store.release()
    assert resident() < 4 * rows / 1024 / 10
    np.testing.assert_array_equal(store.series(0), before)
