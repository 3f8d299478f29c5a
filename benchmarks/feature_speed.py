"""Cost of feature terms: a training step with a live teacher and terms on two layer pairs, against the output alone.

A teacher of the embedded one's size (5.4 M, random weights: speed does not depend on them), students of 64 and 96
dimensions and five layers, batch 64, 512 → 96, fp32, one thread, processor time. The steps of all arms are interleaved,
and ratios are medians over rounds. Each arm adds one term or two to the default objective:

- two_pairs: layers [[1, 1], [3, 3]]; the last layer then computes only the tokens of the horizon, as without a term
- last_pairs: layers [[3, 3], [4, 4]]; it then computes all tokens
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import torch

from potstill.families.chronos2.family import Chronos2Family
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective
from potstill.teaching.live import LiveTeachers
from potstill.training.heap import keep_freed_memory
from potstill.training.step import DistillationModule, TrainingStep
from potstill.types import Windows

CONTEXT, HORIZON, BATCH = 512, 96, 64
LEVELS = [0.01, *(round(0.05 * k, 2) for k in range(1, 20)), 0.99]
TEACHER = {"num_layers": 5, "d_model": 256, "d_ff": 768, "num_heads": 4, "d_kv": 64}
STUDENTS = {
    "64": {"num_layers": 5, "d_model": 64, "d_ff": 256, "num_heads": 4, "d_kv": 16},
    "96": {"num_layers": 5, "d_model": 96, "d_ff": 384, "num_heads": 4, "d_kv": 24},
}
PAIRS = {"two_pairs": [[1, 1], [3, 3]], "last_pairs": [[3, 3], [4, 4]]}
TERMS = {
    "hidden_states": ("hidden_states",),
    "hidden_relations": ("hidden_relations",),
    "attention_maps": ("attention_maps",),
    "attention_relations": ("attention_relations",),
    "states_and_relations": ("hidden_states", "hidden_relations"),
    "states_and_attention": ("hidden_states", "attention_relations"),
    "both_relations": ("hidden_relations", "attention_relations"),
}


def main() -> None:
    """Run all arms and print the figures."""
    given = harness.options(__doc__)
    torch.set_num_threads(1)
    keep_freed_memory()  # as in a training
    torch.manual_seed(0)
    teacher = chronos2(TEACHER).freeze()
    batch = Windows.of_context(torch.randn(BATCH, CONTEXT).cumsum(1), HORIZON)
    batch.future = torch.randn(BATCH, HORIZON)
    figures: dict[str, Any] = {"teacher_parameters": teacher.parameters, "batch": BATCH, "quick": given.quick}
    for name, sizes in STUDENTS.items():
        if given.quick and name != "64":
            continue
        arms = {"output_only": step_of(teacher, sizes, batch, {})}
        for place, pairs in PAIRS.items():
            for arm, terms in TERMS.items():
                layers = {term: {"layers": pairs, "weight": 0.1} for term in terms}
                arms[f"{arm}_{place}"] = step_of(teacher, sizes, batch, layers)
        times = harness.interleave(arms, 2 if given.quick else 25, clock=time.process_time)
        base = times["output_only"]
        found = {"parameters": chronos2(sizes).parameters, "seconds": harness.median(base)}
        found |= {arm: harness.paired_ratio(taken, base) for arm, taken in times.items() if arm != "output_only"}
        figures[f"student_{name}"] = found
        print(name, found)
    harness.finish(figures, given.output)


def chronos2(sizes: dict[str, int]) -> Any:
    """A Chronos-2 with the embedded teacher's lengths, 21 levels and random weights."""
    family = Chronos2Family()
    return family.build(family.design(None, {**sizes, "quantiles": LEVELS}, 1024, 192), dropout=0.0)


def step_of(teacher: Any, sizes: dict[str, int], batch: Windows, terms: dict[str, Any]) -> Callable[[], None]:
    """A whole training step with a live teacher: both passes, the objective, backward, clipping and fused AdamW."""
    torch.manual_seed(1)
    student, objective = chronos2(sizes), Objective(ForecastObjective(terms=terms))
    provider = LiveTeachers({"teacher": teacher})
    objective.bind(student.info, provider.infos)
    module = DistillationModule(student, objective).train()
    step = TrainingStep(module, provider, HORIZON, seed=0)
    return optimise(module, lambda: step(module, batch, None, 0)[0])


def optimise(module: DistillationModule, loss_of: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """A training step: the loss, backward, clipping and fused AdamW."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)

    def run() -> None:
        loss_of().backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return run


if __name__ == "__main__":
    main()
