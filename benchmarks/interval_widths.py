"""Ways of choosing the factor for a student's intervals, and the coverage of the 80 % band that each leads to.

The default student and its control are trained on the short histories of ``distillation.yaml``, and default students of
two sizes on data of other domains. Each way knows only what is before the test part; those of "the last horizons" know
what is before each forecast (``evaluation.calibrated``). The students of other domains are also judged on lengths other
than those of the tables, for which no way was chosen: a shorter context and horizon, and single steps.

The coverage is that of test windows one step apart: in a short test part only a few do not overlap. Its interval is a
bootstrap over horizons of a series.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
from distillation import EVIDENCE, SAVED, cells_of, one_thread, read_plan, shorten
from distillation_data import Scored
from distillation_train import SCORED, Cell, provider_of

from potstill.data.series.opening import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.evaluation.calibrated import Calibrated
from potstill.evaluation.spread import spread_factor
from potstill.evaluation.validation import PRIOR_BLOCKS, Validation
from potstill.families.load import load_forecaster
from potstill.recipe import SeriesData
from potstill.runs import write_atomically
from potstill.teaching.base import TrainingData

ROOT = Path(__file__).parents[1]
COUNT, DRAWS = 600, 1_000
CELLS = [
    {"situation": "unseen", "size": "third", "arms": ["start-generated"]},
    {"situation": "unseen", "size": "tenth", "arms": ["start-stored-fast"]},
    {"situation": "scarce", "windows": 200, "size": "third", "arms": ["start-slow"]},
]
IN_USE = "the same, never narrower (in use)"
COVERAGE = 0.8
RANGE = (0.75, 0.85)
LENGTHS = "lengths of the tables"
SHORTER = "context of 256, a quarter of the horizon"
SINGLE = "single steps"
HORIZONS = {LENGTHS: (1, 2, 3, 4, 8), SHORTER: (1, 2, 3, 4, 8), SINGLE: (4, 24)}
FILES = {LENGTHS: "", SHORTER: "-shorter", SINGLE: "-single"}  # ends of the names of files with cases


def main() -> None:
    """Train what is missing; print each way's figures over all cases."""
    given = options()
    plan = read_plan()
    if given.quick:
        shorten(plan)
    plan["cells"] = [{**CELLS[-1], "windows": 50}] if given.quick else CELLS
    cells = cells_of(plan, given)
    given.runs.mkdir(parents=True, exist_ok=True)
    saved = [json.loads(line) for line in (EVIDENCE / SAVED).read_text(encoding="utf-8").splitlines()]
    steps = {one["key"]: one["result"].get("steps") for one in saved}
    with ProcessPoolExecutor(given.jobs, get_context("spawn"), initializer=one_thread) as pool:
        found = []
        unseen = [cell for cell in cells if cell.situation == "unseen"]
        for lengths in HORIZONS:  # one after the other: all have the same students
            some = cells if lengths == LENGTHS else unseen
            jobs = [
                pool.submit(cases_of, cell, 5 if given.quick else steps[cell.key], lengths, given.runs) for cell in some
            ]
            found += [case for job in jobs for case in job.result()]
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        groups.setdefault(", ".join(one[key] for key in ("situation", "size", "arm", "lengths")), []).append(one)
    summary = {group: over_cases(cases) for group, cases in groups.items()}
    cells_of_distillation = of_saved(one["result"] | {"key": one["key"]} for one in saved)
    print(json.dumps({"ways": summary, "cells": cells_of_distillation}, indent=1))
    harness.finish(
        {"quick": given.quick, "summary": summary, "cells": cells_of_distillation, "cases": found}, given.output
    )


def cases_of(cell: Cell, steps: int, lengths: str, folder: Path) -> list[dict[str, Any]]:
    """Train a student and apply every way to each data set; what has a file is not done again."""
    file = folder / f"{cell.key}{FILES[lengths]}.json"
    if file.exists():
        return json.loads(file.read_text())
    task, run = cell.task(steps), folder / cell.key
    data = TrainingData(task.dataset(steps), provider_of(task, cell, run)[0])
    task.training("student", data, steps, task.validation()).run(run, resume=True)
    student = task.open("student", run / "student")
    validate = task.validation()
    found = from_validation(student, validate)
    saved = validate.spread_factor(student)
    cases = []
    for scored in (with_lengths(one, lengths) for one in cell.source.scored):
        apart = scored.test(SCORED)  # as distillation.py scores
        store = apart.store
        section = scored.section.model_copy(update={"split": scored.split})
        every = Validation(SeriesWindows(store, section, "test", 1), COUNT)
        tests = {"": every, "apart": every if lengths == SINGLE else Validation(apart, SCORED)}
        one = {
            "situation": cell.situation,
            "set": scored.name,
            "windows": cell.source.windows,
            "size": cell.size,
            "arm": cell.arm,
            "seed": cell.seed,
            "steps": steps,
            "lengths": lengths,
            "horizons of test": tests[""].blocks,
            "ways": {},
        }
        known = known_before(student, scored.section) if cell.situation == "scarce" else {}
        for way, factor in {"as trained": 1.0, **found, IN_USE: saved, **known}.items():
            student.scale_spread(factor)
            one["ways"][way] = {"factor": factor, **judged(student, tests)}
            student.scale_spread(1 / factor)
        student.scale_spread(saved)
        for horizons in HORIZONS[lengths]:
            calibrated = Calibrated(student, store, horizons)
            one["ways"][f"in use, and the last {horizons} horizons"] = judged(calibrated, tests)
        student.scale_spread(1 / saved)
        cases.append(one)
        print(one["situation"], one["set"], one["size"], one["arm"], one["ways"], flush=True)
    write_atomically(file, json.dumps(cases))
    return cases


def with_lengths(scored: Scored, lengths: str) -> Scored:
    """The same data set with other lengths."""
    section = scored.section
    changed = {
        LENGTHS: {},
        SHORTER: {"context_length": 256, "prediction_length": -(-section.prediction_length // 4)},
        SINGLE: {"prediction_length": 1},
    }[lengths]
    return replace(scored, section=section.model_copy(update=changed))


def from_validation(student: Any, validate: Validation) -> dict[str, float]:
    """Factors from the validation part, in which data sets count equally."""
    counts = np.unique(validate.dataset, return_inverse=True, return_counts=True)
    factor = spread_factor(*validate.band(student), 1 / counts[2][counts[1]], COVERAGE)
    closer = factor ** (validate.blocks / (validate.blocks + PRIOR_BLOCKS))
    return {"validation": factor, "validation, with few horizons closer to 1": closer}


def known_before(student: Any, section: SeriesData) -> dict[str, float]:
    """Factors that need the training part of the data set itself."""
    store = open_store(section)
    train, validation = (
        Validation(SeriesWindows(store, section, part, 1), COUNT).band for part in ("train", "validation")
    )
    return {
        "training and validation": _factor(train(student), validation(student)),
        "the teacher's on training": _factor(train(load_forecaster("embedded"))),
    }


def judged(student: Any, tests: dict[str, Validation]) -> dict[str, Any]:
    """Coverage with its 95 % interval, and SQL relative to seasonal naive; coverage of windows a horizon apart."""
    test = tests[""]
    low, _, high, truth = test.band(student)
    sql = test(student)["rel_naive"]
    known = np.isfinite(truth)
    inside = ((truth >= low) & (truth <= high) & known).sum(1)
    apart = inside.sum() / known.sum()
    if tests["apart"] is not test:
        low, _, high, truth = tests["apart"].band(student)
        apart = ((truth >= low) & (truth <= high)).sum() / np.isfinite(truth).sum()
    places = np.stack([test.windows.series.numpy(), test.windows.origin.numpy() // truth.shape[1]])[:, test.scored]
    block = np.unique(places, axis=1, return_inverse=True)[1].ravel()
    sums = np.stack([np.bincount(block, inside), np.bincount(block, known.sum(1))])
    drawn = np.random.default_rng(0).integers(0, sums.shape[1], (DRAWS, sums.shape[1]))
    shares = sums[0][drawn].sum(1) / sums[1][drawn].sum(1)
    coverage = [sums[0].sum() / sums[1].sum(), *np.quantile(shares, [0.025, 0.975])]
    return {"coverage": list(map(float, coverage)), "coverage apart": float(apart), "sql": sql}


def over_cases(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each way: mean distance from 80 %, share of cases within the range, SQL relative to that as trained."""
    found = {}
    for way in cases[0]["ways"]:
        ours = np.array([case["ways"][way]["coverage"][0] for case in cases])
        apart = np.array([case["ways"][way]["coverage apart"] for case in cases])
        ratio = [case["ways"][way]["sql"] / case["ways"]["as trained"]["sql"] for case in cases]
        found[way] = {
            "distance": float(np.abs(ours - COVERAGE).mean()),
            "within 0.75 to 0.85": _within(ours),
            "distance, windows apart": float(np.abs(apart - COVERAGE).mean()),
            "within, windows apart": _within(apart),
            "cases": len(cases),
            "sql": float(np.exp(np.mean(np.log(ratio)))),
        }
    return found


def of_saved(cells: Iterable[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Coverage of the students of distillation.py before and after their factor, which could be below 1 then."""
    found: dict[str, list[list[float]]] = {}
    for cell in cells:
        if "spread" not in cell:
            continue
        situation, *_ = cell["key"].split("-")
        change = "narrower" if cell["spread"] < 1 else "wider or unchanged"
        group = found.setdefault(f"{change}, {situation}, {'control' if '-truth' in cell['key'] else 'distilled'}", [])
        group += [[before, cell["sets"][name]["coverage"]] for name, before in cell["coverage_before"].items()]
    figures = {}
    for group, pairs in found.items():
        before, after = np.array(pairs).T
        figures[group] = {
            "count": len(pairs),
            "distance before": float(np.abs(before - COVERAGE).mean()),
            "distance": float(np.abs(after - COVERAGE).mean()),
            "within before": _within(before),
            "within": _within(after),
        }
    return figures


def options() -> argparse.Namespace:
    """The command line."""
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("POTSTILL_DATA", ROOT.parent / "shared" / "data"))
    )
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "interval_widths")
    parser.add_argument("--jobs", type=int, default=2, help="processes, each with one thread")
    return parser.parse_args()


def _within(coverage: np.ndarray) -> int:
    return int(((coverage >= RANGE[0]) & (coverage <= RANGE[1])).sum())


def _factor(*bands: Sequence[np.ndarray]) -> float:
    low, median, high, truth = (np.concatenate(part) for part in zip(*bands, strict=True))
    return spread_factor(low, median, high, truth, np.ones(len(truth)), COVERAGE)


if __name__ == "__main__":
    main()
