"""Does a mixture pay? Experts of five of the suite's data sets, compared with everything simpler, on all eight.

One general student is cut from the embedded teacher and distilled on the corpus, which holds nothing of the suite.
Copies of it are trained further on the training parts of five data sets, and a router over the six is trained. Compared
on the test parts of the five and of three that no expert saw, with SQL relative to seasonal naive:

- each expert, their mean, the one that is best on the validation part, and an oracle that knows the best of each window
- FFORMA: gradient boosting that predicts from the router's features which expert is best; its probabilities are weights
- dense students of the mixture's active and of its total size, distilled on the same data for the same total time
- the teacher

Every stage is a run under ``--runs``; a finished one is not repeated, so that the command can be stopped. Times are
wall-clock seconds of one process with one thread, labels and forecasts included.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch
from mixture_fforma import FformaWeights
from mixture_score import Scores, conclude, score

import potstill
from potstill.families.ensemble import Ensemble
from potstill.families.load import load_forecaster
from potstill.runs import write_atomically

ROOT = Path(__file__).parents[1]
SEEN = ("ETTh1", "tetuan_power", "metro_traffic_regular", "beijing_pm25", "cloud_cpu")
UNSEEN = ("bike_sharing", "saugeen_river", "fred_md")
KEPT = [
    "vic_electricity",
    "us_gasoline",
    "bicimad_users",
    "jena_climate_subset",
    "tourism_monthly",
    "rds_cpu_utilization_e47b3b",
]
GENERAL = {  # of the general student and of the dense ones
    "data.exclude": [*KEPT, "ETTm1"],
    "data.balance": 0.5,
    "data.synthetic": 0.35,
    "data.augmented": 0.4,
    "training.batch_size": 32,
}
THIRD = {"num_layers": 5, "d_model": 112, "d_ff": 336, "num_heads": 4, "d_kv": 64}
DENSE = {  # of the mixture's active size (two of six experts) and of its total size
    "dense, active size": {"num_layers": 5, "d_model": 184, "d_ff": 560, "num_heads": 4, "d_kv": 64},
    "dense, total size": {"num_layers": 6, "d_model": 320, "d_ff": 1280, "num_heads": 6, "d_kv": 64},
}


def main() -> None:
    """Train and score all seeds, each in its own process; write the figures."""
    parser = harness.parser(__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("POTSTILL_DATA", ROOT.parent / "shared/data")))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "mixture")
    given = parser.parse_args()
    seeds = [0] if given.quick else [0, 1]
    with ProcessPoolExecutor(len(seeds), get_context("spawn")) as pool:
        jobs = [pool.submit(one_seed, seed, given.data, given.runs / f"seed-{seed}", given.quick) for seed in seeds]
        found = [job.result() for job in jobs]
    harness.finish({"quick": given.quick, **conclude(found, SEEN, UNSEEN)}, given.output)


def one_seed(seed: int, data: Path, folder: Path, quick: bool) -> Scores:
    """All students of a seed, scored."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    steps = (lambda full: 4) if quick else (lambda full: full)
    common = common_keys(seed, quick)
    base = stage(folder, "base", lambda run: potstill.distill(base_recipe(data, common, steps(1500)), run))
    mixture = stage(folder, "mixture", lambda run: potstill.mix(mixture_recipe(data, common, base, steps), run))
    spent = sum(json.loads((folder / f"{name}.json").read_text())["seconds"] for name in ("base", "mixture"))
    models: dict[str, Any] = {"teacher": load_forecaster("embedded"), "mixture": load_forecaster(mixture)}
    experts = models["mixture"].experts
    models |= {f"expert {name}": one for name, one in experts.items()}
    models["mean of experts"] = Ensemble(experts)
    models["FFORMA"] = Ensemble(experts, FformaWeights.fit(mixture, list(experts), seed, limit=200 if quick else None))
    for name, sizes in DENSE.items():
        run = stage(folder, name.replace(", ", "-").replace(" ", "-"), dense(data, common, sizes, spent, quick))
        models[name] = load_forecaster(run)
    best = json.loads((mixture / "metrics.json").read_text())["experts"]["best_expert"]
    return score(models, data, [*SEEN, *UNSEEN], f"expert {best}", quick)


def stage(folder: Path, name: str, train: Callable[[Path], Path]) -> Path:
    """A run, with its seconds in NAME.json; a finished one is not repeated, an unfinished one starts again."""
    done = folder / f"{name}.json"
    if not done.exists():
        shutil.rmtree(folder / name, ignore_errors=True)
        began = time.perf_counter()
        train(folder / name)
        write_atomically(done, json.dumps({"seconds": time.perf_counter() - began}))
    return folder / name


def common_keys(seed: int, quick: bool) -> dict[str, Any]:
    """Keys of all recipes."""
    return {
        "teacher": "embedded",
        "data.context_length": 512,
        "data.prediction_length": 96,
        "data.split": "suite",
        "training.seed": seed,
        "training.precision": "fp32",
        "training.device": "cpu",
        "training.eval_windows": 20 if quick else 256,
        "evaluation.max_windows": 2,
        "evaluation.baselines": [],
    }


def base_recipe(data: Path, common: dict[str, Any], steps: int) -> Any:
    """The general student: the corpus and generated windows."""
    return potstill.Recipe.lay_over(
        {},
        {
            **common,
            "student.overrides": THIRD,
            "data.paths": [str(data / "corpus")],
            **GENERAL,
            "training.max_steps": steps,
        },
    )


def mixture_recipe(data: Path, common: dict[str, Any], base: Path, steps: Callable[[int], int]) -> Any:
    """Experts of the five data sets, and the router."""
    return potstill.Recipe.lay_over(
        {},
        {
            **common,
            "task": "mixture",
            "branch": {"source": str(base), "by": "domain", "max_steps": steps(400), "batch_size": 32},
            "data.paths": [str(data / "suite" / f"{name}.csv") for name in SEEN],
            "data.distinct_windows": 200 if steps(1000) < 1000 else 20_000,
            "most_experts": 6,
            "training.max_steps": steps(1000),
        },
    )


def dense(data: Path, common: dict[str, Any], sizes: dict[str, int], seconds: float, quick: bool) -> Any:
    """A student of another size on the data of base and experts together, for ``seconds``."""

    def recipe(steps: int) -> Any:
        keys = {
            "student.overrides": sizes,
            "data.paths": [str(data / "corpus"), *(str(data / "suite" / f"{name}.csv") for name in SEEN)],
            **GENERAL,
            "training.max_steps": steps,
        }
        return potstill.Recipe.lay_over({}, {**common, **keys})

    def train(run: Path) -> Path:
        if quick:
            return potstill.distill(recipe(4), run)
        trial = potstill.distill(recipe(30), run.with_name(f"{run.name}-timed"))
        lines = [json.loads(line) for line in (trial / "log.jsonl").read_text().splitlines()]
        step = float(np.median([line["seconds"] / 3 for line in lines if line["event"] == "train"]))
        return potstill.distill(recipe(max(1, int(seconds / step))), run)

    return train


if __name__ == "__main__":
    main()
