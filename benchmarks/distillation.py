"""When does distillation pay? Students of the embedded teacher, compared with controls at equal processor time.

``distillation.yaml`` lists the situations, arms and sizes. Each cell (one student) has a JSON file under ``--runs``; a
cell that has one is not trained again, so that the command can be stopped and repeated. The tables go to ``evidence/``.

The data are found as in the tests: POTSTILL_DATA, or shared/data next to the checkout.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from distillation_data import cut_history
from distillation_table import figures_of, markdown, read_groups
from distillation_train import Cell, costs_of, score_teacher, train_cell

from potstill.recipe import Recipe
from potstill.recipe.notation import parse_yaml
from potstill.runs import write_atomically

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "benchmarks" / "evidence"
STEPS_OF = "truth"  # arms at equal steps take as many as this one takes in its time


def main() -> None:
    """Measure costs, train what is missing, write tables."""
    given = options()
    plan = parse_yaml((ROOT / "benchmarks" / "distillation.yaml").read_text(encoding="utf-8"))
    if given.quick:
        shorten(plan)
    cells = [cell for cell in cells_of(plan, given) if not given.only or any(part in cell.key for part in given.only)]
    cells.sort(key=lambda cell: cell.seed)  # one seed of everything first
    (given.runs / "cells").mkdir(parents=True, exist_ok=True)
    costs = costs_of(cells, given.runs / "costs.json")
    train(cells, costs, plan, given)
    write(plan, cells, given)


def shorten(plan: dict[str, Any]) -> None:
    """Leave little of the plan: one file, two arms, three seconds."""
    plan["seeds"] = [0]
    for about in plan["situations"].values():
        first = next(iter(about["files"]))
        about.update(seconds=3, files={first: about["files"][first]})
        about["cells"] = [{"windows": 50, "size": "tenth", "arms": ["truth", "start"]}]


def train(cells: list[Cell], costs: dict[str, float], plan: dict[str, Any], given: argparse.Namespace) -> None:
    """Train and score what has no result yet."""
    todo = [cell for cell in cells if not (given.runs / "cells" / f"{cell.key}.json").exists()]
    print(f"{len(cells) - len(todo)} of {len(cells)} cells are done", flush=True)
    with ProcessPoolExecutor(given.jobs, get_context("spawn"), initializer=_one_thread) as pool:
        histories = {cell.history.key: cell.history for cell in cells}
        cost = {cell.key: costs[cell.cost_key if cell.equal == "time" else cell.with_arm(STEPS_OF)] for cell in todo}
        jobs = [
            pool.submit(score_teacher, history, name, located(source), given.runs)
            for history in histories.values()
            for name, source in plan["teachers"].items()
        ]
        jobs += [pool.submit(train_cell, cell, cost[cell.key], given.runs) for cell in todo]
        for number, job in enumerate(jobs, 1):
            job.result()
            print(f"{number} of {len(jobs)}", flush=True)


def write(plan: dict[str, Any], cells: list[Cell], given: argparse.Namespace) -> None:
    """Write tables and figures of all finished cells into ``evidence/`` and print the figures."""
    tables, figures = [], {}
    for group in read_groups(cells, given.runs):
        first = next(iter(plan["teachers"]))
        names = next(iter(group.results.values()))
        teachers = {
            name: json.loads((given.runs / "cells" / f"teacher-{first}-{name}-{group.windows}.json").read_text())
            for name in names
        }
        found = figures_of(group, teachers, plan["controls"])
        tables.append(markdown(group, found))
        figures[f"{group.situation}-{group.windows}-{group.size}-{group.equal}"] = found
    if not given.only and not given.quick:
        text = "# Distillation\n\n" + "\n\n".join(tables) + "\n"
        write_atomically(EVIDENCE / "distillation_tables.md", text)
    print("\n\n".join(tables))
    output = None if given.only or given.quick else EVIDENCE / "distillation.json"
    harness.finish({"groups": figures}, output)


def cells_of(plan: dict[str, Any], given: argparse.Namespace) -> list[Cell]:
    """All cells of the plan, with their recipes."""
    cells = []
    for situation, about in plan["situations"].items():
        for entry in about["cells"]:
            arms = list(plan["arms"]) if entry["arms"] == "all" else entry["arms"]
            for name, file in about["files"].items():
                source = given.data / file["folder"] / f"{name}.csv"
                settings = {**plan["recipe"]["data"], **file}
                history = cut_history(name, source, settings, entry["windows"], given.runs / "histories")
                for arm in arms:
                    for seed in plan["seeds"]:
                        recipe = recipe_of(plan, history, entry["size"], arm, seed)
                        stored = recipe.objective.alpha > 0 and not plan["arms"][arm].get("generated")
                        what = (
                            situation,
                            history,
                            entry["windows"],
                            entry["size"],
                            entry.get("equal", "time"),
                            arm,
                            seed,
                        )
                        cells.append(Cell(*what, recipe, about["seconds"], stored))
    return cells


def recipe_of(plan: dict[str, Any], history: Any, size: str, arm: str, seed: int) -> Any:
    """The recipe of a cell, without its length."""
    options = dict(plan["arms"][arm])
    generated = plan["generated"] if options.pop("generated", False) else {}
    overrides = {
        **{f"data.{key}": value for key, value in history.data.items()},
        **generated,
        "teacher": located(plan["teachers"][options.pop("teacher", "embedded")]),
        "student.overrides": plan["sizes"][size],
        "training.seed": seed,
        **options,
    }
    tree = {key: dict(value) for key, value in plan["recipe"].items()}
    return Recipe.lay_over(tree, overrides)


def located(source: str) -> str:
    """A folder relative to the repository's root, or the source as it is."""
    return str(ROOT / source) if (ROOT / source).is_dir() else source


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("POTSTILL_DATA", ROOT.parent / "shared" / "data"))
    )
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "distillation")
    parser.add_argument("--jobs", type=int, default=2, help="processes, each with one thread")
    parser.add_argument("--quick", action="store_true", help="a short run: only checks that the script works")
    parser.add_argument("--only", nargs="+", default=[], help="only cells whose names contain one of these")
    return parser.parse_args()


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
