"""Files of records as they come: every format, every dress, and what is said of those that cannot be read."""

import csv
import gzip
import io

import pytest

from potstill.data.data_report import DataReport
from potstill.data.text.files import files_of, find_sources
from potstill.data.text.readers import read_records
from potstill.errors import UserError

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


def test_one_record_alone(write):
    alone = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    assert fields(write("a.json", alone)) == [alone]


def test_json_under_the_others_ending(write):
    lines = write("x.jsonl", ROWS).read_text()
    assert fields(write("a.json", lines)) == ROWS
    assert fields(write("b.jsonl", "\n" + write("y.json", ROWS).read_text())) == ROWS


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv(write, name):
    assert fields(write(name, table(ROWS))) == ROWS
    assert fields(write(name, table(ROWS).replace("\r\n", "\n"))) == ROWS


def test_csv_says_where_rows_are_ragged(write):
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
    with pytest.raises(UserError, match="no readable Parquet"):
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
    with pytest.raises(UserError, match="save it anew"):
        fields(folder / "both" / "train")


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.txt"])
def test_encodings(write, name):
    text = {"a.csv": table(ROWS), "a.txt": "héllo"}.get(name) or write(name, ROWS).read_text()
    assert fields(write(name, b"\xef\xbb\xbf" + text.encode())) == fields(write(name, text))
    with pytest.raises(UserError, match="UTF-16"):
        fields(write(name, text.encode("utf-16")))
    with pytest.raises(UserError, match="empty"):
        fields(write(name, b"\xef\xbb\xbf\n \n"))


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.txt"])
def test_latin1_is_refused_by_line(write, name):
    with pytest.raises(UserError, match="line 2: is not UTF-8"):
        fields(write(name, b"fine,too\n" + "déjà,vu\n".encode("latin-1")))


def test_faulty_lines_are_named(write):
    good = '{"text": "a"}'
    broken = "\n".join(["\ufeff" + good, "", "{oops}", "[1]", "3", "[" * 100_000]).encode() + b'\n{"text": "\xe9"}'
    path = write("a.jsonl", broken)
    assert faults(path) == [
        ("line 3", "no valid JSON"),
        ("line 4", "no JSON object"),
        ("line 5", "no JSON object"),
        ("line 6", "no valid JSON"),
        ("line 7", "not UTF-8"),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('[{"text": "a"},\n{"text" "b"}]', "line 2: is no valid JSON"),
        ("3", "no array of records"),
        ('{"a": 1}', "no array of records"),
        ("[" * 100_000, "no JSON that can be read"),
    ],
)
def test_json_that_is_none(write, content, says):
    with pytest.raises(UserError, match=says):
        fields(write("a.json", content))


def test_gzip_that_breaks_off(write):
    whole = gzip.compress("".join(f'{{"text": "{i * i}"}}\n' for i in range(50_000)).encode())
    path = write("a.jsonl.gz", whole[: len(whole) // 2])
    records = list(read_records(path))
    assert len(records) > 1000
    assert records[-1].fault == "the gzip file breaks off"
    for name, content in (("b.jsonl.gz", b"no gzip"), ("c.json.gz", whole[:100])):
        with pytest.raises(UserError, match="no whole gzip"):
            fields(write(name, content))


def test_trees_are_searched_in_order_and_capped(write, tmp_path):
    for name in ("b.csv", "a.jsonl.gz", "deep/b.json", "deep/c.parquet", ".hidden.json", "notes.md"):
        write(name, "x")
    root = str(tmp_path / "files")
    report = DataReport()
    assert [s.name for s in find_sources([root], [], None, report)] == ["a", "b", "deep/b", "c"]
    assert [s.name for s in find_sources([root, root], ["a", "absent"], 2, report)] == ["b", "deep/b"]
    text = "\n".join(report.lines())
    assert all(part in text for part in ("excluded", "max_files = 2", "'absent'"))


@pytest.mark.parametrize(
    ("path", "says"), [("absent", "no such file"), ("empty", "holds no"), ("a.md", "ending in"), ("no.json", "no such")]
)
def test_paths_that_lead_nowhere(write, tmp_path, path, says):
    write("a.md", "x")
    (tmp_path / "files" / "empty").mkdir()
    with pytest.raises(UserError, match=says):
        find_sources([str(tmp_path / "files" / path)], [], None, DataReport())


def test_nothing_given_and_nothing_left(write):
    with pytest.raises(UserError, match="--data"):
        find_sources([], [], None, DataReport())
    with pytest.raises(UserError, match="excluded"):
        find_sources([str(write("a.json", ROWS))], ["a"], None, DataReport())


def test_a_file_that_vanished(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        fields(tmp_path / "gone.jsonl")
