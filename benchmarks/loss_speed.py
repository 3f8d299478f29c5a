"""Cost of the loss: each term alone, forward and backward, and the default soft term's share of a training step.

32 windows, 96 steps, 21 levels on both sides, fp32, one thread, processor time, interleaved. The step is that of a
student of the default size for the embedded teacher (1.8 M parameters, 512 → 96) with the teacher's forecasts in
memory, as from a label store, with α = 0.8 and, without the soft term, α = 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import torch
from feature_speed import LEVELS, chronos2, optimise

from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.objectives.registry import find_term
from potstill.recipe import ForecastObjective
from potstill.training.heap import keep_freed_memory
from potstill.training.step import DistillationModule
from potstill.types import Forecast, Output, Windows

CONTEXT, HORIZON, BATCH = 512, 96, 32
STUDENT = {"num_layers": 5, "d_model": 112, "d_ff": 336, "num_heads": 4, "d_kv": 64}
TERMS = (
    "pinball",
    "scaled_pinball",
    "expected_pinball",
    "scaled_expected_pinball",
    "quantile_match",
    "huber_match",
    "cramer",
    "distribution_kl",
    "distribution_cross_entropy",
    "soft_dtw",
)


def main() -> None:
    """Time all terms and both steps."""
    given = harness.options(__doc__)
    torch.set_num_threads(1)
    keep_freed_memory()  # as in a training
    torch.manual_seed(0)
    rounds = 2 if given.quick else 40
    batch = Windows.of_context(torch.randn(BATCH, CONTEXT).cumsum(1), HORIZON)
    batch.future = batch.context[:, -1:] + torch.randn(BATCH, HORIZON).cumsum(1)
    student = chronos2(STUDENT)
    teacher = Output(student.predict(batch, HORIZON))
    terms = {name: one_term(name, batch, teacher.forecast) for name in TERMS}
    milliseconds = {
        name: 1000 * harness.median(taken)
        for name, taken in harness.interleave(terms, rounds, clock=time.process_time).items()
    }
    steps = {
        f"{hard}, alpha {alpha}": step_of(batch, teacher, hard, alpha)
        for hard in ("pinball", "scaled_pinball")
        for alpha in (0.0, 0.8)
    }
    times = harness.interleave(steps, rounds, clock=time.process_time)
    figures: dict[str, Any] = {"batch": BATCH, "horizon": HORIZON, "levels": len(LEVELS), "quick": given.quick}
    figures["milliseconds"] = milliseconds
    figures["step_seconds"] = {name: harness.median(taken) for name, taken in times.items()}
    figures["step_with_soft_term"] = {
        hard: harness.paired_ratio(times[f"{hard}, alpha 0.8"], times[f"{hard}, alpha 0.0"])
        for hard in ("pinball", "scaled_pinball")
    }
    harness.finish(figures, given.output)


def one_term(name: str, batch: Windows, forecast: Forecast) -> Callable[[], None]:
    """The value of a term and its gradient."""
    term = find_term(name)()
    teacher = Output(forecast)
    values = (forecast.values + 0.1 * torch.randn_like(forecast.values)).sort(1).values.requires_grad_()

    def run() -> None:
        student = Output(replace(forecast, values=values))
        term(LossInputs(batch, student, {"teacher": teacher})).mean().backward()
        values.grad = None

    return run


def step_of(batch: Windows, teacher: Output, hard: str, alpha: float) -> Callable[[], None]:
    """A training step with the teacher's forecasts in memory: forward, objective, backward, clipping, fused AdamW."""
    torch.manual_seed(1)
    student, objective = chronos2(STUDENT), Objective(ForecastObjective(alpha=alpha, hard=hard))
    objective.bind(student.info, {"teacher": student.info})
    module = DistillationModule(student, objective).train()
    targets = {"teacher": teacher} if alpha else {}
    return optimise(module, lambda: module(batch, targets, HORIZON)[0])


if __name__ == "__main__":
    main()
