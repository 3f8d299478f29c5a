"""Data files: finding them in directories, variants of CSV, and errors that name file and line."""

import gzip
import os
import re
from pathlib import Path

import numpy as np
import pytest
from store_files import hourly, opened, write
from usage_errors import usage_error

from potstill.data.data_report import DataReport
from potstill.data.series.readers import find_sources, read_sheet
from potstill.recipe import ForecastRecipe, SeriesData

TABLE = hourly([1, 2, 4, 7, 11, 16])


def names(folder, *paths, exclude=(), max_files=None, report=None):
    entries = [str(folder / "files" / p) for p in paths]
    return [s.name for s in find_sources(entries, exclude, max_files, report or DataReport())]


def test_directories_are_searched_in_order_up_to_max_files(tmp_path):
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


def test_files_with_equal_stems_are_named_by_their_path(tmp_path):
    for name in ("x/a.csv", "y/a.csv", "y/b.csv"):
        write(tmp_path, name, "x")
    assert names(tmp_path, "") == ["x/a", "y/a", "b"]
    assert names(tmp_path, "x/a.csv", "y/a.csv") == ["a", "a~2"]


@pytest.mark.parametrize(
    ("path", "key", "fact"),
    [
        ("absent", "data.no_such_file", "absent"),
        ("", "data.no_data_files", ".csv.gz"),
        ("a.xlsx", "data.unknown_ending", "a.xlsx"),
    ],
)
def test_paths_without_data(tmp_path, path, key, fact):
    write(tmp_path, "a.xlsx", "x")
    with usage_error(key, fact):
        names(tmp_path, path)
    with usage_error("data.no_paths", "--data", "data.paths"):
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
def test_variants_of_csv_are_read_as_the_same_table(tmp_path, content):
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


def test_ragged_rows_are_left_out_and_counted_and_line_numbers_stay_right(tmp_path):
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
    ("name", "content", "key", "facts"),
    [
        ("a.csv", "", "data.empty_file", ()),
        ("a.csv", "\n \n", "data.empty_file", ()),
        ("a.csv", "date,y\n", "data.empty_file", ("header",)),
        ("a.csv", "date,y\n1\n1,2,3\n", "data.ragged_rows", ("line 2", "1 columns", "has 2")),
        ("a.csv", bytes(range(256)) * 4, "data.binary_file", ()),
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0", "data.binary_file", ()),
        ("a.csv", "x" * 200_000 + ",y\n1,2\n", "data.unreadable_csv", ("line 1",)),
        ("a.csv.gz", b"\x1f\x8b\x08\0abc", "data.unreadable_gzip", ()),
        ("a.csv.gz", b"date,y\n", "data.unreadable_gzip", ()),
        ("a.csv.gz", gzip.compress(TABLE.encode(), mtime=0)[:-12], "data.unreadable_gzip", ()),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "data.empty_file", ()),
        ("a.parquet", b"PAR1abc", "data.unreadable_parquet", ()),
        ("a.parquet", b"", "data.unreadable_parquet", ()),
    ],
)
def test_unusable_files_are_usage_errors(tmp_path, name, content, key, facts):
    with usage_error(key, name, *facts):
        read(tmp_path, content, name)


def test_one_bad_file_of_many_is_left_out_with_its_reason(tmp_path):
    write(tmp_path, "good.csv", hourly([1, 3, 2, 5]))
    write(tmp_path, "bad.csv", "")
    write(tmp_path, "picture.csv", b"\x89PNG\0\0\0")
    store = opened(tmp_path)
    assert store.names == ["good/y"]
    text = "\n".join(store.report.lines())
    assert "bad.csv: is empty" in text
    assert "no text" in text


DAYS = [f"2023-01-{day:02d},{day % 5}.5,item {day % 3}" for day in range(1, 29)]


def with_lines(**lines: str) -> str:
    """A table of days with some lines replaced, by number: ``_7`` is line 7 of the file."""
    rows = DAYS.copy()
    for number, line in lines.items():
        rows[int(number[1:]) - 2] = line
    return "\n".join(["date,y,name", *rows]) + "\n"


@pytest.mark.parametrize(
    ("content", "first", "last"),
    [
        (with_lines(_7='2023-01-06,"1.5,item'), 7, 29),
        (with_lines(_7='2023-01-06,"1.5,item', _17='2023-01-16,"1.5,item'), 7, 17),
        (with_lines(_7='2023-01-06,"1.5,item', _8='2023-01-07,"2.5,item'), 7, 8),
        (with_lines(_7='"2023-01-06,1.5,item'), 7, 29),
        (with_lines(_7='2023-01-06,1.5,"item', _11='2023-01-10,0.5,"item"'), 7, 11),
        (with_lines(_7='2023-01-06,1.5,"item'), 7, 29),
        (with_lines(_2='"2023-01-01,1.5,item'), 2, 29),
        (with_lines(_7='2023-01-06,"1.5,item').replace(",", ";"), 7, 29),
        (with_lines(_7='2023-01-06,"1.5,item').replace("\n", "\r\n"), 7, 29),
        (with_lines(_4='2023-01-03,1.5,"a\nb"', _7='2023-01-06,"1.5,item'), 8, 30),
        ('y\n1\n5\n2\n3\n"4\n5\n6\n"7\n3\n', 6, 9),
    ],
)
def test_a_stray_quote_that_swallows_rows_is_named_by_its_line(tmp_path, content, first, last):
    write(tmp_path, "a.csv", content)
    with usage_error("data.stray_quote", f"a.csv line {first}:", f"in line {last},"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        with_lines(_7='2023-01-06,1.5,"two\nlines, and, a\nthird"'),
        with_lines(_7='2023-01-06,1.5,"says ""well"", goes\n5,6\n7"', _29='2023-01-28,3.5,"last\n"'),
        with_lines(_7='2023-01-06,1.5,in"ch').replace("\n", "\n\n"),
        re.sub(r"([^,\n]+)", r'"\1"', with_lines()).replace("\n", "\n\n"),
        "\n".join(["date,name,y", *(f'2023-01-{day:02d},"first\n{day},{day}",{day % 5}.5' for day in range(1, 29))]),
    ],
)
def test_quoted_text_of_several_lines_is_valid(tmp_path, content):
    write(tmp_path, "a.csv", content)
    store = opened(tmp_path)
    assert (store.names, store.lengths.tolist()) == (["a/y"], [28])


def test_names_that_are_not_utf8_do_not_spoil_the_others(tmp_path):
    write(tmp_path, "good.csv", hourly([1, 3, 2, 5]))
    bad = os.fsencode(tmp_path / "files") + b"/b\xff.csv"
    try:
        Path(os.fsdecode(bad)).write_text(hourly([1, 3, 2, 5]))
    except OSError:
        pytest.skip("the file system only takes names in UTF-8")
    store = opened(tmp_path)
    assert store.names == ["good/y"]
    assert any(r"the name is not UTF-8; rename it" in line and r"b\xff.csv" in line for line in store.report.lines())
    (tmp_path / "files" / "good.csv").unlink()
    with usage_error("data.name_not_utf8", r"b\xff.csv", "rename"):
        opened(tmp_path)


def test_the_home_of_an_unknown_user_is_a_usage_error():
    with usage_error("data.no_such_file", "~nosuchuser/x.csv"):
        find_sources(["~nosuchuser/x.csv"], [], None, DataReport())


def test_a_column_name_that_numbering_gives_is_not_used_twice(tmp_path):
    rows = "".join(f"2024-01-{d:02d},{d},{d * d},{d % 7}\n" for d in range(1, 11))
    write(tmp_path, "a.csv", f"date,a,a,a.1\n{rows}")
    store = opened(tmp_path)
    assert store.names == ["a/a.2", "a/a.1"]  # `a` counts up
    assert [store.series(i)[2] for i in range(2)] == [9, 3]


def test_steps_of_microseconds(tmp_path):
    times = np.datetime64("2024-01-01", "us") + np.arange(50)
    write(tmp_path, "a.csv", "date,y\n" + "".join(f"{t},{i % 7}\n" for i, t in enumerate(times)))
    assert opened(tmp_path).frequency == ["us"]


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("date;Sales, EUR;Cost, EUR\n" + "".join(f"2024-01-{d:02d};{d},5;{d % 4},25\n" for d in range(1, 11)),
         {"a/Sales, EUR": 1.5, "a/Cost, EUR": 1.25}),
        ("date|y\n" + "".join(f"2024-01-{d:02d}|{d % 4}.5\n" for d in range(1, 11)), {"a/y": 1.5}),
        ('date,"a;b"\n' + "".join(f"2024-01-{d:02d},{d % 4}.5\n" for d in range(1, 11)), {"a/a;b": 1.5}),
    ],
)  # fmt: skip
def test_the_separator_follows_from_the_first_lines(tmp_path, content, columns):
    write(tmp_path, "a.csv", content)
    store = opened(tmp_path)
    assert {name: store.series(i)[0] for i, name in enumerate(store.names)} == columns


def test_a_euro_sign_of_windows(tmp_path):
    rows = "".join(f"{d:02d}.01.2024;1.{d}00,50 €\n" for d in range(1, 10))
    write(tmp_path, "a.csv", f"Tag;Preis\n{rows}".encode("cp1252"))
    store = opened(tmp_path)
    assert store.series(0)[:2].tolist() == [1100.5, 1200.5]


class FakeHub:
    """Stands for the hub: a repository with two data sets."""

    files = ("m4/train-0.parquet", "m4/README.md", "web/D/data-0.arrow", "web/D/state.json", "web/D/dataset_info.json")

    def __init__(self, folder, monkeypatch):
        import huggingface_hub

        self.asked = []
        monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: list(self.files))
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.download)
        self.folder = folder
        for file in self.files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text("{}")

    def download(self, repository, repo_type, allow_patterns):
        self.asked = [repository, repo_type, sorted(allow_patterns)]
        return str(self.folder)


def test_data_sets_on_the_hub(tmp_path, monkeypatch):
    hub = FakeHub(tmp_path, monkeypatch)
    (source,) = find_sources(["org/sets/m4"], [], None, DataReport())
    assert source.path == tmp_path / "m4" / "train-0.parquet"
    assert hub.asked == ["org/sets", "dataset", ["m4/train-0.parquet"]]
    (source,) = find_sources(["org/sets/web"], [], None, DataReport())
    assert (source.path, source.name) == (tmp_path / "web" / "D", "D")
    with usage_error("data.several_on_hub", "org/sets/m4", "web/D"):
        find_sources(["org/sets"], [], None, DataReport())
    with usage_error("data.no_data_files", "org/sets/other"):
        find_sources(["org/sets/other"], [], None, DataReport())


def test_a_hub_that_cannot_be_reached_is_a_usage_error(monkeypatch):
    import huggingface_hub

    def refuse(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", refuse)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with usage_error("data.no_such_file", "org/sets", "hub"):
        find_sources(["org/sets"], [], None, DataReport())
    with usage_error("data.no_such_file", "folder/a.csv: no such file or directory; check"):
        find_sources(["folder/a.csv"], [], None, DataReport())


def test_a_recipe_keeps_hub_ids():
    paths = ["org/sets/m4", "data.csv", "embedded"]
    kept = ForecastRecipe(data=SeriesData(paths=paths)).absolute().data.paths
    assert [kept[0], kept[2]] == ["org/sets/m4", "embedded"]
    assert Path(kept[1]).is_absolute()
