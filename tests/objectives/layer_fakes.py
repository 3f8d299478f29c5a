"""Outputs with layers made by hand: states, maps, queries, keys and values of forecasters and of language models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from potstill.objectives.base import LossInputs
from potstill.types import Forecast, Logits, ModelInfo, Output, Tokens, Windows


def info(name: str = "model", **sizes: int) -> ModelInfo:
    """A model with every signal; by default three layers of width 4 with two heads of width 2."""
    facts: dict[str, Any] = {"layers": 3, "width": 4, "heads": 2, "head_width": 2, **sizes}
    signals = frozenset({"forecast", "logits", "hidden", "attention", "qkv"})
    return ModelInfo(name=name, family="toy", parameters=1, active_parameters=1, signals=signals, **facts)


def output(rows: int = 1, **layers: Any) -> Output:
    """An output whose forecast is not looked at."""
    one = torch.ones(rows, 1).double()
    return Output(Forecast(torch.tensor([0.5]), torch.zeros(rows, 1, 4), one, one), **layers)


def of_windows(student: Output, *teachers: Output) -> LossInputs:
    """What a term receives for windows: the outputs of a student and of teachers named t0, t1, …"""
    rows = len(student.forecast.values)
    batch = Windows.of_context(torch.zeros(rows, 8), 4)
    return LossInputs(batch, student, {f"t{i}": teacher for i, teacher in enumerate(teachers)})


def of_text(mask: Tensor, student: dict[str, Any], teacher: dict[str, Any]) -> LossInputs:
    """What a term receives for text that is padded where ``mask [B, T]`` is False; the teacher is t0."""
    batch = Tokens(mask.long(), mask, mask, torch.arange(len(mask)))
    logits = Logits(torch.zeros(1, 1), torch.nn.Identity())
    one, other = (Output(logits, token_mask=mask, **layers) for layers in (student, teacher))
    return LossInputs(batch, one, {"t0": other})
