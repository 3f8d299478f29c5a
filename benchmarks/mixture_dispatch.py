"""Cost of a mixture: dispatch against passes of one expert, and the training of a router on stored forecasts.

Experts of the default student's size for the embedded teacher (1.8 M parameters, 512 → 96), random weights, one thread,
processor time, interleaved; ratios are medians over rounds.

- dispatch: a mixture of 4 experts that chooses 2 per window, against 2 passes of one expert over the whole batch
- router: seconds of wall-clock time for one pass over stored forecasts of 5 experts, with all cores, and for 100,000
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import pandas as pd
import torch
from feature_speed import chronos2
from loss_speed import CONTEXT, HORIZON, STUDENT

import potstill
from potstill.families.base import ModelSource
from potstill.families.experts.model import Mixture
from potstill.families.experts.router import RouterSettings
from potstill.families.registry import family
from potstill.types import Request, Windows

EXPERTS, CHOSEN = 4, 2
ROUTED = 100_000


def main() -> None:
    """Time dispatch at two batch sizes, and a router's training."""
    given = harness.options(__doc__)
    figures: dict[str, Any] = {"experts": EXPERTS, "chosen": CHOSEN, "quick": given.quick}
    torch.set_num_threads(1)
    torch.manual_seed(0)
    experts = {str(number): chronos2(STUDENT) for number in range(EXPERTS)}
    mixture = Mixture(experts, RouterSettings(top_k=CHOSEN), ModelSource("mixture", "mixture"))
    last: Any = mixture.router.network[-1]
    torch.nn.init.normal_(last.weight)
    mixture.module.eval()
    for batch, rounds in ((1, 200), (256, 15)):
        figures[f"dispatch_batch_{batch}"] = dispatch(mixture, batch, 2 if given.quick else rounds)
    torch.set_num_threads(os.cpu_count() or 1)
    figures["router"] = router(600 if given.quick else 20_000)
    harness.finish(figures, given.output)


def dispatch(mixture: Mixture, batch: int, rounds: int) -> dict[str, float]:
    """The mixture's forward pass against ``CHOSEN`` passes of one expert over the whole batch."""
    windows = Windows.of_context(torch.randn(batch, CONTEXT).cumsum(1), HORIZON)
    expert = next(iter(mixture.experts.values()))

    def passes() -> None:
        for _ in range(CHOSEN):
            expert.forward(windows, Request(HORIZON))

    arms = {
        "mixture": lambda: mixture.forward(windows, Request(HORIZON)),
        "passes": passes,
        "router": lambda: mixture.router(windows),
    }
    with torch.inference_mode():
        times = harness.interleave(arms, rounds, warm=3, clock=time.process_time)
    return {
        "ratio": harness.paired_ratio(times["mixture"], times["passes"]),
        "router_share": harness.paired_ratio(times["router"], times["mixture"]),
        "milliseconds": 1000 * harness.median(times["mixture"]),
    }


def router(windows: int) -> dict[str, float]:
    """Train a router for one pass over ``windows`` stored windows of five cheap experts (only their number counts)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = family("linear")
        for number in range(5):
            torch.manual_seed(number)
            levels = [0.01, *(round(0.05 * k, 2) for k in range(1, 20)), 0.99]
            one.build(one.design(None, {"levels": levels}, CONTEXT, HORIZON), 0.0).save(folder / f"expert{number}")
        hours = pd.date_range("2020-01-01", periods=6000, freq="h")
        values = np.random.default_rng(0).normal(size=(6000, 4)).cumsum(0)
        pd.DataFrame({"date": hours, **{f"x{i}": values[:, i] for i in range(4)}}).to_csv(folder / "x.csv", index=False)
        recipe = potstill.Recipe.lay_over(
            {},
            {
                "task": "mixture",
                "experts": [str(folder / f"expert{number}") for number in range(5)],
                "data.paths": [str(folder / "x.csv")],
                "data.context_length": CONTEXT,
                "data.distinct_windows": windows,
                "training.epochs": 1,
                "training.device": "cpu",
                "evaluation.baselines": [],
                "evaluation.max_windows": 20,
            },
        )
        run = potstill.mix(recipe, folder / "run")
        lines = (run / "log.jsonl").read_text().splitlines()
    seconds = sum(line["seconds"] for line in map(json.loads, lines) if line["event"] == "train")
    return {"windows": windows, "seconds": seconds, f"seconds_for_{ROUTED}": seconds * ROUTED / windows}


if __name__ == "__main__":
    main()
