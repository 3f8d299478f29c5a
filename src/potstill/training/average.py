"""The exponential moving average of a student's weights (EMA), which forecasts better than the weights of one step.

Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018; with exponential weights as
in Tarvainen and Valpola, "Mean teachers are better role models", 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

WARMUP_STEPS = 8  # at step t the decay is at most t / (t + 8), so that the first weights are soon forgotten


class WeightAverage(nn.Module):
    """The average is kept in buffers, so that checkpoints hold it and a resumed run continues it.

    Parameters
    ----------
    module
        The student; its weights keep their own values, except within :meth:`applied`.
    decay
        Share of the average that a step keeps, after a warm-up.

    Examples
    --------
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> average = WeightAverage(layer, decay=0.9)
    >>> begin = layer.weight.item()
    >>> with torch.no_grad():
    ...     _ = layer.weight.add_(1.0)
    >>> average.update(1)  # the decay of the first step is 1 / 9
    >>> with average.applied():
    ...     round(layer.weight.item() - begin, 4)
    0.8889
    """

    def __init__(self, module: nn.Module, decay: float):
        super().__init__()
        self.decay = decay
        # in a list: as a submodule its weights would be here under a second name
        self.source = [module]
        for number, weight in enumerate(module.parameters()):
            self.register_buffer(f"weight_{number}", weight.detach().clone())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the weights after a step, counted from 1; the device is not waited for."""
        decay = min(self.decay, step / (step + WARMUP_STEPS))
        get_ema_multi_avg_fn(decay)(list(self.buffers()), list(self.source[0].parameters()), None)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block, the module has the averaged weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for average, weight in zip(self.buffers(), self.source[0].parameters(), strict=True):
            average.data, weight.data = weight.data, average.data


class UpdateAverage(TrainerCallback):
    """Updates the average after each step."""

    def __init__(self, average: WeightAverage):
        self.average = average

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self.average.update(state.global_step)
        return control
