"""A predictor that is no torch module, as exported models are."""

from __future__ import annotations

import torch

from potstill.errors import NotFinite
from potstill.types import Forecast, Windows


class Last:
    """The last known value, one lower and one higher; no torch module, no groups, context of 8."""

    max_context, max_horizon = 8, 100
    levels = torch.tensor([0.1, 0.5, 0.9])

    def __init__(self, broken: float | None = None):
        self.broken, self.asked = broken, []

    def predict(self, windows: Windows, prediction_length: int) -> Forecast:
        assert windows.stands_alone
        assert windows.context.dtype == torch.float32
        self.asked.append(windows.context)
        bad = [row for row, last in enumerate(windows.context[:, -1].tolist()) if last == self.broken]
        if bad:
            raise NotFinite("last", bad, len(windows))
        steps = torch.tensor([-1.0, 0.0, 1.0])[None, :, None].expand(len(windows), -1, prediction_length)
        last = windows.context[:, -1:].double()
        return Forecast(self.levels, steps, last, torch.ones_like(last))
