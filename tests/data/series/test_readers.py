"""Files as they come: found in trees, read whatever their quirks, refused with one sentence that names the place."""

import gzip

import pytest
from store_files import hourly, opened, write

from potstill.data.data_report import DataReport
from potstill.data.series.readers import find_sources, read_sheet
from potstill.errors import UserError

TABLE = hourly([1, 2, 4, 7, 11, 16])


def names(folder, *paths, exclude=(), max_files=None, report=None):
    given = [str(folder / "files" / p) for p in paths]
    return [s.name for s in find_sources(given, exclude, max_files, report or DataReport())]


def test_trees_are_searched_in_order_and_capped(tmp_path):
    for name in ("b.csv", "a.csv.gz", "deep/er/c.parquet", "deep/d.CSV", ".hidden.csv", "notes.txt"):
        write(tmp_path, name, "x")
    assert names(tmp_path, "") == ["a", "b", "d", "c"]
    report = DataReport()
    assert names(tmp_path, "", exclude=["b", "absent"], max_files=2, report=report) == ["a", "d"]
    text = "\n".join(report.lines())
    assert "excluded" in text
    assert "max_files = 2" in text
    assert "'absent'" in text
    assert names(tmp_path, "b.csv", "", "b.csv") == ["b", "a", "d", "c"]


def test_equal_stems_go_by_their_path(tmp_path):
    for name in ("x/a.csv", "y/a.csv", "y/b.csv"):
        write(tmp_path, name, "x")
    assert names(tmp_path, "") == ["x/a", "y/a", "b"]
    assert names(tmp_path, "x/a.csv", "y/a.csv") == ["a", "a~2"]


@pytest.mark.parametrize(("path", "says"), [("absent", "no such file"), ("", "holds no"), ("a.xlsx", "ending in")])
def test_paths_that_lead_nowhere(tmp_path, path, says):
    write(tmp_path, "a.xlsx", "x")
    with pytest.raises(UserError, match=says):
        names(tmp_path, path)
    with pytest.raises(UserError, match="--data"):
        find_sources([], [], None, DataReport())


def read(tmp_path, content, name="a.csv"):
    report = DataReport()
    return read_sheet(write(tmp_path, name, content), report, "a"), report


@pytest.mark.parametrize(
    "content",
    [
        TABLE,
        "\ufeff" + TABLE,
        TABLE.encode("utf-16"),
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        "\n\n" + TABLE + "\n\n",
        TABLE.rstrip("\n"),
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
    ],
)
def test_the_same_table_in_many_dresses(tmp_path, content):
    sheet, _ = read(tmp_path, content)
    assert sheet.table.column_names == ["date", "y"]
    assert sheet.table["y"].to_pylist() == ["1", "2", "4", "7", "11", "16"]
    assert sheet.table["date"][5].as_py() == "2024-01-01 05:00:00"


def test_gzip(tmp_path):
    sheet, _ = read(tmp_path, gzip.compress(TABLE.encode(), mtime=0), "a.csv.gz")
    assert len(sheet.table) == 6


def test_latin1_is_noted(tmp_path):
    sheet, report = read(tmp_path, "date,Größe\n2024-01-01,1\n".encode("latin-1"))
    assert sheet.table.column_names == ["date", "Größe"]
    assert any("Latin-1" in line for line in report.lines())


def test_ragged_rows_are_left_out_counted_and_lines_still_right(tmp_path):
    sheet, report = read(tmp_path, "date,y\nd1,1\nd2,2,3\nd3,3\nd4\nd5,5\n")
    assert sheet.table["y"].to_pylist() == ["1", "3", "5"]
    assert [sheet.place(i) for i in range(3)] == ["line 2", "line 4", "line 6"]
    assert report.to_dict()["repaired"] == [
        {"how": "ragged rows left out", "count": 2, "examples": ["a (first: line 3)"]}
    ]


def test_a_file_without_header_and_equal_names(tmp_path):
    sheet, report = read(tmp_path, "2024-01-01,1.5\n2024-01-02,2.5\n")
    assert sheet.table.column_names == ["column_0", "column_1"]
    assert len(sheet.table) == 2
    assert sheet.place(0) == "line 1"
    assert any("first line" in line for line in report.lines())
    sheet, report = read(tmp_path, "date,x,x\n2024-01-01,1,2\n")
    assert sheet.table.column_names == ["date", "x", "x.1"]
    assert any("twice" in line for line in report.lines())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "", r"a\.csv: is empty"),
        ("a.csv", "\n \n", "is empty"),
        ("a.csv", "date,y\n", "header and no rows"),
        ("a.csv", "date,y\n1\n1,2,3\n", r"a\.csv line 2: 1 columns where the header has 2"),
        ("a.csv", bytes(range(256)) * 4, "no text"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0", "no text"),
        ("a.csv", "x" * 200_000 + ",y\n1,2\n", "line 1"),
        ("a.csv.gz", b"\x1f\x8b\x08\0abc", "no whole gzip"),
        ("a.csv.gz", b"date,y\n", "no whole gzip"),
        ("a.csv.gz", gzip.compress(TABLE.encode(), mtime=0)[:-12], "no whole gzip"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.parquet", b"PAR1abc", "no readable Parquet"),
        ("a.parquet", b"", "no readable Parquet"),
    ],
)
def test_files_nothing_can_be_made_of(tmp_path, name, content, says):
    with pytest.raises(UserError, match=says) as error:
        read(tmp_path, content, name)
    assert "\n" not in str(error.value)


def test_one_bad_file_of_many_is_left_out_with_its_reason(tmp_path):
    write(tmp_path, "good.csv", hourly([1, 3, 2, 5]))
    write(tmp_path, "bad.csv", "")
    write(tmp_path, "picture.csv", b"\x89PNG\0\0\0")
    store = opened(tmp_path)
    assert store.names == ["good/y"]
    text = "\n".join(store.report.lines())
    assert "bad.csv: is empty" in text
    assert "no text" in text
