"""Where labels come from while a student trains: live teachers or a label store, one Forecast either way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from potstill.families.base import Forecaster
from potstill.labels.average import average_forecasts
from potstill.labels.store import LabelStore
from potstill.training.trainer import Teach
from potstill.types import Forecast, Windows


def live(teachers: list[Forecaster], weights: list[float]) -> Teach:
    """Ask the teachers themselves, averaging several level by level."""

    def teach(windows: Windows, horizon: int) -> Windows:
        with torch.no_grad():
            forecasts = [teacher.forward(windows, horizon).forecast for teacher in teachers]
        labels = forecasts[0] if len(forecasts) == 1 else average_forecasts(forecasts, weights)
        return replace(windows, labels=labels)

    return teach


def stored(store: LabelStore) -> Teach:
    """Read the answers that ``potstill label`` wrote."""
    return lambda windows, horizon: store.attach(windows, horizon)


class Committee:
    """Several teachers as one forecaster, for evaluation beside the student that learned from them."""

    def __init__(self, teachers: list[Forecaster], weights: list[float]):
        self.teachers, self.weights = teachers, weights
        self.parameters = sum(teacher.parameters for teacher in teachers)
        self.module = nn.ModuleList(teacher.module for teacher in teachers)

    def predict(self, context: Any, prediction_length: int) -> Forecast:
        """The weighted average of the teachers' forecasts, level by level."""
        return average_forecasts([t.predict(context, prediction_length) for t in self.teachers], self.weights)
