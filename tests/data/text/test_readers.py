"""Files of records: all formats and their variants, and errors for files that cannot be read."""

import csv
import gzip
import io
import json

import pytest
from usage_errors import usage_error

from potstill.data.data_report import DataReport
from potstill.data.files import files_of
from potstill.data.text.files import find_sources
from potstill.data.text.readers import read_records

ROWS = [{"question": "1 + 1?", "answer": "2 🎉"}, {"question": '线, "quoted"\n?', "answer": "是"}]


def table(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def fields(path):
    return [record.fields for record in read_records(path)]


def faults(path):
    return [(record.place, record.fault) for record in read_records(path) if record.fault]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz", "a.JSONL.gz"])
def test_json(write, name):
    assert fields(write(name, ROWS)) == ROWS


@pytest.mark.parametrize("key", ["data", "train", "whatever"])
def test_an_array_under_a_key(write, key):
    assert fields(write("a.json", {"version": 1, "tags": [], key: ROWS})) == ROWS


def test_a_single_record(write):
    alone = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    assert fields(write("a.json", alone)) == [alone]


def test_json_and_json_lines_with_swapped_endings(write):
    lines = write("x.jsonl", ROWS).read_text()
    assert fields(write("a.json", lines)) == ROWS
    assert fields(write("b.jsonl", "\n" + write("y.json", ROWS).read_text())) == ROWS


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv(write, name):
    assert fields(write(name, table(ROWS))) == ROWS
    assert fields(write(name, table(ROWS).replace("\r\n", "\n"))) == ROWS


def test_ragged_rows_of_csv_are_located(write):
    path = write("a.csv", 'question;answer\n"two\nlines";b\nlonely\n\nc;d;e\nf;g\n')
    assert [r.fields for r in read_records(path) if not r.fault] == [
        {"question": "two\nlines", "answer": "b"},
        {"question": "f", "answer": "g"},
    ]
    reason = "more or fewer columns than the header"
    assert faults(path) == [("line 4", reason), ("line 6", reason)]


def test_long_cells(write):
    assert len(fields(write("a.csv", "text,more\n" + "x" * 200_000 + ",y\n"))[0]["text"]) == 200_000


def test_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rows = [{"messages": [{"role": "user", "content": "é"}]}] * 3
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert fields(tmp_path / "a.parquet") == rows
    (tmp_path / "b.parquet").write_bytes(b"PAR1 not quite")
    with usage_error("data.unreadable_parquet", "b.parquet"):
        fields(tmp_path / "b.parquet")


def test_paragraphs(write):
    records = list(read_records(write("a.txt", "\r\none\r\ntwo\r\n \t\r\n\r\nthree 🙂\n\n\nfour")))
    assert [(r.place, r.fields["text"]) for r in records] == [
        ("line 2", "one\ntwo"),
        ("line 6", "three 🙂"),
        ("line 9", "four"),
    ]


def test_saved_data_sets(tmp_path, write):
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "files"
    write("z.json", ROWS)
    parts = {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS[:1])}
    datasets.DatasetDict(parts).save_to_disk(folder / "both")
    sources = find_sources([str(folder)], [], None, DataReport())
    assert [source.name for source in sources] == ["test", "train", "z"]
    assert [fields(source.path) for source in sources] == [ROWS[:1], ROWS, ROWS]
    assert "train/state.json" in [file.name for file in files_of(sources[1])]
    one = find_sources([str(folder / "both" / "train")], [], None, DataReport())
    assert [source.name for source in one] == ["train"]
    (folder / "both" / "train" / "state.json").write_text("{}")
    with usage_error("data.unreadable_saved_dataset", "train"):
        fields(folder / "both" / "train")


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.txt"])
def test_encodings(write, name):
    text = {"a.csv": table(ROWS), "a.txt": "héllo"}.get(name) or write(name, ROWS).read_text()
    assert fields(write(name, b"\xef\xbb\xbf" + text.encode())) == fields(write(name, text))
    with usage_error("data.not_utf8", name, "UTF-16"):
        fields(write(name, text.encode("utf-16")))
    with usage_error("data.empty_file", name):
        fields(write(name, b"\xef\xbb\xbf\n \n"))


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.txt"])
def test_latin1_is_a_usage_error_with_its_line(write, name):
    with usage_error("data.not_utf8", f"{name} line 2:"):
        fields(write(name, b"fine,too\n" + "déjà,vu\n".encode("latin-1")))


def test_unreadable_lines_are_located(write):
    good = '{"text": "a"}'
    broken = "\n".join(["\ufeff" + good, "", "{oops}", "[1]", "3", "[" * 100_000]).encode() + b'\n{"text": "\xe9"}'
    path = write("a.jsonl", broken)
    assert faults(path) == [
        ("line 3", "not valid JSON"),
        ("line 4", "not a JSON object"),
        ("line 5", "not a JSON object"),
        ("line 6", "not valid JSON"),
        ("line 7", "not UTF-8"),
    ]


@pytest.mark.parametrize(
    ("content", "key", "fact"),
    [
        ('[{"text": "a"},\n{"text" "b"}]', "data.unreadable_json", "a.json line 2:"),
        ("3", "data.no_records", "a.json"),
        ('{"a": 1}', "data.no_records", "a.json"),
        ("[" * 100_000, "data.unreadable_json", "a.json"),
    ],
)
def test_invalid_json(write, content, key, fact):
    with usage_error(key, fact):
        fields(write("a.json", content))


def test_truncated_gzip(write):
    whole = gzip.compress("".join(f'{{"text": "{i * i}"}}\n' for i in range(50_000)).encode())
    path = write("a.jsonl.gz", whole[: len(whole) // 2])
    records = list(read_records(path))
    assert len(records) > 1000
    assert records[-1].fault == "the gzip file is truncated"
    for name, content in (("b.jsonl.gz", b"no gzip"), ("c.json.gz", whole[:100])):
        with usage_error("data.unreadable_gzip", name):
            fields(write(name, content))


def test_directories_are_searched_in_order_up_to_max_files(write, tmp_path):
    for name in ("b.csv", "a.jsonl.gz", "deep/b.json", "deep/c.parquet", ".hidden.json", "notes.md"):
        write(name, "x")
    root = str(tmp_path / "files")
    report = DataReport()
    assert [s.name for s in find_sources([root], [], None, report)] == ["a", "b", "deep/b", "c"]
    assert [s.name for s in find_sources([root, root], ["a", "absent"], 2, report)] == ["b", "deep/b"]
    text = "\n".join(report.lines())
    assert all(part in text for part in ("excluded", "max_files = 2", "'absent'"))


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("absent", "data.no_such_file"),
        ("empty", "data.no_data_files"),
        ("a.md", "data.unknown_ending"),
        ("no.json", "data.no_such_file"),
    ],
)
def test_paths_without_data(write, tmp_path, path, key):
    write("a.md", "x")
    (tmp_path / "files" / "empty").mkdir()
    with usage_error(key, path):
        find_sources([str(tmp_path / "files" / path)], [], None, DataReport())


def test_no_paths_and_all_files_excluded(write):
    with usage_error("data.no_paths", "--data", "data.paths"):
        find_sources([], [], None, DataReport())
    with usage_error("data.all_excluded", "a.json", "data.exclude"):
        find_sources([str(write("a.json", ROWS))], ["a"], None, DataReport())


def test_a_missing_file(tmp_path):
    with usage_error("data.no_such_file", "gone.jsonl"):
        fields(tmp_path / "gone.jsonl")


def test_line_separators_of_unicode_do_not_end_a_line(write):
    """U+2028 and U+0085 are allowed within JSON strings; ``str.splitlines`` would cut there."""
    rows = [{"question": "a\u2028b", "answer": "c\u0085d"}, {"question": "e", "answer": "f\u2029"}]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert fields(write("a.jsonl", lines)) == rows
