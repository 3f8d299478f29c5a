"""Numbers are read from metrics.json, or computed where it has none."""

from __future__ import annotations

from typing import Any

import pytest
from fake_run import small

from potstill.reporting.figures import Figures, compact, display_name


def test_intervals_are_read_from_either_order_of_a_pair() -> None:
    figures = Figures(small(intervals={"ridge/student": {"sql": {"value": 1.25, "low": 1.0, "high": 2.0}}}))
    interval = figures.interval("student", "ridge")
    assert interval
    assert (interval.value, interval.low, interval.high) == (0.8, 0.5, 1.0)
    assert figures.ratio("student", "ridge") == 0.8


def test_retention_is_computed_where_the_file_has_none() -> None:
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


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.001234, "0.00123"),
        (999.6, "1000"),
        (999_960, "1.00 M"),
        (3144, "3,144"),
        (9_996, "9,996"),
        (5.24e6, "5.24 M"),
        (9.4e14, "940 T"),
        (1.1451e20, "1.15e+20"),
        (0.0000012, "0.00000120"),
        (-1.1451e-12, "-1.15e-12"),
    ],
)
def test_compact_numbers(value: float | None, expected: str) -> None:
    assert compact(value) == expected


def test_speed_is_from_paired_rounds_or_else_from_rates():
    cost: dict[str, Any] = {"teacher": {"series_per_second_b32": 10}, "student": {"series_per_second_b32": 79}}
    metrics = small() | {"cost": cost}
    assert Figures(metrics).times_faster() == 7.9
    cost["student"]["speedup_b32"] = 8.2
    assert Figures(metrics).times_faster() == 8.2


def test_a_calibrated_model_follows_the_model() -> None:
    metrics = small()
    for name in ("student+calibrated", "zeta+calibrated", "zeta"):
        metrics["models"][name] = metrics["models"]["student"]
    order = [name for name in Figures(metrics).models if name.split("+")[0] in ("student", "zeta")]
    assert order == ["student", "student+calibrated", "zeta", "zeta+calibrated"]
    assert [display_name(name) for name in order[1::2]] == ["Student, calibrated", "zeta, calibrated"]
