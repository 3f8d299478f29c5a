"""Passes made by hand: one window, few levels, few steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from potstill.objectives.base import USER_TERMS, LossInputs
from potstill.types import Forecast, Output, Windows


@pytest.fixture
def own_terms() -> Iterator[dict[str, type]]:
    """The terms of the user's own, put back afterwards."""
    before = dict(USER_TERMS)
    yield USER_TERMS
    USER_TERMS.clear()
    USER_TERMS.update(before)


@pytest.fixture
def made() -> Callable[..., Forecast]:
    """A forecast from its values ``[B, Q, H]`` at levels, with loc and scale for all windows."""

    def forecast(values, levels, loc: float = 0.0, scale: float = 1.0, arcsinh: bool = False) -> Forecast:
        values = torch.as_tensor(values, dtype=torch.float32)
        at = torch.full((len(values), 1), 1.0, dtype=torch.float64)
        return Forecast(torch.tensor(levels), values, loc * at, scale * at, arcsinh)

    return forecast


@pytest.fixture
def passed() -> Callable[..., LossInputs]:
    """A pass of a student's forecast, perhaps a teacher's, and the truth ``[B, H]``."""

    def batch(student: Forecast, teacher: Forecast | None = None, truth: Tensor | None = None) -> LossInputs:
        rows, steps = student.values.shape[0], student.values.shape[2]
        future = torch.full((rows, steps), torch.nan) if truth is None else torch.as_tensor(truth).float()
        ids = torch.arange(rows)
        windows = Windows(torch.zeros(rows, 4), future, ids, ids, ids)
        teachers = {"teacher": _output(teacher)} if teacher is not None else {}
        return LossInputs(windows, _output(student), teachers)

    return batch


def _output(forecast: Forecast) -> Output:
    """An output with 0 as the forecast without covariates: the response to them is then the forecast itself."""
    return Output(forecast, without_covariates=replace(forecast, values=torch.zeros_like(forecast.values)))
