"""When does distillation pay? Students of the embedded teacher, compared with controls at equal processor time.

``distillation.yaml`` lists the situations, arms, sizes and cells. Each cell (one student) has a JSON file under
``--runs``; a cell that has one is not trained again, so that the command can be stopped and repeated. The tables go to
``evidence/``, with all finished cells in one file, from which another machine goes on. ``tools/pretrain_parquet.py``
writes the series of ``--runs``/pretrain first.

The data are found as in the tests: POTSTILL_DATA, or shared/data next to the checkout.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from distillation_cells import restore, save
from distillation_data import Source, cut_history, whole_files
from distillation_table import figures_of, markdown, read_groups
from distillation_train import Cell, costs_of, score_teacher, train_cell

from potstill.recipe import Recipe
from potstill.recipe.notation import parse_yaml
from potstill.runs import write_atomically

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "benchmarks" / "evidence"
SAVED = "distillation_cells.jsonl"
STEPS_OF = "truth"  # arms at equal steps take as many as this one takes in its time


def main() -> None:
    """Measure costs, train what is missing, write tables."""
    given = options()
    plan = read_plan()
    if given.quick:
        shorten(plan)
    cells = [cell for cell in cells_of(plan, given) if not given.only or any(part in cell.key for part in given.only)]
    (given.runs / "cells").mkdir(parents=True, exist_ok=True)
    if not given.quick:
        restore(EVIDENCE / SAVED, given.runs)
    if not given.tables:
        train(cells, plan, given)
    write(plan, cells, given)


def read_plan() -> dict[str, Any]:
    """The content of distillation.yaml; a situation that is `like` another one has its keys too."""
    plan = parse_yaml((ROOT / "benchmarks" / "distillation.yaml").read_text(encoding="utf-8"))
    situations = plan["situations"]
    plan["situations"] = {name: {**situations.get(one.get("like"), {}), **one} for name, one in situations.items()}
    return plan


def shorten(plan: dict[str, Any]) -> None:
    """Leave little of the plan: one file, two arms, three seconds."""
    plan["seeds"] = [0]
    plan["situations"]["scarce"]["seconds"] = 3
    first = next(iter(plan["files"]))
    plan["files"] = {first: plan["files"][first]}
    plan["cells"] = [{"situation": "scarce", "windows": 50, "size": "tenth", "arms": ["truth", "start"]}]


def train(cells: list[Cell], plan: dict[str, Any], given: argparse.Namespace) -> None:
    """Train and score what has no result yet."""
    todo = [cell for cell in cells if not (given.runs / "cells" / f"{cell.key}.json").exists()]
    print(f"{len(cells) - len(todo)} of {len(cells)} cells are done", flush=True)
    with ProcessPoolExecutor(given.jobs, get_context("spawn"), initializer=one_thread) as pool:
        costs = costs_of([*todo, *(_reference(cell, plan) for cell in todo)], given.runs / "costs.json", pool)
        scored = {one.key: one for cell in cells for one in cell.source.scored}
        jobs = [
            pool.submit(score_teacher, one, name, located(source), given.runs)
            for one in scored.values()
            for name, source in plan["teachers"].items()
        ]
        for cell in todo:
            timed = cell if cell.equal == "time" else _reference(cell, plan)
            jobs.append(pool.submit(train_cell, cell, costs[timed.cost_key], given.runs))
        for number, job in enumerate(jobs, 1):
            job.result()
            print(f"{number} of {len(jobs)}", flush=True)


def _reference(cell: Cell, plan: dict[str, Any]) -> Cell:
    """The cell whose number of steps the cells at equal steps share."""
    if cell.equal == "time":
        return cell
    recipe = recipe_of(plan, cell.situation, cell.source, cell.size, STEPS_OF, cell.seed)
    return replace(cell, arm=STEPS_OF, recipe=recipe, stored=False)


def write(plan: dict[str, Any], cells: list[Cell], given: argparse.Namespace) -> None:
    """Write tables and figures of all finished cells into ``evidence/`` and print the figures."""
    first = next(iter(plan["teachers"]))
    tables, figures = [], {}
    for group in read_groups(cells, given.runs):
        teachers = {
            one.name: json.loads((given.runs / "cells" / f"teacher-{first}-{one.key}.json").read_text())
            for cell in cells
            if (cell.situation, cell.source.windows) == (group.situation, group.windows)
            for one in cell.source.scored
        }
        found = figures_of(group, teachers, plan["controls"])
        tables.append(markdown(group, found))
        figures["-".join([group.situation, str(group.windows or "all"), group.size, group.equal])] = found
    output = given.output or (None if given.only or given.quick else EVIDENCE)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        write_atomically(output / "distillation_tables.md", "# Distillation\n\n" + "\n\n".join(tables) + "\n")
        save(given.runs, output / SAVED)
    print("\n\n".join(tables))
    harness.finish({"groups": figures}, output and output / "distillation.json")


def cells_of(plan: dict[str, Any], given: argparse.Namespace) -> list[Cell]:
    """All cells of the plan, with their recipes."""
    cells = []
    for entry in plan["cells"]:
        about, equal = plan["situations"][entry["situation"]], entry.get("equal", "time")
        sources = sources_of(plan, entry, given)
        for seed, arm, source in product(entry.get("seeds", plan["seeds"]), entry["arms"], sources):
            recipe = recipe_of(plan, entry["situation"], source, entry["size"], arm, seed)
            what = (entry["situation"], source, entry["size"], equal, arm, seed)
            untrained = plan["arms"][arm].get("untrained", False)
            cells.append(Cell(*what, recipe, about["seconds"], stored(recipe), untrained))
    return cells


def stored(recipe: Any) -> bool:
    """Whether the teacher's forecasts are stored before training: few windows, and no hidden state is compared."""
    data, objective = recipe.data, recipe.objective
    few = data.distinct_windows or (data.train_windows and not data.synthetic)
    return objective.alpha > 0 and bool(few) and not objective.terms


def sources_of(plan: dict[str, Any], entry: dict[str, Any], given: argparse.Namespace) -> list[Source]:
    """What the cells of an entry train on: short histories of all files, or the situation's data."""
    situation = entry["situation"]
    about = plan["situations"][situation]
    if "data" in about:
        return [whole_files(situation, about, plan["files"], given.data, given.runs)]
    return [
        cut_history(
            name,
            given.data / file["folder"] / f"{name}.csv",
            {**plan["recipe"]["data"], **file},
            entry["windows"],
            given.runs / "histories",
        )
        for name, file in plan["files"].items()
    ]


def recipe_of(plan: dict[str, Any], situation: str, source: Source, size: str, arm: str, seed: int) -> Any:
    """The recipe of a cell, without its length."""
    options = dict(plan["arms"][arm])
    generated = options.pop("generated", False)
    options.pop("untrained", None)
    teachers = options.pop("teachers", [next(iter(plan["teachers"]))])
    overrides = {
        **{f"data.{key}": value for key, value in source.data.items()},
        **(plan["generated"] if generated else {}),
        **({"data.distinct_windows": plan["situations"][situation]["distinct"]} if generated == "stored" else {}),
        "teacher": [located(plan["teachers"][name]) for name in teachers],
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
    parser.add_argument("--tables", action="store_true", help="train nothing: only write the tables")
    parser.add_argument("--output", type=Path, help="folder of the tables (default: evidence)")
    parser.add_argument("--only", nargs="+", default=[], help="only cells whose names contain one of these")
    return parser.parse_args()


def one_thread() -> None:
    """What each process of a pool begins with."""
    import torch

    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
