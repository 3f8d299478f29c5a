"""The summary: headline, verdicts from confidence intervals, and cautions."""

from __future__ import annotations

from typing import Any

import pytest
from fake_run import small

from potstill.reporting import summary_lines
from potstill.reporting.comparisons import Comparison
from potstill.reporting.data_words import step_words
from potstill.reporting.figures import Interval


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (small(0.755), "Keeps 98 % of the teacher's skill, is 12 times faster and 9 % of its size."),
        (small(0.80), "Keeps 80 % of the teacher's skill, is 12 times faster and 9 % of its size."),
        (small(0.90), "Keeps only 40 % of the teacher's skill, is 12 times faster and 9 % of its size."),
        (small(0.70), "Keeps all of the teacher's skill and more (120 %), is 12 times faster and 9 % of its size."),
        (small(1.10), "Seasonal naive is more accurate here: use it, or the teacher, which is more accurate still"),
        (small(0.751), "Matches the teacher, is 12 times faster and 9 % of its size."),
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
        ({"ridge": 0.70}, "Ridge is more accurate here: use it (SQL 7.3 % lower)."),
        (
            {"ridge": 0.70, "auto_theta": 0.60},
            "Ridge and AutoTheta are more accurate here: use AutoTheta (SQL 21 % lower).",
        ),
        ({"control": 0.70, "ridge": 0.65}, "Ridge is more accurate here: use it (SQL 14 % lower)."),
        (
            {"control": 0.70, "control_start": 0.65},
            "Keeps 98 % of the teacher's skill, but training without it does better (SQL 14 % lower).",
        ),
        (
            {"ridge": 0.70, "control": 0.60},
            "skill, but training without it does better (SQL 21 % lower), and so does ridge.",
        ),
        ({"source": 0.70}, "The student before it grew is more accurate: keep it (SQL 7.3 % lower)."),
    ],
)
def test_the_headline_is_the_decision_baselines_and_controls_first(others: dict[str, float], expected: str) -> None:
    metrics = small(0.755)
    for name, relative in others.items():
        metrics["models"][name] = {
            dataset: {"sql": relative * entry["sql"]} for dataset, entry in metrics["models"]["seasonal_naive"].items()
        }
    headline, second, *_ = summary_lines(metrics)
    assert headline.endswith(expected)
    if "12 times faster" not in headline:  # what the headline leaves open follows
        assert "is 12 times faster" in second
        assert "9 % of its size" in second


def test_the_headline_without_a_teacher_names_a_better_baseline_too() -> None:
    models = small()["models"]
    ridge = {dataset: {"sql": 0.5 * entry["sql"]} for dataset, entry in models["seasonal_naive"].items()}
    metrics = {"models": {"student": models["student"], "seasonal_naive": models["seasonal_naive"], "ridge": ridge}}
    lines = summary_lines(metrics)
    assert lines[0] == "Ridge is more accurate here: use it (SQL 38 % lower)."
    assert lines[1] == "Student's error (SQL) is 20 % lower than seasonal naive's."


def few(windows: int, without_overlap: int = 10) -> dict[str, Any]:
    """Metrics whose interval says that ridge is better, from a number of test windows."""
    metrics = small(0.755, account={"datasets": {"A": {"windows": windows, "without_overlap": without_overlap}}})
    metrics["models"]["ridge"] = {name: {"sql": 0.5, "sql_rel_naive": 0.5} for name in "AB"}
    metrics["intervals"] = {"student/ridge": {"sql": {"value": 1.5, "low": None, "high": None, "windows": windows}}}
    return metrics


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (few(1), "1 window: too few to tell"),
        (few(19), "19 windows: too few to tell"),
        (few(30, 2), "30 windows that overlap: too few to tell"),
    ],
)
def test_no_verdict_from_few_windows(metrics: dict[str, Any], said: str) -> None:
    lines = summary_lines(metrics)
    assert lines[0] == f"{said}."
    assert "12 times faster and 9 % of its size" in lines[1]  # this does not depend on the windows
    compared = [line for line in lines if line.startswith("Compared with")]
    assert len(compared) == 3
    assert all(line.endswith(f"; {said}.") for line in compared)
    assert not any("kept" in line or "covers" in line or "CI" in line.replace(lines[2], "") for line in lines)


def test_twenty_windows_give_a_verdict() -> None:
    assert summary_lines(few(20))[0].startswith("Ridge is more accurate here")


def test_a_ratio_without_interval_is_that_of_the_pair() -> None:
    """AutoTheta is evaluated on fewer windows: the mean of its metrics is not comparable."""
    assert "SQL 50 % higher" in "".join(line for line in summary_lines(few(12)) if "ridge" in line)


def test_models_without_a_significant_difference_are_named() -> None:
    pair = {"sql": {"value": 0.99, "low": 0.95, "high": 1.04}}
    metrics = small(0.755, intervals={"student/control": pair, "student/ridge": pair})
    for name in ("control", "ridge"):
        metrics["models"][name] = {d: {"sql": 0.76, "sql_rel_naive": 0.76} for d in "AB"}
    assert summary_lines(metrics)[0].endswith("9 % of its size; no significant difference from ridge and its control.")


def test_speed_has_a_range_and_size_is_in_bytes_as_saved() -> None:
    cost = {
        "student": {
            "parameters": 1e6, "bytes": 1.2e6, "series_per_second_b32": 90, "speedup_b32": 3.04,
            "speedup_b32_range": [2.6, 3.31], "speedup_b1": 2.2, "speedup_b1_range": [2.0, 2.4],
        },
        "teacher": {"parameters": 2e6, "bytes": 12e6, "series_per_second_b32": 30},
    }  # fmt: skip
    lines = summary_lines(small(0.755, cost=cost))
    assert lines[0].endswith("is 3.0 times faster and 10 % of its size.")
    assert "2.6 to 3.3 over the rounds; 2.2 times at batch 1 (2.0 to 2.4); 90.0 compared with 30.0" in "".join(lines)
    assert "1.20 MB of 12.0 MB as saved; 1.00 M of 2.00 M parameters" in "".join(lines)


@pytest.mark.parametrize(
    ("span", "speed"),
    [([0.24, 2.4], ""), ([0.4, 1.05], "2.0 times slower and "), ([0.4, 0.7], "2.0 times slower and ")],
)
def test_a_speed_that_differs_from_round_to_round_is_not_in_the_headline(span, speed) -> None:
    cost = {"student": {"bytes": 66, "speedup_b32": 0.51, "speedup_b32_range": span}, "teacher": {"bytes": 100}}
    lines = summary_lines(small(0.755, cost=cost))
    assert f" is {speed}66 % of its size" in lines[0]
    busy = "the rounds do not tell which is faster, so measure again on an idle machine"
    assert any(busy in line for line in lines) is not bool(speed)
    assert any("0.51 times the speed at batch 32" in line for line in lines)


def test_the_data_are_described_in_words() -> None:
    one = {"series": 7, "rows": 121_940, "missing": 14, "steps": {"h": 1.0}, "season": 24}
    one |= {"first": "2016-07-01", "last": "2018-06-26T19:00:00"}
    two = {"series": 1, "rows": 90, "missing": 0, "steps": {"": 1.0}, "season": 1}
    lines = summary_lines(small(account={"series": {"ETTh1": one, "sales": two}}))
    assert (
        "ETTh1: 7 series, 121,940 rows, hourly, a season of 24 steps, from 2016-07-01 to 2018-06-26 19:00,"
        " 14 values missing (0.0 %)." in lines
    )
    assert "sales: one series, 90 rows, without dates, no season, no missing values." in lines


@pytest.mark.parametrize(
    ("alias", "words"),
    [
        ("15min", "every 15 minutes"), ("D", "daily"), ("W-SUN", "weekly (W-SUN)"),
        ("2W-MON", "every 2 weeks (2W-MON)"),
        ("QS", "quarterly"), ("B", "on business days"), ("XY", "step XY"), ("", ""),
    ],
)  # fmt: skip
def test_steps_in_words(alias: str, words: str) -> None:
    assert step_words(alias) == words


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
    assert ("training without it does better" in summary_lines(metrics)[0]) == (low > 1)
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


ADVICE = " --calibrate 4 of forecast and evaluate fits its width to the last errors on each series."
LAST_4 = " With a width fitted to the errors of the last 4 horizons on each series"


@pytest.mark.parametrize(
    ("coverage", "fitted", "default", "expected"),
    [
        (0.8, None, 0, "of the true values: close to 80 %."),
        (0.6, None, 0, f"too narrow.{ADVICE}"),
        (0.6, None, 4, "too narrow."),
        (0.9, 0.78, 4, f"too wide.{LAST_4}, the default of `potstill forecast`, it covers 78 %."),
        (0.9, 0.78, 2, f"too wide.{LAST_4} it covers 78 %."),
        (0.9, 0.78, 0, f"too wide.{LAST_4} it covers 78 %."),
    ],
)
def test_intervals_of_the_wrong_width_and_what_helps(coverage, fitted, default, expected) -> None:
    metrics = small()
    student = {name: {**values, "coverage_80": coverage} for name, values in metrics["models"]["student"].items()}
    metrics["models"]["student"] = student
    metrics["calibrate_horizons"] = {"student": default} if default else {}
    if fitted:
        metrics["models"]["student+calibrated"] = {n: {**v, "coverage_80": fitted} for n, v in student.items()}
        metrics["calibrated_rows"] = {"student": 4}
    assert any(line.endswith(expected) for line in summary_lines(metrics))
