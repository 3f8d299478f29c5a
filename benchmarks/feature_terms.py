"""What feature terms are worth: the same student after the same steps, with and without terms on layers.

A Chronos-2 student of five layers of width 64 (0.49 M, random weights) learns from a live teacher on the suite's
training windows, 512 → 96, batch 32, AdamW 2e-3 with warm-up and cosine decay. All arms see the same batches, take
their steps interleaved, and start from the same weights. Each adds terms to the default objective (α 0.8). ``longer``
adds none and takes a quarter more steps, which is more than what any arm with terms costs.

Reported on windows of the validation parts, averaged over seeds: the L1 distance of the student's quantiles to the
teacher's, the pinball loss on the truth, and processor seconds of a step without the teacher's pass.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import torch

from potstill.data.permutation import Permutation
from potstill.data.series.opening import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.families.chronos2.family import Chronos2Family
from potstill.families.load import load
from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective, SeriesData
from potstill.training.heap import keep_freed_memory
from potstill.training.step import DistillationModule
from potstill.types import Output, Request, Windows

CONTEXT, HORIZON, BATCH, RATE = 512, 96, 32, 2e-3
STUDENT = {"num_layers": 5, "d_model": 64, "d_ff": 256, "num_heads": 4, "d_kv": 16}
LONGER = 1.25
ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "longer": {},
    "hidden_states": {"hidden_states": {"weight": 0.3}},
    "hidden_states_cosine": {"hidden_states": {"weight": 0.3, "distance": "cosine"}},
    "hidden_relations": {"hidden_relations": {"weight": 1.0}},
    "attention_maps": {"attention_maps": {"weight": 0.1}},
    "attention_relations": {"attention_relations": {"weight": 0.1}},
    "both_relations": {"hidden_relations": {"weight": 1.0}, "attention_relations": {"weight": 0.1}},
}


def main() -> None:
    """Train all arms for each seed and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a short run: only checks that the script works")
    parser.add_argument("--output", type=Path, help="also write the JSON here")
    parser.add_argument("--teacher", default="embedded", help="a Chronos-2 of at least 512 steps of context")
    parser.add_argument("--data", default="../shared/data/suite", help="a folder with the suite's CSV files")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as in a training
    steps, seeds = (4, 1) if given.quick else (given.steps, given.seeds)
    teacher: Any = load(given.teacher).freeze()
    with tempfile.TemporaryDirectory() as folder:
        data = SeriesData(paths=[given.data], split="suite", context_length=CONTEXT, prediction_length=HORIZON)
        store = open_store(data, cache=Path(folder))
        train, validation = (SeriesWindows(store, data, part) for part in ("train", "validation"))
        runs = [run(teacher, train, validation, steps, seed) for seed in range(seeds)]
    names = runs[0]
    figures: dict[str, Any] = {"teacher": given.teacher, "steps": steps, "seeds": seeds, "quick": given.quick}
    for arm in names:
        figures[arm] = {key: [found[arm][key] for found in runs] for key in names[arm]}
        figures[arm] = {key: sum(values) / len(values) for key, values in figures[arm].items()}
    harness.finish(figures, given.output)


def run(teacher: Any, train: Any, validation: Any, steps: int, seed: int) -> dict[str, dict[str, float]]:
    """Train every arm; its distance, pinball loss and seconds per step."""
    longer = {"longer": steps * LONGER}
    arms = {name: Arm(teacher, terms, seed, longer.get(name, steps)) for name, terms in ARMS.items()}
    everything = Request(HORIZON)
    for arm in arms.values():
        everything |= arm.objective.teacher_requests(HORIZON)["teacher"]
    order = Permutation(len(train), seed)
    for step in range(math.ceil(steps * LONGER)):
        batch = train.batch(order[np.arange(step * BATCH, (step + 1) * BATCH) % len(train)])
        with torch.no_grad():
            targets = {"teacher": teacher.forward(batch, everything)}
        for arm in arms.values():
            arm.train(batch, targets, step)
    batch = validation.batch(np.linspace(0, len(validation) - 1, 32 if steps < 10 else 512).astype(np.int64))
    with torch.no_grad():
        targets = {"teacher": teacher.forward(batch, Request(HORIZON))}
    found = {name: arm.evaluated(batch, targets) for name, arm in arms.items()}
    for name, values in found.items():
        print(f"seed {seed}  {name:22}", {key: round(value, 4) for key, value in values.items()}, flush=True)
    return found


class Arm:
    """One student with its objective and optimizer."""

    def __init__(self, teacher: Any, terms: dict[str, Any], seed: int, steps: float):
        torch.manual_seed(seed)
        family = Chronos2Family()
        self.student = family.build(family.design(teacher, STUDENT, CONTEXT, HORIZON), 0.0, teacher)
        self.objective = Objective(ForecastObjective(terms=terms))
        self.objective.bind(self.student.info, {"teacher": teacher.info})
        self.module = DistillationModule(self.student, self.objective).train()
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=RATE, fused=True)
        self.steps, self.seconds = round(steps), 0.0

    def train(self, batch: Windows, targets: dict[str, Output], step: int) -> None:
        """One optimizer step, unless the arm has taken all of its steps."""
        if step >= self.steps:
            return
        began = time.process_time()
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 20) * (1 + math.cos(math.pi * step / self.steps)) / 2
        self.module(batch, targets, HORIZON)[0].backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.seconds += time.process_time() - began

    @torch.no_grad()
    def evaluated(self, batch: Windows, targets: dict[str, Output]) -> dict[str, float]:
        """Distance to the teacher and loss on the truth, and the mean time of a step."""
        self.module.eval()
        output = self.student.forward(batch, Request(HORIZON))
        _, values = Objective(ForecastObjective(alpha=0.5, soft="quantile_match"))(LossInputs(batch, output, targets))
        distance, loss = values["quantile_match"].item(), values["pinball"].item()
        return {"distance": distance, "pinball": loss, "seconds": self.seconds / self.steps}


if __name__ == "__main__":
    main()
