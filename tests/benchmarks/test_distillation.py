"""The benchmark of distillation: short histories, recipes of the arms, and tables."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from potstill.data.series.windows import SeriesWindows
from potstill.recipe import SeriesData

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


@pytest.fixture
def plan(_benchmarks: None) -> dict[str, Any]:
    from distillation import read_plan

    return read_plan()


def write_file(path: Path, rows: int = 3000, columns: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.arange(rows)[:, None] % 24 + np.random.default_rng(0).random((rows, columns))
    frame = pd.DataFrame(values, columns=pd.Index([f"c{i}" for i in range(columns)]))
    frame.insert(0, "date", pd.date_range("2020-01-01", periods=rows, freq="h"))
    frame["Holiday"] = 0
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("windows", [10, 31])
def test_a_short_history_is_the_last_windows_before_the_test_part(tmp_path, windows):
    from distillation_data import cut_history

    options = {"context_length": 64, "prediction_length": 12, "without": ["Holiday"]}
    source = cut_history("set", write_file(tmp_path / "set.csv"), options, windows, tmp_path / "cut")
    scored = source.scored[0].test(1000)
    section = SeriesData.model_validate(source.data)
    train = SeriesWindows(scored.store, section, "train")
    assert len(train) == windows == source.windows
    assert scored.store.names == [f"set-{windows}/c0", f"set-{windows}/c1"]
    test = scored.of_dataset(f"set-{windows}")
    assert len(test) == 2 * 48  # 48 horizons of two columns
    # the file ends where the source ends, and the training rows come directly before validation and test part
    rows = 64 + 12 + -(-windows // 2) - 1
    frame = pd.read_csv(tmp_path / "cut" / f"set-{windows}.csv")
    assert len(frame) == rows + 2 * 12 + 48 * 12
    assert frame["date"].iloc[-1] == pd.read_csv(tmp_path / "set.csv")["date"].iloc[-1]
    assert scored.batch(test[:1]).origin.tolist() == [rows + 2 * 12]
    assert source.scored[0].key == f"set-{windows}-12"


def cells_in(folder: Path, plan: dict[str, Any]) -> list[Any]:
    from distillation import cells_of
    from students_judge import SETS

    for name in SETS:
        write_file(folder / "suite" / f"{name}.csv", rows=40)
    for name, file in plan["files"].items():
        write_file(folder / file["folder"] / f"{name}.csv")
    return cells_of(plan, Namespace(data=folder, runs=folder / "runs"))


def test_every_arm_has_a_recipe(tmp_path, plan):
    cells = cells_in(tmp_path, plan)
    assert len({cell.key for cell in cells}) == len(cells)
    for cell in cells:
        arm = plan["arms"][cell.arm]
        recipe = cell.recipe
        assert recipe.objective.alpha == arm["objective.alpha"]
        assert recipe.student.start == arm["student.start"]
        assert (recipe.data.synthetic > 0) == bool(arm.get("generated"))
        assert (recipe.data.distinct_windows is not None) == (arm.get("generated") == "stored")
        assert recipe.training.seed == cell.seed
        assert len(recipe.teacher) == len(arm.get("teachers", ["embedded"]))
        if cell.stored:  # the teacher runs once per window, so their number must be small
            assert recipe.data.distinct_windows or (cell.source.windows and not recipe.data.synthetic)
            assert not recipe.objective.terms
    assert {cell.arm for cell in cells} == set(plan["arms"])
    stored = {cell.arm for cell in cells if cell.stored and cell.situation == "scarce"}
    assert {"start", "l1", "start-generated-stored", "start-two-teachers"} <= stored
    assert not {"truth", "start-generated", "start-features"} & stored


def test_whole_files_leave_out_what_is_scored(tmp_path, plan):
    cells = cells_in(tmp_path, plan)
    unseen = next(cell.source for cell in cells if cell.situation == "unseen" and cell.size == "third")
    kept = {name for name, file in plan["files"].items() if file["folder"] == "corpus"}
    assert kept <= set(unseen.data["exclude"])
    assert {scored.name for scored in unseen.scored} >= kept | {"ETTh1", "fred_md"}
    assert unseen.data["paths"] == [str(tmp_path / "corpus"), str(tmp_path / "runs" / "pretrain")]
    weekly = next(scored for scored in unseen.scored if scored.name == "us_gasoline")
    assert weekly.section.prediction_length == 24
    vic = next(scored for scored in unseen.scored if scored.name == "vic_electricity")
    assert vic.section.target == ["c0", "c1"]  # without Holiday
    assert vic.test(50).of_dataset("vic_electricity").size == 2 * (3000 // 5 // 96)


def result(level: float, coverage: float, seed: int) -> dict[str, Any]:
    sql = np.full(20, level) + 0.01 * np.random.default_rng(seed).random(20)
    places = {"series": np.repeat(np.arange(5), 4).tolist(), "origin": np.tile(np.arange(4) * 96, 5).tolist()}
    return {"sql": sql.tolist(), "naive": [1.0] * 20, "coverage": coverage, "steps": 10, "parameters": 7} | places


def test_the_best_control_is_the_one_that_arms_are_compared_with():
    from distillation_table import Group, figures_of, markdown

    arms = {"truth": 0.9, "truth-generated": 0.8, "start": 0.4}
    sets = {arm: {name: [result(level, 0.7, s) for s in (0, 1)] for name in "ab"} for arm, level in arms.items()}
    teacher = {name: result(0.5, 0.8, 9) | {"horizon": 96} for name in "ab"}
    group = Group("scarce", 200, "third", "time", sets)
    found = figures_of(group, teacher, ["truth", "truth-generated"])
    assert found["control"] == "truth-generated"
    assert found["arms"]["truth-generated"]["against_control"] is None
    against = found["arms"]["start"]["against_control"]
    assert against["value"] == pytest.approx(0.5, abs=0.01)
    assert against["low"] <= against["value"] <= against["high"]
    assert found["arms"]["start"]["retention"]["skill"]["value"] == pytest.approx(1.2, abs=0.02)
    assert found["arms"]["start"]["coverage_80"] == {"a": 0.7, "b": 0.7}
    text = markdown(group, found)
    assert text.splitlines()[4].startswith("| start | 0.40")
    assert "| truth-generated (the control) |" in text


def test_an_arm_that_is_not_finished_is_left_out(tmp_path):
    from distillation_table import read_groups

    from potstill.runs import write_json

    (tmp_path / "cells").mkdir()

    def cell(arm: str, name: str) -> Namespace:
        key = f"{arm}-{name}"
        source = Namespace(name=name, windows=1)
        return Namespace(situation="s", size="third", equal="time", arm=arm, source=source, key=key)

    cells = [cell("truth", "a"), cell("truth", "b"), cell("start", "a"), cell("start", "b")]
    for one in cells[:3]:
        scores = result(1.0, 0.8, 0)
        about = {"steps": scores.pop("steps"), "parameters": scores.pop("parameters")}
        write_json(tmp_path / "cells" / f"{one.key}.json", {**about, "sets": {one.source.name: scores}})
    (group,) = read_groups(cells, tmp_path)
    assert set(group.results) == {"truth"}
    assert group.results["truth"]["b"] == [result(1.0, 0.8, 0)]


def test_steps_until_a_cut_start_is_as_good_as_a_random_one():
    from distillation_table import Group, steps_to_match

    def cell(at_start: float, curve: dict[str, float]) -> dict[str, Any]:
        return {"validation_at_start": at_start, "validation": curve, "steps": 40}

    random = [cell(2.0, {"10": 1.0, "40": 0.9}), cell(2.0, {"10": 1.0, "40": 1.1})]
    cut = [cell(1.0, {"10": 0.9, "40": 0.8}), cell(0.9, {"10": 1.2, "40": 1.2})]
    never = [cell(1.0, {"40": 1.0}), cell(0.9, {"40": 0.9})]
    results = {"smooth-0.8": {"a": random, "b": random}, "start-slow": {"a": cut, "b": never}}
    # the first seed after 10 of 40 steps, the second before the first step
    assert steps_to_match(Group("scarce", 200, "third", "time", results)) == {"a": (10 / 40 + 0) / 2, "b": None}


def test_what_keeping_the_start_changes():
    from distillation_table import Group, keeping_the_start

    def cell(sql: float, start: float = 1.0, best: float = 2.0) -> dict[str, Any]:
        return {"sql": [sql, np.nan], "validation_at_start": start, "validation": {"4": best, "8": best + 1}}

    arms = {
        "cut": {"x": [cell(3.0), cell(3.0)], "y": [cell(1.0), cell(1.0)]},
        "start-slow": {"x": [cell(2.0), cell(4.0, best=0.9)], "y": [cell(4.0), cell(5.0, best=0.5)]},
        "truth": {"x": [cell(9.0), cell(9.0)], "y": [cell(9.0), cell(9.0)]},
    }
    found = keeping_the_start(Group("scarce", 50, "third", "time", arms))
    assert set(found) == {"start-slow"}
    assert (found["start-slow"]["cells"], found["start-slow"]["cases"]) == (4, 2)
    assert found["start-slow"]["sql_of_cases"] == pytest.approx((3 / 2 * 1 / 4) ** (1 / 2))
    assert found["start-slow"]["sql"] == pytest.approx((3 / 2 * 1 / 4) ** (1 / 4))
