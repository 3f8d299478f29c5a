"""The report works with missing parts, loads nothing from outside and runs no script from the data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from fake_run import DATASETS, HOSTILE, fake_metrics, write_fake_run
from page_reader import draw
from usage_errors import usage_error

from potstill.reporting import draw_report, summary_lines


def test_the_whole_page_shows_the_measurements(tmp_path: Path) -> None:
    _, page = draw(write_fake_run(tmp_path / "demo"))
    lines = summary_lines(fake_metrics())
    assert lines[0] in page.text
    assert "is 12 times faster and 9 % of its size." in lines[0]
    for figure in (
        "3,144 compared with 262 series per second",
        "472 K of 5.24 M parameters",
        "1,204,311",
        "AMD EPYC",
        "constant",
    ):
        assert figure in page.text
    assert "learning_rate: 0.001" in page.text
    data = page.data
    assert set(data["tables"]["datasets"]) == set(DATASETS)
    written = fake_metrics()["models"]["ridge"]["fred_md"]["mase"]
    assert data["tables"]["values"]["ridge"]["fred_md"]["mase"] == pytest.approx(written, rel=1e-5)
    assert {example["kind"] for example in data["examples"]} == {"best", "median", "worst"}
    assert data["models"]["student"]["label"] == "Student"


def test_the_page_loads_nothing_from_outside(tmp_path: Path) -> None:
    text, page = draw(write_fake_run(tmp_path / "demo"))
    assert page.references == ["data:,"]
    assert not re.search(r"https?://|@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|\bimport\(", text)


def test_only_the_pages_own_script_may_run(tmp_path: Path) -> None:
    """Series, recipe and account contain a script element; the policy allows only the hash of the page's script."""
    text, page = draw(write_fake_run(tmp_path / f"run {HOSTILE.replace('/', '')}"))
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    assert "\\u003cscript\\u003e" in text
    assert page.handlers == []
    assert HOSTILE in page.text
    assert len(page.scripts) == 2
    own = page.scripts[1][1]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    allowed = policy.group(1).replace("&#39;", "'")
    assert f"script-src 'sha256-{digest}'" in allowed
    assert "default-src 'none'" in allowed
    assert "unsafe" not in allowed


def without(metrics: dict[str, Any], *models: str) -> dict[str, Any]:
    keep = {part: {m: v for m, v in metrics[part].items() if m not in models} for part in ("models", "cost")}
    return metrics | keep | {"intervals": {}}


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"models": {}},
        {"models": {"student": {"A": {"sql": None, "mse": 0.4}}}},
        {"models": {"chronos": {"A": {"sql": 0.4}}, "tiny": {"A": {"sql": 0.5}}}, "reference": "chronos"},
        {"cost": {"student": {"parameters": 9}}},
        without(fake_metrics(), "teacher"),
        without(fake_metrics(), "control"),
        without(fake_metrics(), "teacher", "student", "control"),
        without(fake_metrics(), "seasonal_naive", "ridge", "auto_theta"),
        {k: v for k, v in fake_metrics().items() if k != "cost"},
        {"models": fake_metrics()["models"], "account": [], "provenance": None, "retention": {"overall": None}},
        {"models": [], "cost": 3, "intervals": "no", "account": {"used": {}}, "provenance": "by hand"},
    ],
)
@pytest.mark.parametrize("rest", [True, False])
def test_any_part_may_be_missing(tmp_path: Path, metrics: dict[str, Any], rest: bool) -> None:
    folder = write_fake_run(tmp_path / "run")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    if not rest:
        for name in ("recipe.yaml", "forecasts.json"):
            (folder / name).unlink()
        (folder / "log.jsonl").write_text('{"event": "train", "step": 1, "loss": null}\n')
    _, page = draw(folder)
    lines = summary_lines(metrics)
    assert lines
    assert all(line.endswith(".") and "nan" not in line.lower() and "None" not in line for line in lines)
    assert bool(page.data["loss"]) == rest


def test_a_run_in_training_shows_its_curves(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run")
    (folder / "metrics.json").unlink()
    _, page = draw(folder)
    assert "Still in training" in page.text
    assert page.data["validation"]["SQL"]["student"][0][-1] == 6000


@pytest.mark.parametrize(
    ("file", "content", "key", "part"),
    [
        ("metrics.json", "{oh", "report.invalid_json", "line 1"),
        ("metrics.json", "[1]", "report.not_an_object", "list"),
        ("forecasts.json", '{"levels": [0.1,', "report.invalid_json", "line 1"),
    ],
)
def test_an_invalid_file_is_named(tmp_path: Path, file: str, content: str, key: str, part: str) -> None:
    folder = write_fake_run(tmp_path / "run")
    (folder / file).write_text(content)
    with usage_error(key, file, part):
        draw_report(folder)


def test_a_folder_without_a_run_is_a_usage_error(tmp_path: Path) -> None:
    with usage_error("report.no_such_run", str(tmp_path), "metrics.json", "log.jsonl"):
        draw_report(tmp_path)
    (tmp_path / "file").write_text("x")
    with usage_error("report.not_a_folder", str(tmp_path / "file")):
        draw_report(tmp_path / "file")
