"""Live teachers: their outputs are computed while the student trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from potstill.families.base import Model
from potstill.families.ensemble import average_forecasts
from potstill.families.weighting import FixedWeights, Weighting
from potstill.teaching.backtest import relative_error
from potstill.teaching.base import TargetProvider
from potstill.teaching.share import labelled
from potstill.types import ENSEMBLE, WITHOUT_COVARIATES, ModelInfo, Output, Request


class LiveTeachers(TargetProvider):
    """Computes the outputs of loaded teachers.

    Parameters
    ----------
    teachers
        Frozen models by name: forecasters, or one language model.
    weighting
        Weights of the teachers in the average of several; default: equal.
    share, seed
        Share of the windows that are labelled, and the seed that decides which ones; default: all.
    """

    def __init__(
        self, teachers: Mapping[str, Model], weighting: Weighting | None = None, share: float = 1.0, seed: int = 0
    ):
        self.teachers = dict(teachers)
        self.share, self.seed = share, seed
        self.weighting = weighting or FixedWeights([1.0] * len(self.teachers))
        self.infos = {name: _with_second_pass(teacher.info) for name, teacher in self.teachers.items()}

    def outputs(self, batch: Any, requests: Mapping[str, Request]) -> dict[str, Output]:
        """Each teacher's output by its name; for several forecasters also their average, as ``ensemble``.

        With a backtest in the requests, the teachers also forecast the last steps of the contexts; with
        ``without_covariates``, windows that have covariates or groups are also forecast without them. If only a share
        of the windows is labelled, the teachers run on these alone.
        """
        if self.share == 1:
            return self._outputs(batch, requests)
        chosen = labelled(batch, self.seed, self.share)
        rows = chosen.nonzero()[:, 0] if chosen.any() else torch.zeros(1, dtype=torch.long)
        place = (chosen.cumsum(0) - 1).clamp(min=0)  # where the output of a window is among those of the chosen ones
        place, chosen = place.to(batch.ids.device), chosen.to(batch.ids.device)
        found = self._outputs(batch.take(rows), requests)
        return {name: replace(output.take(place), labelled=chosen) for name, output in found.items()}

    def _outputs(self, batch: Any, requests: Mapping[str, Request]) -> dict[str, Output]:
        with torch.no_grad():
            outputs = {name: teacher.forward(batch, requests[name]) for name, teacher in self.teachers.items()}
        if len(outputs) > 1:
            forecasts = [output.forecast for output in outputs.values()]
            average = average_forecasts(forecasts, self.weighting.of(batch))
            outputs[ENSEMBLE] = Output(average)
        steps = max(request.backtest for request in requests.values())
        if steps > 0:
            earlier = batch.earlier(steps)
            tried = self._outputs(earlier, {name: Request(steps) for name in requests})
            for name, output in outputs.items():
                output.backtest = relative_error(earlier, tried[name].forecast)
        if any(request.without_covariates for request in requests.values()) and not batch.stands_alone:
            alone = self._outputs(batch.alone(), {name: Request(one.horizon) for name, one in requests.items()})
            for name, output in outputs.items():
                output.without_covariates = alone[name].forecast
        return outputs


def _with_second_pass(info: ModelInfo) -> ModelInfo:
    """The description of a teacher that is there to forecast a window again without its covariates."""
    signals = info.group_signals
    return replace(info, group_signals=signals | {WITHOUT_COVARIATES}) if "forecast" in signals else info
