"""The benchmark of students reckons what it says, leaves out what is stale, and draws a picture that holds together."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


def scores(**sql: tuple[float, float]) -> Any:
    """Two data sets of twenty windows of five series, on which every window has the same figure."""
    from students_judge import Judged, Scores

    series, origin = np.repeat(np.arange(5), 4), np.tile(np.arange(4) * 96, 5)
    sets = [
        Judged(name, series, origin, 96, {m: np.full(20, v[i]) for m, v in sql.items()}, dict.fromkeys(sql, 0.8))
        for i, name in enumerate("ab")
    ]
    return Scores(sets)


def test_ratios_are_geometric_means_and_retention_follows() -> None:
    found = scores(seasonal_naive=(1.0, 2.0), teacher=(0.5, 1.28), student=(0.8, 1.28))
    assert found.of("student")["sql_rel_naive"]["value"] == pytest.approx((0.8 * 0.64) ** 0.5)
    assert found.ratio("student", "teacher") | {"value": 0} == pytest.approx(
        {"value": 0, "low": 1.6**0.5, "high": 1.6**0.5, "lower_on": 0, "of": 2}, rel=1e-6
    )
    kept = found.retention("student", "teacher")
    assert kept["sql"]["value"] == pytest.approx(1 / 1.6**0.5)
    student, teacher = (0.8 * 0.64) ** 0.5, (0.5 * 0.64) ** 0.5
    assert kept["skill"]["value"] == pytest.approx((1 - student) / (1 - teacher))
    assert kept["skill"]["low"] == pytest.approx(kept["skill"]["high"], rel=1e-6)


def test_a_teacher_without_skill_has_none_to_keep() -> None:
    found = scores(seasonal_naive=(1.0, 1.0), teacher=(1.2, 1.1), student=(0.9, 0.9))
    assert found.retention("student", "teacher")["skill"] is None


def test_the_latest_windows_lie_a_horizon_apart(tmp_path: Path) -> None:
    from students_judge import LAST_FIFTH, LatestWindows

    from potstill.data.series.opening import open_store
    from potstill.recipe import SeriesData

    rows = "".join(f"2020-01-{1 + h // 24:02d} {h % 24:02d}:00:00,{h % 7},{h % 5}\n" for h in range(600))
    (tmp_path / "set.csv").write_text("date,a,b\n" + rows)
    data = SeriesData(paths=[str(tmp_path / "set.csv")], split=LAST_FIFTH, context_length=64, prediction_length=10)
    windows = LatestWindows(open_store(data, cache=tmp_path / "cache"), data, "test", stride=1)
    series, origin = windows.locate(windows.of_dataset("set"))
    assert origin[series == 0].tolist() == list(range(480, 600, 10))
    windows.most = 7
    assert len(windows.of_dataset("set")) == 7


def test_a_run_of_another_teacher_or_recipe_is_left_out(tmp_path: Path) -> None:
    from students_train import Arm

    from potstill.errors import UserError
    from potstill.recipe import Recipe

    arm = Arm("arm", "large", Recipe(), 1, None)
    arm.run(tmp_path).mkdir()
    Recipe().write(arm.run(tmp_path) / "recipe.yaml")
    provenance = {"teachers": {"large": {"fingerprint": "old"}}}
    (arm.run(tmp_path) / "metrics.json").write_text(json.dumps({"provenance": provenance}))
    assert arm.finished(tmp_path)
    arm.check(tmp_path, SimpleNamespace(fingerprint="old"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="other weights by now"):
        arm.check(tmp_path, SimpleNamespace(fingerprint="new"))  # type: ignore[arg-type]
    Recipe.read(None, {"data.stride": 3}).write(arm.run(tmp_path) / "recipe.yaml")
    with pytest.raises(UserError, match="another data"):
        arm.check(tmp_path, SimpleNamespace(fingerprint="old"))  # type: ignore[arg-type]


def test_the_plan_gives_every_arm_a_length(tmp_path: Path) -> None:
    from students_train import read_plan

    from potstill.errors import UserError

    plan = read_plan(BENCHMARKS / "students.yaml", [Path("a.csv")], {})
    assert all((arm.steps is None) != (arm.minutes is None) for arm in plan.arms)
    assert {arm.teacher for arm in plan.arms} <= set(plan.teachers)
    quick = read_plan(BENCHMARKS / "students.yaml", [Path("a.csv")], {"training.max_steps": 3})
    assert {arm.steps for arm in quick.arms} == {3}
    short = "teachers: {t: embedded}\nrecipe: {}\narms: {one: {teacher: t, student: linear}}\n"
    (tmp_path / "arms.yaml").write_text(short)
    with pytest.raises(UserError, match="either steps or minutes"):
        read_plan(tmp_path / "arms.yaml", [], {})


def figures() -> dict[str, Any]:
    """One arm beside its teacher, with a name that is no markup."""
    span = {"value": 0.8, "low": 0.7, "high": 0.9}
    known = ("parameters", "bytes", "flops", "latency_ms_b1", "series_per_second_b32", "series_per_second_b256")
    cost = {**dict.fromkeys(known, 100), "peak_mb": None}
    scores = {"sql_rel_naive": span, "datasets": {"a": span}, "coverage_80": 0.8}
    arm = {part: {**scores, "retention": {"sql": span, "skill": None}} for part in ("student", "control")}
    arm |= {
        "teacher": "<b>",
        "family": "linear",
        "steps": 5,
        "control_steps": 9,
        "cost": cost,
        "times_teacher_b256": 2.0,
    }
    arm |= {"against_control": span, "against_ridge": {**span, "lower_on": 1, "of": 1}}
    others = {"<b>": {**scores, "cost": cost}, "ridge": {**scores, "cost": cost}}
    sets = {"a": {"windows": 3, "series": 1, "horizon": 96}}
    return {"quick": False, "sets": sets, "arms": {"arm": arm}, "others": others, "left_out": {"x": "gone"}}


def test_the_picture_is_whole_and_escaped() -> None:
    from students_draw import picture

    text = picture(figures())
    root = ElementTree.fromstring(text)
    assert "prefers-color-scheme: dark" in text
    assert not any("href" in key for element in root.iter() for key in element.attrib)
    assert any(element.text == "<b> · 100" for element in root.iter())


def test_the_tables_hold_every_model_and_what_was_left_out() -> None:
    from students_table import tables

    text = tables(figures())
    assert "| **arm** | 100 | 5 | 0.800 [0.700, 0.900] |" in text
    assert "0.800 [0.700, 0.900], 1 of 1" in text
    assert "- x: gone" in text
    for table in text.split("\n\n"):
        if table.startswith("|"):
            assert len({line.count("|") for line in table.strip().splitlines()}) == 1
