"""The data report: sums, limited size and readable lines."""

from potstill.data.data_report import DataReport


def filled() -> DataReport:
    report = DataReport()
    report.add_used(files=2, series=5, rows=12345)
    for k in range(1000):
        report.add_dropped(f"a/{k}", "constant")
    report.add_dropped("b.csv: is empty", "empty", kind="files")
    report.add_repaired("infinities taken as missing", "a/x", 3)
    report.add_repaired("infinities taken as missing", "a/y", 0)
    report.add_note("a: not UTF-8, read as Latin-1")
    report.add_note("a: not UTF-8, read as Latin-1")
    return report


def test_readable_lines():
    assert filled().lines() == [
        "used: 2 files, 5 series, 12,345 rows",
        "left out: 1,000 series (constant): a/0, a/1, a/2, a/3, a/4, …",
        "left out: 1 files (empty): b.csv: is empty",
        "repaired: 3 infinities taken as missing: a/x",
        "a: not UTF-8, read as Latin-1",
    ]
    assert filled().reasons() == ["constant (1,000 series)", "empty (1 files)"]


def test_json_round_trip():
    tree = filled().to_dict()
    assert tree["dropped"][0] == {
        "kind": "series",
        "why": "constant",
        "count": 1000,
        "examples": [f"a/{k}" for k in range(5)],
    }
    assert DataReport.from_dict(tree).to_dict() == tree


def test_reports_are_added_and_copies_are_independent():
    total, part = filled(), filled()
    total.add(part)
    assert total.used == {"files": 4, "series": 10, "rows": 24690}
    assert total.reasons()[0] == "constant (2,000 series)"
    assert part.to_dict() == filled().to_dict()
    copied = part.copy()
    copied.add_dropped("x", "constant")
    assert part.to_dict() == filled().to_dict()
