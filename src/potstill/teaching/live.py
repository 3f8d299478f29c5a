"""Live teachers: their outputs are computed while the student trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from potstill.families.base import Model
from potstill.families.ensemble import average_forecasts
from potstill.teaching.base import TargetProvider
from potstill.types import ENSEMBLE, Output, Request


class LiveTeachers(TargetProvider):
    """Computes the outputs of loaded teachers.

    Parameters
    ----------
    teachers
        Frozen models by name: forecasters, or one language model.
    weights
        Weight of each teacher in the average of several; default: equal.
    """

    def __init__(self, teachers: Mapping[str, Model], weights: Sequence[float] | None = None):
        self.teachers = dict(teachers)
        self.weights = list(weights or [1.0] * len(self.teachers))
        self.infos = {name: teacher.info for name, teacher in self.teachers.items()}

    def outputs(self, batch: Any, requests: Mapping[str, Request]) -> dict[str, Output]:
        """Each teacher's output by its name; for several forecasters also their average, as ``ensemble``."""
        with torch.no_grad():
            outputs = {name: teacher.forward(batch, requests[name]) for name, teacher in self.teachers.items()}
        if len(outputs) > 1:
            average = average_forecasts([output.forecast for output in outputs.values()], self.weights)
            outputs[ENSEMBLE] = Output(average)
        return outputs
