"""``potstill-runtime forecast`` and ``info``: tables by hand, and one sentence for everything that is wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import potstill.runtime
from potstill.runtime import NotFinite, Runtime
from potstill.runtime.cli import main


@pytest.fixture
def model(exported) -> Path:
    return exported("linear").folder


def forecast(model: Path, data: Path, *options: str, code: int = 0) -> int:
    assert main(["forecast", str(model), str(data), *options]) == code
    return code


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def rows_of(model: Path, text: str, tmp_path: Path, capsys: Any, *options: str) -> list[dict[str, str]]:
    forecast(model, written(tmp_path / "data.csv", text), *options)
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def refused(model: Path, text: str, tmp_path: Path, capsys: Any, *words: str, options: tuple[str, ...] = ()) -> None:
    forecast(model, written(tmp_path / "data.csv", text), *options, code=2)
    out, said = capsys.readouterr()
    assert not out
    assert said.count("\n") == 1
    assert said.endswith(".\n")
    for word in words:
        assert word in said


def test_long_tables(model, tmp_path, capsys):
    """Every series, in the order of the file, with the runtime's quantiles; rows are sorted by time."""
    x, y = np.round(np.sin(np.arange(40)), 6), np.round(np.cos(np.arange(30)) * 1e6, 3)
    days = pd.date_range("2024-02-01", periods=40)
    lines = [f"b,{day:%Y-%m-%d},{value}" for day, value in zip(days, x, strict=True)]
    lines += [f"a,{day:%Y-%m-%d},{value}" for day, value in zip(days[:30], y, strict=True)][::-1]
    output = tmp_path / "next.csv"
    data = written(tmp_path / "d.csv", "unique_id,ds,y\n" + "\n".join(lines) + "\n")
    forecast(model, data, "--prediction-length", "30", "--quantiles", "0.9,0.1", "--output", str(output))
    table = pd.read_csv(output)
    assert list(table) == ["unique_id", "ds", "q0.1", "q0.9"]
    assert table.unique_id.tolist() == ["b"] * 30 + ["a"] * 30
    wanted = [*pd.date_range("2024-03-12", periods=30), *pd.date_range("2024-03-02", periods=30)]
    assert table.ds.tolist() == [f"{day:%Y-%m-%d}" for day in wanted]
    found = Runtime(model).predict([x, y], 30, quantiles=[0.1, 0.9]).quantiles
    np.testing.assert_allclose(table[["q0.1", "q0.9"]].to_numpy(), found.transpose(0, 2, 1).reshape(60, 2), rtol=1e-6)
    assert "sorted the rows of 1 series" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("times", "ahead"),
    [
        (["2024-01-31", "2024-02-29", "2024-03-31"], ["2024-04-30", "2024-05-31"]),
        (["2023-11-30", "2023-12-30", "2024-01-30"], ["2024-02-29", "2024-03-30"]),
        (["2020-01-01", "2021-01-01", "2022-01-01"], ["2023-01-01", "2024-01-01"]),
        (["2024-01-01", "2024-04-01", "2024-07-01"], ["2024-10-01", "2025-01-01"]),
        (["2024-02-26", "2024-02-27", "2024-02-28"], ["2024-02-29", "2024-03-01"]),
        (["2024-02-14", "2024-02-21"], ["2024-02-28", "2024-03-06"]),
        (["2024-12-31 22:00", "2024-12-31T23:00"], ["2025-01-01 00:00:00", "2025-01-01 01:00:00"]),
        (
            ["2024-01-01 00:00:00.5", "2024-01-01 00:00:01"],
            ["2024-01-01 00:00:01.500000", "2024-01-01 00:00:02.000000"],
        ),
        (
            ["2024-01-01T00:00+02:00", "2024-01-01T06:00+02:00"],
            ["2024-01-01 12:00:00+02:00", "2024-01-01 18:00:00+02:00"],
        ),
        (
            ["2024-03-31T00:00+01:00", "2024-03-31T02:00+02:00"],
            ["2024-03-31 01:00:00+00:00", "2024-03-31 02:00:00+00:00"],
        ),
        (["20240228", "20240229"], ["20240301", "20240302"]),
        (["202411", "202412"], ["202501", "202502"]),
        (["2024-11", "2024-12"], ["2025-01", "2025-02"]),
        (["2023", "2024"], ["2025", "2026"]),
        (["0", "5", "10"], ["15", "20"]),
        (["1704067200", "1704070800"], ["1704074400", "1704078000"]),
        (["-3", "-2"], ["-1", "0"]),
        ([f"{day:%Y-%m-%d}" for day in pd.bdate_range("2024-01-01", "2024-02-02")], ["2024-02-05", "2024-02-06"]),
    ],
    ids=lambda times: times[0],
)
def test_times_ahead(model, tmp_path, capsys, times, ahead):
    text = "ds,y\n" + "".join(f"{time},{k}\n" for k, time in enumerate(times))
    rows = rows_of(model, text, tmp_path, capsys, "--horizon", "2")
    assert [row["ds"] for row in rows] == ahead
    assert {row["unique_id"] for row in rows} == {"y"}


def test_missing_rows_and_values_are_missing_values(model, tmp_path, capsys):
    text = "ds,y\n2024-01-01,1\n2024-01-02,4\n2024-01-04,NA\n2024-01-05,\n2024-01-08,2\n"
    rows = rows_of(model, text, tmp_path, capsys, "--horizon", "1", "--quantiles", "0.5")
    context = [1, 4, np.nan, np.nan, np.nan, np.nan, np.nan, 2]
    assert rows[0]["ds"] == "2024-01-09"
    assert float(rows[0]["q0.5"]) == pytest.approx(Runtime(model).predict(context, 1, quantiles=[0.5]).quantiles.item())


def test_irregular_times_are_numbered(model, tmp_path, capsys):
    text = "ds,y\n2024-01-01,1\n2024-01-03,4\n2024-01-06,3\n"
    forecast(model, written(tmp_path / "d.csv", text), "--horizon", "2")
    out, said = capsys.readouterr()
    assert [row["step"] for row in csv.DictReader(io.StringIO(out))] == ["1", "2"]
    assert "no regular times" in said


def test_a_series_of_one_row_has_the_step_of_the_others(model, tmp_path, capsys):
    text = "id,ds,y\na,2024-01-01,1\na,2024-01-08,4\nb,2024-01-08,5\n"
    rows = rows_of(model, text, tmp_path, capsys, "--horizon", "1")
    assert [(row["id"], row["ds"], row["q0.5"]) for row in rows][1] == ("b", "2024-01-15", "5")


@pytest.mark.parametrize(
    "text",
    [
        "y\n1\n2\n4\n",
        "sold\n1\n2\n4\n",
        "﻿sold\r\n1\r\n2\r\n4\r\n",
        "Series;Value\nx;1\nx;2\nx;4\n",
        "ID\tY\tz\nx\t1\tq\nx\t2\tq\nx\t4\tq\n",
    ],
    ids=range(5),
)
def test_simple_files(model, tmp_path, capsys, text):
    rows = rows_of(model, text, tmp_path, capsys, "--quantiles", "0.5")
    assert [row["step"] for row in rows] == [str(step) for step in range(1, 25)]
    wanted = Runtime(model).predict([1, 2, 4], quantiles=[0.5]).quantiles[0, 0]
    np.testing.assert_allclose([float(row["q0.5"]) for row in rows], wanted, rtol=1e-6)


def test_named_columns(model, tmp_path, capsys):
    text = "shop,when,sold,y\na,2024-01-01,1,9\na,2024-01-02,3,9\nb,2024-01-01,7,9\n"
    named = ("--id-column", "shop", "--time-column", "when", "--target", "sold", "--horizon", "1", "--threads", "1")
    rows = rows_of(model, text, tmp_path, capsys, *named)
    assert [(row["shop"], row["when"]) for row in rows] == [("a", "2024-01-03"), ("b", "2024-01-02")]


def test_constants_and_series_without_values(model, tmp_path, capsys):
    text = "id,y\na,7\na,7\nb,\nb,NaN\nc,1\nc,2\n"
    forecast(model, written(tmp_path / "d.csv", text), "--horizon", "1", "--quantiles", "0.1,0.9")
    out, said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [list(row.values()) for row in rows[:2]] == [["a", "1", "7", "7"], ["b", "1", "", ""]]
    assert float(rows[2]["q0.1"]) < float(rows[2]["q0.9"])
    assert "1 series have no forecast, such as b" in said
    assert "3 series" in said


def test_a_forecast_that_is_not_finite_leaves_the_others_alone(model, tmp_path, capsys):
    wave = "".join(f"{name},{value}\n" for name in "ac" for value in (1, 2, 4))
    large = "".join(f"b,{value}\n" for value in [1.7e308, -1.7e308] * 10)
    rows = rows_of(model, "id,y\n" + wave + large, tmp_path, capsys, "--quantiles", "0.01,0.5")
    assert all(row["q0.5"] for row in rows if row["id"] != "b")
    with pytest.raises(NotFinite):
        Runtime(model).predict([1.7e308, -1.7e308] * 10)
    assert {row["q0.5"] for row in rows if row["id"] == "b"} == {""}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty"]),
        ("\n", ["is empty"]),
        ("y\n", ["no rows"]),
        ("1\n2\n3\n", ["first row holds numbers"]),
        ("y,y\n1,2\n", ["several columns named 'y'"]),
        ("y\n1\ntwo\n3\n", ["line 3", "column y", "'two' is not a number"]),
        ("id,y\na,1\na,1_000\n", ["line 3", "1_000"]),
        ("y\n1\ninf\n", ["line 3", "'inf'"]),
        ("id;y\na;1,5\n", ["line 2", "'1,5'"]),
        ("ds,y\n2024-01-01,1\n2024-01-02\n", ["line 3", "1 cells", "header has 2"]),
        ("ds,y\n2024-01-01,1\n01/02/2024,2\n", ["line 3", "column ds", "01/02/2024", "ISO"]),
        ("ds,y\n2024-01-01,1\n,2\n", ["line 3", "column ds"]),
        ("ds,y\n2024-01-01T00:00Z,1\n2024-01-02T00:00,2\n", ["line 3", "time zone"]),
        ("ds,y\n2024-01-01,1\n2024-01-02,2\n2024-01-01,3\n", ["lines 2 and 4", "--id-column"]),
        ("id,ds,y\na,2024-01-01,1\na,2024-01-01,3\n", ["lines 2 and 3", "of a"]),
        ("ds,a,b\n2024-01-01,1,2\n", ["a, b", "--target"]),
        ("ds,a\n2024-01-01,x\n", ["no column of numbers", "--target"]),
        ("shop,sold\na,1\nb,2\n", ["column shop", "--id-column"]),
        ('y\n"1\n2\n', ["not a readable CSV"]),
    ],
    ids=range(19),
)
def test_files_that_are_wrong(model, tmp_path, capsys, text, words):
    refused(model, text, tmp_path, capsys, "data.csv", *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--target", "price"), ["--target price", "id, y"]),
        (("--id-column", "y", "--target", "y"), ["a column once"]),
        (("--time-column", "when"), ["--time-column when"]),
        (("--horizon", "0"), ["--prediction-length", "100,000"]),
        (("--horizon", "100001"), ["--prediction-length"]),
        (("--horizon", "ten"), ["--prediction-length", "'ten'"]),
        (("--quantiles", "0.5,2"), ["quantiles"]),
        (("--quantiles", "low"), ["quantiles"]),
        (("--threads", "-1"), ["--threads"]),
        (("--output", "nowhere/next.csv"), ["--output", "nowhere"]),
    ],
    ids=str,
)
def test_options_that_are_wrong(model, tmp_path, capsys, options, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(model, "id,y\na,1\na,2\n", tmp_path, capsys, *words, options=options)


def test_files_and_folders_that_are_not_there(model, tmp_path, capsys):
    forecast(model, tmp_path / "none.csv", code=2)
    assert "none.csv: cannot be read" in capsys.readouterr().err
    forecast(model, tmp_path, code=2)
    assert "cannot be read" in capsys.readouterr().err
    forecast(tmp_path / "none", tmp_path / "none.csv", code=2)
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "latin.csv").write_bytes(b"y\n\xe9\n")
    forecast(model, tmp_path / "latin.csv", code=2)
    assert "UTF-8" in capsys.readouterr().err


def test_a_failed_run_leaves_the_old_output(model, tmp_path, capsys):
    output = written(tmp_path / "next.csv", "old")
    refused(model, "y\nx\n", tmp_path, capsys, options=("--output", str(output)))
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "next.csv"]


def test_the_input_is_not_replaced(model, tmp_path, capsys):
    text = "y\n1\n2\n"
    (tmp_path / "link.csv").symlink_to(tmp_path / "data.csv")
    for output in ("data.csv", "link.csv"):
        refused(model, text, tmp_path, capsys, "would be replaced", options=("--output", str(tmp_path / output)))
    assert (tmp_path / "data.csv").read_text() == text


def test_info(exported, capsys):
    for name in ("linear", "chronos2-groups", "mixture"):
        assert main(["info", str(exported(name).folder)]) == 0
        said = capsys.readouterr().out
        manifest = json.loads((exported(name).folder / "export.json").read_text())
        assert f"{manifest['parameters']:,}" in said
        assert "24 steps" in said
        assert ("groups and covariates" in said) == (name == "chronos2-groups")
    assert "short, long" in said
    assert main(["info", "nowhere"]) == 2


def test_as_a_package_of_its_own_it_imports_nothing_else(exported, tmp_path):
    """Under its own name, from another folder, without Potstill on the path."""
    (tmp_path / "potstill_runtime").symlink_to(Path(potstill.runtime.__file__).parent)
    written(tmp_path / "d.csv", "y\n1\n2\n4\n")
    code = (
        "import sys; from potstill_runtime.cli import main; done = main();"
        " heavy = {'torch', 'pandas', 'transformers', 'potstill', 'scipy', 'numpy.ma'} & set(sys.modules);"
        " sys.exit(done or str(heavy) if heavy else 0)"
    )
    command = [sys.executable, "-c", code, "forecast", str(exported("mixture").folder), "d.csv"]
    ran = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 25
