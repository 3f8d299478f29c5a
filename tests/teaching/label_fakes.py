"""A teacher and a data set small enough to check by hand, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from potstill.families.base import Forecaster, Source
from potstill.types import Forecast, Output, Windows


class FakeTeacher(Forecaster):
    """Forecasts ``gain · level`` at every step, in the scale of the context."""

    family = "fake"
    max_context, max_horizon = 64, 64

    def __init__(self, gain: float = 1.0, name: str = "fake", arcsinh: bool = True, levels=(0.1, 0.5, 0.9)):
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.module.weight, gain)
        self.levels = torch.tensor(levels)
        self.source = Source(name, location="nowhere", licence="Apache-2.0")
        self.arcsinh = arcsinh
        self.windows_seen = 0

    def forward(
        self, windows: Windows, horizon: int, hidden: tuple[int, ...] = (), attention: tuple[int, ...] = ()
    ) -> Output:
        self.windows_seen += len(windows)
        context = windows.context.double()
        loc = context.nanmean(1, keepdim=True).nan_to_num(0.0)
        scale = (context - loc).square().nanmean(1, keepdim=True).sqrt().nan_to_num(1.0).clamp_min(1e-3)
        steps = torch.linspace(1, 2, horizon)
        values = self.module.weight * self.levels[None, :, None] * steps
        return Output(
            Forecast(
                self.levels,
                values.expand(len(windows), -1, -1) + scale[:, :, None].float(),
                loc,
                scale,
                arcsinh=self.arcsinh,
            )
        )

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    def roll_out(self, context: Tensor, prediction_length: int) -> Forecast:
        raise NotImplementedError


class FakeWindows:
    """Window i: noise of seed i around the level 1000 · i."""

    def __init__(self, length: int = 100, context: int = 16, horizon: int = 4, stores_inputs: bool = False, salt=""):
        self.length, self.context, self.horizon = length, context, horizon
        self.stores_inputs = stores_inputs
        self.fingerprint = f"fake windows {salt}".ljust(64, "0")

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, ids) -> Windows:
        ids = np.asarray(ids, dtype=np.int64)
        steps = self.context + self.horizon
        rows = np.stack([1000.0 * i + np.random.default_rng(i).normal(size=steps) for i in ids]).astype(np.float32)
        rows[:, 0] = np.nan
        values = torch.from_numpy(rows)
        at = torch.from_numpy(ids)
        return Windows(values[:, : self.context], values[:, self.context :], ids=at, series=at % 7, origin=at * 3)
