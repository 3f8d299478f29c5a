"""The report says what was measured, holds together with parts missing, and runs nothing that a user wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fake_run import DATASETS, HOSTILE, fake_log, fake_metrics, write_fake_run

from potstill.errors import UserError
from potstill.evaluation.report import draw_report, summary_lines
from potstill.evaluation.report_charts import examples, loss_curves, scatter, validation_curves
from potstill.evaluation.report_figures import Figures, compact
from potstill.evaluation.report_tree import present

VOID = {"meta", "link", "br", "rect", "path"}


class Page(HTMLParser):
    """Checks that tags nest, and collects text, scripts and every reference to something outside."""

    def __init__(self, text: str):
        super().__init__()
        self.stack: list[str] = []
        self.texts: list[str] = []
        self.tables: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "action", "data", "poster", "srcset")]
        self.handlers += [k for k, _ in attrs if k.startswith("on") or k == "style"]
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A void element."""

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif not self.stack or self.stack[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(next(body for attrs, body in self.scripts if attrs.get("id") == "data"))


def draw(folder: Path) -> tuple[str, Page]:
    text = draw_report(folder).read_text(encoding="utf-8")
    return text, Page(text)


def small(student: float = 0.8, teacher: float = 0.75, **more: Any) -> dict[str, Any]:
    sql = {"student": student, "teacher": teacher, "seasonal_naive": 1.0}
    models = {
        name: {"A": {"sql": v, "sql_rel_naive": v}, "B": {"sql": v, "sql_rel_naive": v}} for name, v in sql.items()
    }
    cost = {"student": {"parameters": 9, "series_per_second_b32": 120}}
    cost["teacher"] = {"parameters": 100, "series_per_second_b32": 10}
    return {"models": models, "cost": cost} | more


def test_the_whole_page_says_what_was_measured(tmp_path: Path) -> None:
    _, page = draw(write_fake_run(tmp_path / "demo"))
    lines = summary_lines(fake_metrics())
    assert lines[0] in page.text
    assert "is 12 times faster and 9 % of its size." in lines[0]
    for figure in (
        "3,144 against 262 series a second",
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


def test_it_asks_for_nothing_from_outside(tmp_path: Path) -> None:
    text, page = draw(write_fake_run(tmp_path / "demo"))
    assert page.references == ["data:,"]
    assert not re.search(r"https?://|@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|\bimport\(", text)


def test_only_our_own_script_may_run(tmp_path: Path) -> None:
    """Series, recipe and account hold a script element; the policy names the hash of ours and no other."""
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
    assert page.data["validation"]["student"][0][-1] == 6000


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("metrics.json", "{oh", "metrics.json line 1"),
        ("metrics.json", "[1]", "expected an object"),
        ("forecasts.json", '{"levels": [0.1,', "forecasts.json line 1"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, file: str, content: str, said: str) -> None:
    folder = write_fake_run(tmp_path / "run")
    (folder / file).write_text(content)
    with pytest.raises(UserError, match=said):
        draw_report(folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the folder of a run"):
        draw_report(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        draw_report(tmp_path / "file")


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (small(0.755), "Keeps 98 % of the teacher's skill, is 12 times faster and 9 % of its size."),
        (small(0.80), "Keeps 80 % of the teacher's skill, is 12 times faster and 9 % of its size."),
        (small(0.90), "Keeps only 40 % of the teacher's skill, is 12 times faster and 9 % of its size."),
        (small(0.70), "Keeps all of the teacher's skill and more (120 %), is 12 times faster and 9 % of its size."),
        (small(1.10), "Loses the teacher's skill (it forecasts no better than seasonal naive), is 12 times faster"),
        (small(1.0, 1.25), "Keeps 125 % of the teacher's accuracy (SQL; the teacher has no skill over seasonal naive)"),
        (small(0.755, cost={}), "Keeps 98 % of the teacher's skill."),
        (
            small(0.755, cost={"student": {"latency_ms_b1": 3.0}, "teacher": {"latency_ms_b1": 2.0}}),
            "Keeps 98 % of the teacher's skill and is 1.50 times slower.",
        ),
        (
            {"models": {"student": small()["models"]["student"]}, "cost": small()["cost"]},
            "Student's error (SQL) is 20 % lower than seasonal naive's, with 9.00 parameters",
        ),
    ],
)
def test_the_headline_is_honest(metrics: dict[str, Any], said: str) -> None:
    assert summary_lines(metrics)[0].startswith(said)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.95, 0.99, "the teacher helped"),
        (0.98, 1.03, "no difference that these data can tell"),
        (1.01, 1.05, "the teacher did not help here"),
    ],
)
def test_the_control_is_judged_by_its_interval(low: float, high: float, said: str) -> None:
    value = (low + high) / 2
    interval = {
        "sql": {"value": value, "low": low, "high": high, "datasets": {"A": {"value": 0.9, "low": 0.8, "high": 1}}}
    }
    metrics = small(intervals={"student/control": interval})
    metrics["models"]["control"] = {"A": {"sql": 0.8}, "B": {"sql": 0.9}}
    line = next(line for line in summary_lines(metrics) if "control" in line)
    assert said in line
    assert f"{abs(value - 1) * 100:.1f} % {'lower' if value < 1 else 'higher'}" in line
    assert "lower on 2 of 2 data sets" in line


def test_intervals_are_read_from_either_side() -> None:
    figures = Figures(small(intervals={"ridge/student": {"sql": {"value": 1.25, "low": 1.0, "high": 2.0}}}))
    interval = figures.interval("student", "ridge")
    assert interval
    assert (interval.value, interval.low, interval.high) == (0.8, 0.5, 1.0)
    assert figures.ratio("student", "ridge") == 0.8


def test_retention_is_worked_out_where_the_file_has_none() -> None:
    metrics = small(0.8, 0.75)
    metrics["models"]["student"]["B"] = {"sql": 0.9, "sql_rel_naive": 0.9}
    figures = Figures(metrics)
    assert figures.retention("sql", "B") == pytest.approx(0.75 / 0.9)
    assert figures.retention("skill", "B") == pytest.approx(0.1 / 0.25)
    student = (0.8 * 0.9) ** 0.5
    assert figures.retention("sql") == pytest.approx(0.75 / student)
    assert figures.retention("skill") == pytest.approx((1 - student) / 0.25)
    given = Figures(metrics | {"retention": {"overall": {"sql": 0.5, "skill": 0.25}}})
    assert (given.retention("sql"), given.retention("skill")) == (0.5, 0.25)


def test_caution_where_one_domain_proves_little() -> None:
    metrics = small()
    for sets in metrics["models"].values():
        sets.pop("B")
        sets["ETTh1"] = sets.pop("A")
    assert any("ETT data alone" in line for line in summary_lines(metrics))
    assert any("--control" in line for line in summary_lines(metrics))


def test_curves_keep_the_last_word_of_a_resumed_run_and_stay_short() -> None:
    log = [{"event": "train", "step": s, "loss": float(s), "terms": {"pinball": 2.0 * s}} for s in range(1, 3001)]
    log.append({"event": "train", "step": 3000, "loss": 0.0, "terms": {}})
    log.append({"event": "eval", "step": 3000, "sql": 0.5, "model": "control"})
    curves = loss_curves(log)
    steps, values = curves["student"]["total"]
    assert (len(steps), steps[-1]) == (300, 3000)
    assert values[0] == 5.5  # mean of the first ten steps
    assert values[-1] == pytest.approx((sum(range(2991, 3000)) + 0.0) / 10)
    assert curves["student"]["terms"]["pinball"][1][0] == 11
    assert validation_curves(log) == {"control": [[3000], [0.5]]}
    assert set(loss_curves(fake_log())) == {"student", "control"}


def test_examples_keep_what_a_screen_can_show() -> None:
    truth = [48_000 + 0.0123456789 * i for i in range(96)]
    one = {"dataset": "A", "kind": "worst", "context": [None, *truth, *truth], "truth": truth}
    one["forecasts"] = {"student": [truth] * 5, "torn": [truth]}
    found = list(
        examples({"levels": [0.9, 0.1, 0.4, 0.5, 0.6], "examples": [one, one | {"kind": "best"}, {"truth": []}]})
    )
    assert [example["kind"] for example in found] == ["best", "worst"]
    assert found[0]["band"] == [0.1, 0.5, 0.9]
    assert list(found[0]["forecasts"]) == ["student"]
    assert len(found[0]["context"]) == 144
    assert found[0]["truth"][1] == 48_000.0123


def test_scatter_offers_the_costs_that_two_models_share() -> None:
    axes = [axis["key"] for axis in scatter(Figures(small()))["axes"]]
    assert axes == ["series_per_second_b32", "parameters"]
    assert scatter(Figures({})) == {}


def test_long_lists_are_cut_and_tables_recognised() -> None:
    assert present({"files": [f"a file {i}" for i in range(1000)]}).pairs[0][1].more == 900
    table = present({"dropped": [{"why": "constant", "count": 1200}]}, grouped=True).pairs[0][1]
    assert (table.columns, table.rows[0][1].text) == (["why", "count"], "1,200")
    nested = present({"datasets": {"A": {"windows": 3}, "B": {"windows": 4, "note": "few"}}}).pairs[0][1]
    assert [cell.text for cell in nested.rows[1]] == ["B", "4", "few"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.001234, "0.00123"),
        (999.6, "1000"),
        (999_960, "1.00 M"),
        (3144, "3,144"),
        (9_996, "9,996"),
        (5.24e6, "5.24 M"),
    ],
)
def test_numbers_for_people(value: float | None, said: str) -> None:
    assert compact(value) == said
