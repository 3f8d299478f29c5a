"""Ways to a better router for the mixture of ``mixture.py`` (case ``suite``): other routers over the same experts.

General student, experts and mixture are those of ``mixture.py`` and are taken from ``--runs`` if they are there. Each
further router differs from the mixture's in the named keys alone. All are scored on the same test windows, with SQL
relative to seasonal naive; the targets are 10 % less than the average expert on data sets without an expert, and 4 %
more than the oracle, which knows the best expert of each window.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from mixture import ROOT, Recipes, stage
from mixture_cases import CASES
from mixture_score import AVERAGE, BEST, ORACLE, Scores, ratio_of, relative_to_naive, score

import potstill
from potstill.families.ensemble import Ensemble
from potstill.families.load import load_forecaster

MORE, MORE_STEPS = 60_000, 3000
JOINT = {"max_steps": 500, "batch_size": 64, "learning_rate": 1e-4, "expert_learning_rate": 1e-5}
#: by name: keys that differ from the mixture's, and whether the router also learns from the corpus
TRIALS: dict[str, tuple[dict[str, Any], bool]] = {
    "top_k 3": ({"router.top_k": 3}, False),
    "three times the windows and steps": ({"data.distinct_windows": MORE, "training.max_steps": MORE_STEPS}, False),
    "windows of the corpus": ({}, True),
    "the teacher's forecasts": ({"objective.alpha": 0.8}, False),
    "joint training": ({"joint": JOINT}, False),
    "joint training, top_k 3, windows of the corpus": ({"joint": JOINT, "router.top_k": 3}, True),
}


def main() -> None:
    """Train the routers of all trials, score them, print the figures."""
    parser = harness.parser(__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("POTSTILL_DATA", ROOT.parent / "shared/data")))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "mixture", help="the same as of mixture.py")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    case = CASES["suite"]
    folder = given.runs / f"suite-seed-{given.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    recipes = Recipes(case, given.seed, given.data, given.runs, given.quick)
    base = stage(folder, "general", lambda run: potstill.distill(recipes.general(), run))
    mixture = stage(folder, "mixture", lambda run: potstill.mix(recipes.mixture(base), run))
    whole: Any = load_forecaster(mixture)
    models: dict[str, Any] = {"teacher": load_forecaster("embedded"), "mixture": whole}
    models |= {f"expert {name}": expert for name, expert in whole.experts.items()}
    models["mean of experts"] = Ensemble(whole.experts)
    experts = [f"{name}={mixture / 'student' / 'experts' / name}" for name in whole.experts]
    trials = dict(list(TRIALS.items())[:1]) if given.quick else TRIALS
    for name, (keys, corpus) in trials.items():
        recipe = router_recipe(recipes, experts, keys, corpus)
        run = stage(folder, f"router-{list(TRIALS).index(name)}", lambda run, r=recipe: potstill.mix(r, run))
        models[name] = load_forecaster(run)
    found = score(
        models, case, case.files((*case.seen, *case.unseen), given.data, given.runs), "expert base", given.quick
    )
    figures = {name: compare(found, case, name) for name in ("mixture", *trials)}
    harness.finish({"quick": given.quick, "seed": given.seed, "routers": figures}, given.output)


def router_recipe(recipes: Recipes, experts: list[str], keys: dict[str, Any], corpus: bool) -> potstill.Recipe:
    """The recipe of a router over finished experts."""
    files = recipes.case.files(recipes.case.seen, recipes.data, recipes.runs)
    paths = [str(recipes.data / "corpus"), *files] if corpus else files
    return recipes.recipe(
        {
            "task": "mixture",
            "experts": experts,
            "data.paths": paths,
            **({"data.exclude": recipes.case.excluded} if corpus else {}),
            "data.distinct_windows": 200 if recipes.quick else 20_000,
            "most_experts": 6,
            "training.max_steps": recipes.steps(1000),
            **keys,
        }
    )


def compare(found: Scores, case: Any, model: str) -> dict[str, Any]:
    """SQL relative to seasonal naive of a model, and its ratio to the average expert, the best one and the oracle."""
    groups = {"seen": case.seen, "unseen": case.unseen, "all": case.seen + case.unseen}
    others = {"average expert": AVERAGE, "general student": BEST, "oracle": ORACLE, "mixture": "mixture"}
    return {
        group: {
            "sql_rel_naive": relative_to_naive([found], names, model)[0],
            **{f"over {name}": ratio_of([found], names, model, other) for name, other in others.items()},
        }
        for group, names in groups.items()
    }


if __name__ == "__main__":
    main()
