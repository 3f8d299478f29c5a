"""Small students of large teachers on the suite, compared with controls of equal time, ridge and seasonal naive.

The suite is a set of eight public data sets. A control is the same student, trained without a teacher for the same
time. The script trains what ``students.yaml`` names. Each arm is a run folder: a finished run is not repeated, an
interrupted one continues. It then evaluates every student, control, teacher and rival in one process, on the same
windows of the last fifth of each file, and measures their speed in interleaved rounds. It writes students.json and
students.md to ``evidence/`` and the picture to ``docs/images/``.

The suite is found as in the tests: POTSTILL_DATA, or shared/data next to the checkout.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from students_draw import picture
from students_judge import CONTEXT, HORIZON, PER_SET, RIDGE, SETS, Judged, Scores, judge_set, ridge_of
from students_table import tables
from students_train import ROOT, Arm, read_plan, train

from potstill.errors import UserError
from potstill.evaluation.cost import measure_costs
from potstill.evaluation.outcome import SEASONAL_NAIVE
from potstill.families.base import Forecaster
from potstill.families.load import load_forecaster
from potstill.recipe import Recipe
from potstill.runs import write_atomically

QUICK = {
    "training.max_steps": 8,
    "training.batch_size": 16,
    "training.eval_windows": 32,
    "evaluation.max_windows": 8,
    "data.stride": 997,
}
QUICK_SETS, QUICK_WINDOWS, QUICK_ARMS = ("cloud_cpu", "ETTh1"), 24, 2
STUDENT, CONTROL = "student", "control"


def main() -> None:
    """Train, evaluate, measure speed, write."""
    given = options()
    suite, sets = suite_folder(), QUICK_SETS if given.quick else tuple(SETS)
    plan = read_plan(given.arms, [suite / f"{name}.csv" for name in sets], QUICK if given.quick else {})
    left_out: dict[str, str] = {}
    done: list[Arm] = []
    models: dict[str, Forecaster] = {}
    for arm in plan.arms:
        if given.only and arm.name not in given.only and not arm.finished(given.runs):
            continue
        if given.quick and len(done) == QUICK_ARMS:
            break
        try:
            models[arm.teacher] = models.get(arm.teacher) or load_forecaster(plan.teachers[arm.teacher]).freeze()
            train(arm, given.runs)
            arm.check(given.runs, models[arm.teacher])
            done.append(arm)
        except UserError as error:
            left_out[arm.name] = str(error)
            print(f"{arm.name} is left out: {error}")
    if not done:
        raise SystemExit("No arm could be trained.")
    models = {name: models[name] for name in dict.fromkeys(arm.teacher for arm in done)}
    models |= load_others(done, given.runs, plan.rivals, left_out)
    judged = [judge_set(name, suite, models, QUICK_WINDOWS if given.quick else PER_SET) for name in sets]
    timed = {name: model for name, model in models.items() if not name.endswith(f"/{CONTROL}")}
    costs = measure_costs(
        {**timed, RIDGE: ridge_of(sets[0], suite)},
        CONTEXT,
        HORIZON,
        reference=done[0].teacher,
        repeats=2 if given.quick else 15,
        seconds=10 if given.quick else 240,
    )
    figures = {"quick": given.quick, "speedups_against": done[0].teacher}
    figures |= collect(done, given.runs, judged, costs, [*plan.rivals]) | {"left_out": left_out}
    write(figures, given.output)


def options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two arms, a few steps: only checks that the script works")
    parser.add_argument(
        "--arms", type=Path, default=Path(__file__).with_name("students.yaml"), help="the arms, as YAML"
    )
    parser.add_argument("--only", nargs="+", metavar="ARM", help="train only these; all finished arms are evaluated")
    parser.add_argument("--runs", type=Path, help="folder of the runs (default: runs/students, or runs/students-quick)")
    parser.add_argument("--output", type=Path, help="folder for all outputs (default: evidence, docs/images)")
    given = parser.parse_args()
    given.runs = given.runs or ROOT / "runs" / ("students-quick" if given.quick else "students")
    given.runs.mkdir(parents=True, exist_ok=True)
    given.output = given.output or (given.runs if given.quick else None)
    return given


def suite_folder() -> Path:
    """The folder of the suite's files."""
    given = os.environ.get("POTSTILL_DATA")
    folder = (Path(given) if given else ROOT.parent / "shared" / "data") / "suite"
    if not folder.is_dir():
        raise SystemExit(f"No real data in {folder}; set POTSTILL_DATA to the folder that holds suite/.")
    return folder


def load_others(arms: list[Arm], runs: Path, rivals: dict[str, str], left_out: dict[str, str]) -> dict[str, Forecaster]:
    """Students, controls and the rivals that can be loaded, by name."""
    models: dict[str, Forecaster] = {}
    for arm in arms:
        for part in (STUDENT, CONTROL):
            models[f"{arm.name}/{part}"] = load_forecaster(arm.run(runs) / part).freeze()
    for name, source in rivals.items():
        try:
            models[name] = load_forecaster(source).freeze()
        except UserError as error:
            left_out[name] = str(error)
    return models


def collect(
    arms: list[Arm], runs: Path, judged: list[Judged], costs: dict[str, dict[str, Any]], rivals: list[str]
) -> dict[str, Any]:
    """All figures of the output, as one tree."""
    scores = Scores(judged)
    others = [*dict.fromkeys(arm.teacher for arm in arms), *(name for name in rivals if name in costs), RIDGE]
    return {
        "sets": {
            one.name: {"windows": len(one.series), "series": len(set(one.series.tolist())), "horizon": one.horizon}
            for one in judged
        },
        "arms": {arm.name: arm_figures(arm, runs, scores, costs) for arm in arms},
        "others": {name: {**scores.of(name), "cost": costs[name]} for name in others},
        SEASONAL_NAIVE: {"coverage_80": scores.of(SEASONAL_NAIVE)["coverage_80"]},
    }


def arm_figures(arm: Arm, runs: Path, scores: Scores, costs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One arm: its length, the scores of student and control, and their ratios to control, ridge and teacher."""
    recipe = Recipe.read(arm.run(runs) / "recipe.yaml")
    student, control = f"{arm.name}/{STUDENT}", f"{arm.name}/{CONTROL}"
    cost, taught = costs[student], costs[arm.teacher]
    return {
        "teacher": arm.teacher,
        "family": recipe.student.family,
        "steps": recipe.training.max_steps,
        "control_steps": recipe.control_steps,
        STUDENT: {**scores.of(student), "retention": scores.retention(student, arm.teacher)},
        CONTROL: {**scores.of(control), "retention": scores.retention(control, arm.teacher)},
        "against_control": scores.ratio(student, control),
        "against_ridge": scores.ratio(student, RIDGE),
        "cost": cost,
        "share_of_teacher": cost["parameters"] / taught["parameters"],
        "times_teacher_b256": cost["series_per_second_b256"] / taught["series_per_second_b256"],
    }


def write(figures: dict[str, Any], output: Path | None) -> None:
    """students.json, students.md and students.svg, into one folder or into their default folders."""
    evidence, images = (output, output) if output else (ROOT / "benchmarks" / "evidence", ROOT / "docs" / "images")
    for folder in (evidence, images):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(images / "students.svg", picture(figures))
    write_atomically(evidence / "students.md", tables(figures))
    harness.finish(figures, evidence / "students.json")


if __name__ == "__main__":
    main()
