"""Ways of choosing the factor for a student's intervals, and the coverage of the 80 % band that each leads to.

The default student and its control are trained on the short histories of ``distillation.yaml``. Each way knows only
what is before the test part. The coverage is that of test windows one step apart: in a short test part only a few do
not overlap. Its interval is a bootstrap over horizons of a series.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
from distillation import cells_of, one_thread, read_plan, shorten
from distillation_train import Cell, provider_of

from potstill.data.series.opening import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.evaluation.spread import spread_factor
from potstill.evaluation.validation import Validation
from potstill.families.load import load_forecaster
from potstill.runs import write_atomically
from potstill.teaching.base import TrainingData

ROOT = Path(__file__).parents[1]
ARMS, STEPS, COUNT, DRAWS = ("start-slow", "truth-generated"), 500, 600, 1_000
COVERAGE = 0.8
RANGE = (0.75, 0.85)


def main() -> None:
    """Train what is missing; print each case, and each way's figures over all cases."""
    given = options()
    plan = read_plan()
    if given.quick:
        shorten(plan)
    steps = 5 if given.quick else STEPS
    windows = 50 if given.quick else 200
    plan["cells"] = [{"situation": "scarce", "windows": windows, "size": "third", "seeds": [0], "arms": list(ARMS)}]
    cells = cells_of(plan, given)
    given.runs.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(given.jobs, get_context("spawn"), initializer=one_thread) as pool:
        jobs = [pool.submit(case_of, cell, steps, given.runs) for cell in cells]
        found = [job.result() for job in jobs]
    summary = {arm: over_cases([one for one in found if one["arm"] == arm]) for arm in ARMS}
    print(json.dumps(summary, indent=1))
    harness.finish({"quick": given.quick, "steps": steps, "summary": summary, "cases": found}, given.output)


def case_of(cell: Cell, steps: int, folder: Path) -> dict[str, Any]:
    """Train a student and apply every way; a case with a file is not trained again."""
    file = folder / f"{cell.key}.json"
    if file.exists():
        return json.loads(file.read_text())
    task, run = cell.task(steps), folder / cell.key
    data = TrainingData(task.dataset(steps), provider_of(task, cell, run)[0])
    task.training("student", data, steps, task.validation()).run(run, resume=True)
    student = task.open("student", run / "student")
    section = cell.source.scored[0].section
    store = open_store(section)
    parts = {
        part: Validation(SeriesWindows(store, section, part, 1), COUNT) for part in ("train", "validation", "test")
    }
    case = {
        "file": cell.source.name,
        "windows": cell.source.windows,
        "arm": cell.arm,
        "seed": cell.seed,
        "horizons of validation": parts["validation"].blocks,
        "horizons of test": parts["test"].blocks,
        "ways": {way: judged(student, parts["test"], factor) for way, factor in ways(student, parts).items()},
    }
    write_atomically(file, json.dumps(case))
    print(case["file"], case["windows"], case["arm"], case["ways"], flush=True)
    return case


def ways(student: Any, parts: dict[str, Validation]) -> dict[str, float]:
    """The factor of each way."""
    shrunk = parts["validation"].spread_factor(student)
    return {
        "as trained": 1.0,
        "validation": _factor(parts["validation"].band(student)),
        "validation, with few horizons closer to 1 (in use)": shrunk,
        "the same, never narrower": max(1.0, shrunk),
        "training and validation": _factor(*(parts[part].band(student) for part in ("train", "validation"))),
        "the teacher's on training": _factor(parts["train"].band(load_forecaster("embedded"))),
    }


def judged(student: Any, test: Validation, factor: float) -> dict[str, Any]:
    """Coverage with its 95 % interval, and SQL relative to seasonal naive, of the student with wider intervals."""
    student.scale_spread(factor)
    low, _, high, truth = test.band(student)
    sql = test(student)["rel_naive"]
    student.scale_spread(1 / factor)
    known = np.isfinite(truth)
    inside = ((truth >= low) & (truth <= high) & known).sum(1)
    places = np.stack([test.windows.series.numpy(), test.windows.origin.numpy() // truth.shape[1]])[:, test.scored]
    block = np.unique(places, axis=1, return_inverse=True)[1].ravel()
    sums = np.stack([np.bincount(block, inside), np.bincount(block, known.sum(1))])
    drawn = np.random.default_rng(0).integers(0, sums.shape[1], (DRAWS, sums.shape[1]))
    shares = sums[0][drawn].sum(1) / sums[1][drawn].sum(1)
    coverage = [sums[0].sum() / sums[1].sum(), *np.quantile(shares, [0.025, 0.975])]
    return {"factor": factor, "coverage": list(map(float, coverage)), "sql": sql}


def over_cases(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each way: mean distance from 80 %, share of cases within the range, SQL relative to that as trained."""
    found = {}
    for way in cases[0]["ways"]:
        ours = np.array([case["ways"][way]["coverage"][0] for case in cases])
        ratio = [case["ways"][way]["sql"] / case["ways"]["as trained"]["sql"] for case in cases]
        found[way] = {
            "distance": float(np.abs(ours - COVERAGE).mean()),
            "within 0.75 to 0.85": int(((ours >= RANGE[0]) & (ours <= RANGE[1])).sum()),
            "cases": len(cases),
            "sql": float(np.exp(np.mean(np.log(ratio)))),
        }
    return found


def options() -> argparse.Namespace:
    """The command line."""
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("POTSTILL_DATA", ROOT.parent / "shared" / "data"))
    )
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "interval_widths")
    parser.add_argument("--jobs", type=int, default=2, help="processes, each with one thread")
    return parser.parse_args()


def _factor(*bands: Sequence[np.ndarray]) -> float:
    low, median, high, truth = (np.concatenate(part) for part in zip(*bands, strict=True))
    return spread_factor(low, median, high, truth, np.ones(len(truth)), COVERAGE)


if __name__ == "__main__":
    main()
