"""Where labels come from while a student trains: live teachers or a label store, one Forecast either way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from potstill.families.base import Forecaster
from potstill.tasks.forecasting import AUTO, Setup
from potstill.teaching.average import average_forecasts
from potstill.teaching.stores.forecasts import LabelledWindows, LabelStore
from potstill.training.trainer import TargetProvider
from potstill.types import Forecast, Windows


def live(teachers: list[Forecaster], weights: list[float]) -> TargetProvider:
    """Ask the teachers themselves, averaging several level by level."""

    def teach(windows: Windows, horizon: int) -> Windows:
        with torch.no_grad():
            forecasts = [teacher.forward(windows, horizon).forecast for teacher in teachers]
        labels = forecasts[0] if len(forecasts) == 1 else average_forecasts(forecasts, weights)
        return replace(windows, labels=labels)

    return teach


def stored(store: LabelStore) -> TargetProvider:
    """Read the answers that ``potstill label`` wrote; windows read from the store bring theirs along."""
    return lambda windows, horizon: windows if windows.labels is not None else store.attach(windows, horizon)


@dataclass
class TrainingData:
    """What the student of a run learns from: the windows, who answers them, and what the answers cost in advance.

    Attributes
    ----------
    windows
        The training data set: read from a label store that holds its inputs, else drawn from the data.
    teach
        Fills in the labels; None where no term asks for them.
    labelling
        Seconds that a label store took to make, as far as this run reads it.
    """

    windows: Any
    teach: TargetProvider | None
    labelling: float = 0.0

    @classmethod
    def of(cls, setup: Setup, store: LabelStore | None) -> TrainingData:
        """The lessons of a run: from a store, from the live teachers, or from the truth alone."""
        windows = setup.training_windows(setup.steps)
        if store is not None:
            whole = (
                setup.recipe.labels == AUTO
            )  # the run labelled every window, whether or not it comes to see them all
            read = len(windows) if whole else min(len(windows), setup.windows_seen)
            if store.stores_inputs:
                windows = LabelledWindows(store, len(windows))
            return cls(windows, stored(store), read * store.seconds_per_window())
        if not setup.objective().needs:
            return cls(windows, None)
        return cls(windows, live(list(setup.teachers.values()), [config.weight for config in setup.recipe.teacher]))


class Ensemble:
    """Several teachers as one forecaster, for evaluation beside the student that learned from them."""

    def __init__(self, teachers: list[Forecaster], weights: list[float]):
        self.teachers, self.weights = teachers, weights
        self.parameters = sum(teacher.parameters for teacher in teachers)
        self.module = nn.ModuleList(teacher.module for teacher in teachers)

    def predict(self, context: Any, prediction_length: int) -> Forecast:
        """The weighted average of the teachers' forecasts, level by level."""
        return average_forecasts([t.predict(context, prediction_length) for t in self.teachers], self.weights)
