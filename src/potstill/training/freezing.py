"""Weights of the student that are not trained in the first steps of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


@dataclass(frozen=True)
class Freeze:
    """Which weights are frozen, and for how long.

    Attributes
    ----------
    names
        Names of the weights in the student's module.
    steps
        They are trained from this step on, counted from 0.
    """

    names: frozenset[str]
    steps: int

    def apply(self, module: nn.Module, step: int) -> None:
        """Freeze the module's weights, or release them, as it must be at a step."""
        for name, weight in module.named_parameters():
            if name in self.names:
                weight.requires_grad_(step >= self.steps)


class FrozenWeights(TrainerCallback):
    """Applies a ``Freeze`` at every step.

    The optimizer is created before, with all weights. It skips those without a gradient, weight decay included, so that
    frozen weights stay exactly as they are. What is frozen follows from the step alone, so a resumed run continues as
    an uninterrupted one.
    """

    def __init__(self, freeze: Freeze, module: nn.Module):
        self.freeze, self.module = freeze, module

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.freeze.apply(self.module, state.global_step)
