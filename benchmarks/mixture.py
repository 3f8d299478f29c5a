"""Does a mixture pay? Experts of five domains, or of five frequencies, compared with everything simpler.

One general student is cut from the embedded teacher and distilled. Copies of it are trained further, one per group of
series, and a router over the six is trained. There are two cases (`mixture_cases.py`): the data sets of the suite, and
the frequencies of the embedded teacher's training data. Compared on the test parts of the five groups and of three that
have no expert, with SQL relative to seasonal naive, are:

- each expert, their mean, the one that is best on the validation part, and an oracle that knows the best of each window
- FFORMA: gradient boosting that predicts from the router's features which expert is best; its probabilities are weights
- dense students of the mixture's active and of its total size, distilled on the same data for the same total time
- the teacher

Every stage is a run under ``--runs``; a finished one is not repeated, so that the command can be stopped. Times are
processor seconds of one thread, labels and forecasts included.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from mixture_cases import CASES, Case
from mixture_fforma import FformaWeights
from mixture_score import Scores, conclude, score

import potstill
from potstill.families.ensemble import Ensemble
from potstill.families.load import load_forecaster
from potstill.runs import write_atomically

ROOT = Path(__file__).parents[1]
EXPERT = {
    "num_layers": 3,
    "d_model": 64,
    "d_ff": 192,
    "num_heads": 3,
    "d_kv": 48,
}  # two are faster than the teacher / 3
DENSE = {  # of the mixture's active size (two of six experts) and of its total size
    "dense, active size": {"num_layers": 3, "d_model": 112, "d_ff": 336, "num_heads": 3, "d_kv": 48},
    "dense, total size": {"num_layers": 3, "d_model": 208, "d_ff": 624, "num_heads": 4, "d_kv": 64},
}
GENERAL_STEPS, EXPERT_STEPS, ROUTER_STEPS = 2000, 500, 1000
ROUTED = 20_000  # windows


def main() -> None:
    """Train and score all seeds of all cases, each in its own process; write the figures."""
    parser = harness.parser(__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("POTSTILL_DATA", ROOT.parent / "shared/data")))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "mixture")
    parser.add_argument("--jobs", type=int, default=2, help="processes, each with one thread")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    given = parser.parse_args()
    seeds = given.seeds[:1] if given.quick else given.seeds
    for name in given.cases:
        CASES[name].folder(given.data, given.runs)  # written before the processes start
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        jobs = {
            name: [pool.submit(one_seed, name, seed, given.data, given.runs, given.quick) for seed in seeds]
            for name in given.cases
        }
        figures = {name: conclude([job.result() for job in found], CASES[name]) for name, found in jobs.items()}
    harness.finish({"quick": given.quick, "seeds": seeds, **figures}, given.output)


def one_seed(name: str, seed: int, data: Path, runs: Path, quick: bool) -> Scores:
    """All students of a case and a seed, scored."""
    torch.set_num_threads(1)
    case = CASES[name]
    folder = runs / f"{name}-seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    recipes = Recipes(case, seed, data, runs, quick)
    base = stage(folder, "general", lambda run: potstill.distill(recipes.general(), run))
    mixture = stage(folder, "mixture", lambda run: potstill.mix(recipes.mixture(base), run))
    spent = sum(json.loads((folder / f"{part}.json").read_text())["seconds"] for part in ("general", "mixture"))
    models: dict[str, Any] = {"teacher": load_forecaster("embedded"), "mixture": load_forecaster(mixture)}
    experts = models["mixture"].experts
    models |= {f"expert {one}": expert for one, expert in experts.items()}
    models["mean of experts"] = Ensemble(experts)
    models["FFORMA"] = Ensemble(experts, FformaWeights.fit(mixture, list(experts), seed, limit=200 if quick else None))
    for size, keys in DENSE.items():
        run = stage(folder, size.replace(", ", "-").replace(" ", "-"), recipes.dense(keys, spent))
        models[size] = load_forecaster(run)
    best = json.loads((mixture / "metrics.json").read_text())["experts"]["best_expert"]
    return score(models, case, case.files((*case.seen, *case.unseen), data, runs), f"expert {best}", quick)


def stage(folder: Path, name: str, train: Callable[[Path], Any]) -> Path:
    """A run, with its seconds in NAME.json; a finished one is not repeated, an unfinished one starts again."""
    done = folder / f"{name}.json"
    if not done.exists():
        shutil.rmtree(folder / name, ignore_errors=True)
        write_atomically(done, json.dumps({"seconds": seconds_of(lambda: train(folder / name))}))
    return folder / name


def seconds_of(work: Callable[[], Any]) -> float:
    """Processor seconds of a call."""
    began = time.process_time()
    work()
    return time.process_time() - began


class Recipes:
    """The recipes of a case and a seed."""

    def __init__(self, case: Case, seed: int, data: Path, runs: Path, quick: bool):
        self.case, self.data, self.runs, self.quick = case, data, runs, quick
        self.common = {
            "teacher": "embedded",
            **{f"data.{key}": value for key, value in case.data.items()},
            "training.seed": seed,
            "training.precision": "fp32",
            "training.device": "cpu",
            "training.eval_windows": 20 if quick else 256,
            "evaluation.max_windows": 2,
            "evaluation.baselines": [],
        }

    def general(self) -> potstill.Recipe:
        """The general student."""
        keys = {"student.overrides": EXPERT, **self.case.general(self.data, self.runs)}
        return self.recipe({**keys, "training.max_steps": self.steps(GENERAL_STEPS)})

    def mixture(self, base: Path) -> potstill.Recipe:
        """Experts of the groups, and the router."""
        steps = self.steps(EXPERT_STEPS)
        return self.recipe(
            {
                "task": "mixture",
                "branch": {"source": str(base), "by": self.case.by, "max_steps": steps, "batch_size": 32},
                "data.paths": self.case.files(self.case.seen, self.data, self.runs),
                "data.distinct_windows": 200 if self.quick else ROUTED,
                "most_experts": 6,
                "training.max_steps": self.steps(ROUTER_STEPS),
            }
        )

    def dense(self, sizes: dict[str, int], seconds: float) -> Callable[[Path], Any]:
        """Trains a student of another size, on all data of the others, for ``seconds``."""
        keys = {"student.overrides": sizes, **self.case.everything(self.data, self.runs)}

        def train(run: Path) -> Any:
            few, more = (seconds_of(partial(self.trial, {**keys, "training.max_steps": n}, run)) for n in (5, 45))
            step = (more - few) / 40  # what a run does besides its steps is in both
            steps = 4 if self.quick else max(1, int((seconds - few) / step))
            return potstill.distill(self.recipe({**keys, "training.max_steps": steps}), run)

        return train

    def trial(self, keys: dict[str, Any], run: Path) -> None:
        """A short run, removed afterwards."""
        potstill.distill(self.recipe(keys), trial := run.with_name(f"{run.name}-trial"))
        shutil.rmtree(trial)

    def recipe(self, keys: dict[str, Any]) -> potstill.Recipe:
        """The common keys and others."""
        return potstill.Recipe.lay_over({}, {**self.common, **keys})

    def steps(self, full: int) -> int:
        """Few in a quick run."""
        return 4 if self.quick else full


if __name__ == "__main__":
    main()
