"""Live teachers: their outputs are computed while the student trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from potstill.families.base import Model
from potstill.families.ensemble import average_forecasts
from potstill.families.weighting import FixedWeights, Weighting
from potstill.teaching.backtest import relative_error
from potstill.teaching.base import TargetProvider
from potstill.types import ENSEMBLE, Output, Request


class LiveTeachers(TargetProvider):
    """Computes the outputs of loaded teachers.

    Parameters
    ----------
    teachers
        Frozen models by name: forecasters, or one language model.
    weighting
        Weights of the teachers in the average of several; default: equal.
    """

    def __init__(self, teachers: Mapping[str, Model], weighting: Weighting | None = None):
        self.teachers = dict(teachers)
        self.weighting = weighting or FixedWeights([1.0] * len(self.teachers))
        self.infos = {name: teacher.info for name, teacher in self.teachers.items()}

    def outputs(self, batch: Any, requests: Mapping[str, Request]) -> dict[str, Output]:
        """Each teacher's output by its name; for several forecasters also their average, as ``ensemble``.

        With a backtest in the requests, the teachers also forecast the last steps of the contexts.
        """
        with torch.no_grad():
            outputs = {name: teacher.forward(batch, requests[name]) for name, teacher in self.teachers.items()}
        if len(outputs) > 1:
            forecasts = [output.forecast for output in outputs.values()]
            average = average_forecasts(forecasts, self.weighting.of(batch))
            outputs[ENSEMBLE] = Output(average)
        steps = max(request.backtest for request in requests.values())
        if steps > 0:
            earlier = batch.earlier(steps)
            tried = self.outputs(earlier, {name: Request(steps) for name in requests})
            for name, output in outputs.items():
                output.backtest = relative_error(earlier, tried[name].forecast)
        return outputs
