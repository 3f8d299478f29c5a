"""Teachers and data sets small enough to check by hand, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from potstill.families.base import Forecaster, ModelSource
from potstill.types import Forecast, Output, Request, Tokens, Windows


class FakeTeacher(Forecaster):
    """Forecasts ``gain · level`` at every step, in the scale of the context."""

    family = "fake"
    max_context, max_horizon = 64, 64

    def __init__(self, gain: float = 1.0, name: str = "fake", arcsinh: bool = True, levels=(0.1, 0.5, 0.9)):
        self.module: Any = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.module.weight, gain)
        self.levels = torch.tensor(levels)
        self.source = ModelSource(name, location="nowhere", licence="Apache-2.0")
        self.arcsinh = arcsinh
        self.passes: list[list[int]] = []

    @property
    def windows_seen(self) -> int:
        return sum(map(len, self.passes))

    def forward(self, batch: Windows, request: Request) -> Output:
        self.passes.append(batch.ids.tolist())
        context = batch.context.double()
        loc = context.nanmean(1, keepdim=True).nan_to_num(0.0)
        scale = (context - loc).square().nanmean(1, keepdim=True).sqrt().nan_to_num(1.0).clamp_min(1e-3)
        steps = torch.linspace(1, 2, request.horizon)
        values = self.module.weight * self.levels[None, :, None] * steps
        values = values.expand(len(batch), -1, -1) + scale[:, :, None].float()
        return Output(Forecast(self.levels, values, loc, scale, arcsinh=self.arcsinh))

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    def roll_out(self, windows: Windows, prediction_length: int) -> Forecast:
        raise NotImplementedError


class GroupTeacher(FakeTeacher):
    """Adds what a window's whole group tells: how many windows it has in the pass, and its known covariates."""

    group_signals = frozenset({"forecast"})

    def forward(self, batch: Windows, request: Request) -> Output:
        output = super().forward(batch, request)
        assert batch.group is not None
        together = (batch.group[:, None] == batch.group).float()
        added = together.sum(1)
        for covariates in (batch.past_covariates, batch.future_covariates):
            if covariates is not None:
                added = added + together @ covariates.nan_to_num(0.0).sum((1, 2))
        output.forecast.values = output.forecast.values + added[:, None, None]
        return output


class FakeWindows:
    """Window i: noise of seed i around the level 1000 · i."""

    def __init__(self, length: int = 100, context: int = 16, horizon: int = 4, stores_inputs: bool = False, salt=""):
        self.length, self.context, self.horizon = length, context, horizon
        self.stores_inputs = stores_inputs
        self.fingerprint = f"fake windows {salt}".ljust(64, "0")

    def __len__(self) -> int:
        return self.length

    def batch(self, ids) -> Windows:
        ids = np.asarray(ids, dtype=np.int64)
        steps = self.context + self.horizon
        rows = np.stack([1000.0 * i + np.random.default_rng(i).normal(size=steps) for i in ids]).astype(np.float32)
        rows[:, 0] = np.nan
        values = torch.from_numpy(rows)
        at = torch.from_numpy(ids)
        return Windows(values[:, : self.context], values[:, self.context :], ids=at, series=at % 7, origin=at * 3)

    __getitems__ = batch


class GroupedWindows(FakeWindows):
    """Windows in groups of three that follow each other; group ids fall.

    Window i has ``1 + i // 15`` past covariates and, below ``known_until``, one known one.
    """

    def __init__(self, length: int = 45, known_until: int = 15, **more):
        super().__init__(length, **more)
        self.known_until = known_until

    def batch(self, ids) -> Windows:
        windows = super().batch(ids)
        windows.group = 1000 - windows.ids // 3
        windows.dataset = windows.ids % 2
        counts = (1 + windows.ids // 15).tolist()
        windows.past_covariates = torch.full((len(counts), max(counts), self.context), torch.nan)
        for row, count in enumerate(counts):
            windows.past_covariates[row, :count] = torch.arange(count, dtype=torch.float32)[:, None] + row % 3
        known = windows.ids < self.known_until
        if known.any():
            there = torch.full((len(known), 1, self.context + self.horizon), 0.5)
            there[~known] = torch.nan
            windows.future_covariates = there
        return windows

    __getitems__ = batch


class FakeExamples:
    """Rows of random tokens, the last third of each the answer."""

    def __init__(self, vocabulary: int, count: int = 20, fingerprint: str = "examples"):
        self.vocabulary, self.lengths = vocabulary, 6 + np.arange(count) % 7
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, ids) -> Tokens:
        width = int(self.lengths[ids].max())
        rows, there, answer = (
            torch.zeros(len(ids), width, dtype=kind) for kind in (torch.long, torch.bool, torch.bool)
        )
        for place, example in enumerate(ids):
            length = int(self.lengths[example])
            generator = torch.Generator().manual_seed(int(example))
            rows[place, :length] = torch.randint(1, self.vocabulary, (length,), generator=generator)
            there[place, :length] = True
            answer[place, 2 * length // 3 : length] = True
        return Tokens(rows, there, answer, torch.as_tensor(np.asarray(ids)))

    __getitems__ = batch
