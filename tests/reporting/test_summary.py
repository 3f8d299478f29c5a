"""The summary: headline, verdicts from confidence intervals, and cautions."""

from __future__ import annotations

from typing import Any

import pytest
from fake_run import small

from potstill.reporting import summary_lines
from potstill.reporting.figures import Interval
from potstill.reporting.summary import Comparison


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (small(0.755), "Keeps 98 % of the teacher's skill, is 12 times faster and 9 % of its size."),
        (small(0.80), "Keeps 80 % of the teacher's skill, is 12 times faster and 9 % of its size."),
        (small(0.90), "Keeps only 40 % of the teacher's skill, is 12 times faster and 9 % of its size."),
        (small(0.70), "Keeps all of the teacher's skill and more (120 %), is 12 times faster and 9 % of its size."),
        (small(1.10), "Loses the teacher's skill (it is no better than seasonal naive), is 12 times faster"),
        (small(1.0, 1.25), "Keeps 125 % of the teacher's accuracy (SQL; the teacher is no better than seasonal naive)"),
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
def test_the_headline_reports_what_is_kept(metrics: dict[str, Any], expected: str) -> None:
    assert summary_lines(metrics)[0].startswith(expected)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({"ridge": 0.76}, "9 % of its size."),
        ({"ridge": 0.7550001}, "9 % of its size."),
        ({"ridge": 0.70}, "9 % of its size; ridge is better (SQL 7.3 % lower)."),
        ({"auto_theta": 0.70}, "9 % of its size; AutoTheta is better (SQL 7.3 % lower)."),
        (
            {"ridge": 0.70, "control": 0.60},
            "9 % of its size; its control (SQL 21 % lower) and ridge (SQL 7.3 % lower) are better.",
        ),
    ],
)
def test_the_headline_names_better_models_without_a_teacher(others: dict[str, float], expected: str) -> None:
    metrics = small(0.755)
    for name, relative in others.items():
        metrics["models"][name] = {
            dataset: {"sql": relative * entry["sql"]} for dataset, entry in metrics["models"]["seasonal_naive"].items()
        }
    assert summary_lines(metrics)[0].endswith(expected)


def test_the_headline_without_a_teacher_names_a_better_baseline_too() -> None:
    models = small()["models"]
    ridge = {dataset: {"sql": 0.5 * entry["sql"]} for dataset, entry in models["seasonal_naive"].items()}
    metrics = {"models": {"student": models["student"], "seasonal_naive": models["seasonal_naive"], "ridge": ridge}}
    assert summary_lines(metrics)[0].endswith("than seasonal naive's; ridge is better (SQL 38 % lower).")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.95, 0.99, "the teacher helped"),
        (0.98, 1.03, "no significant difference (95 % CI includes 0)"),
        (1.01, 1.05, "the teacher did not help"),
    ],
)
def test_the_interval_decides_the_comparison_with_the_control(low: float, high: float, expected: str) -> None:
    value = (low + high) / 2
    interval = {
        "sql": {"value": value, "low": low, "high": high, "datasets": {"A": {"value": 0.9, "low": 0.8, "high": 1}}}
    }
    metrics = small(intervals={"student/control": interval})
    metrics["models"]["control"] = {"A": {"sql": 0.8}, "B": {"sql": 0.9}}
    line = next(line for line in summary_lines(metrics) if "Compared with its control" in line)
    assert expected in line
    assert ("its control is better" in summary_lines(metrics)[0]) == (low > 1)
    assert f"{abs(value - 1) * 100:.1f} % {'lower' if value < 1 else 'higher'}" in line
    assert "lower on 2 of 2 data sets" in line


def test_caution_where_one_domain_proves_little() -> None:
    metrics = small()
    for sets in metrics["models"].values():
        sets.pop("B")
        sets["ETTh1"] = sets.pop("A")
    assert any("ETT data alone" in line for line in summary_lines(metrics))
    assert any("--control" in line for line in summary_lines(metrics))


def test_terms_are_explained_and_an_equal_model_is_named() -> None:
    metrics = small()
    metrics["models"]["ridge"] = metrics["models"]["student"]
    lines = summary_lines(metrics)
    assert "scaled quantile loss (SQL)" in lines[1]
    assert any("ridge" in line and line.endswith("no meaningful difference (below 0.5 %).") for line in lines)


def test_differences_from_a_factor_of_two_on_are_factors() -> None:
    far = Comparison("teacher", 15.29, "worse", 0, 0, Interval(16.29, 14.66, 18.26), what="perplexity")
    assert far.sentence.endswith("perplexity 16 times as high (95 % CI 15 to 18 times); worse.")
    near = Comparison("teacher", 0.99, "worse", 0, 0, Interval(1.99, 1.9, 2.1))
    assert "SQL 99.0 % higher (95 % CI +90.0 % to +110.0 %)" in near.sentence
