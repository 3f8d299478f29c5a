"""The sentences say what was measured, are judged by intervals, and warn of what proves little."""

from __future__ import annotations

from typing import Any

import pytest
from fake_run import small

from potstill.reporting import summary_lines
from potstill.reporting.figures import Interval
from potstill.reporting.summary import Comparison


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


def test_caution_where_one_domain_proves_little() -> None:
    metrics = small()
    for sets in metrics["models"].values():
        sets.pop("B")
        sets["ETTh1"] = sets.pop("A")
    assert any("ETT data alone" in line for line in summary_lines(metrics))
    assert any("--control" in line for line in summary_lines(metrics))


def test_from_twice_as_much_on_a_factor_is_said() -> None:
    far = Comparison("teacher", 15.29, "worse", 0, 0, Interval(16.29, 14.66, 18.26), what="perplexity")
    assert far.sentence.endswith("perplexity 16 times as high (95 % interval 15 to 18 times); worse.")
    near = Comparison("teacher", 0.99, "worse", 0, 0, Interval(1.99, 1.9, 2.1))
    assert "SQL 99.0 % higher (95 % interval +90.0 % to +110.0 %)" in near.sentence
