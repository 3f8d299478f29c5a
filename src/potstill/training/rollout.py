"""On-policy windows: the student goes on by itself, then the teacher answers from where it went.

Beyond one pass a forecaster reads its own forecasts (``Forecaster.roll_out``). A student that was only ever shown what
really happened has not learned to go on from those. So some windows get a context that ends with the student's own
forecast, of the kind it will read there: whole passes in evaluation mode, each appending one quantile's path.

Shapes: R windows that are extended, C context, H horizon, S steps of the longest extension.
"""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from torch import Tensor

from potstill.families.base import Forecaster, bare_windows, evaluating
from potstill.recipe import RolloutConfig
from potstill.types import Forecast, Windows

LOWEST, HIGHEST = 0.1, 0.9  # the paths that Chronos-2 rolls out; further out a path stands for hardly any windows


def on_policy(windows: Windows, student: Forecaster, config: RolloutConfig, seed: int, step: int) -> Windows:
    """Windows of which a share goes on from the student's own forecast; ids, series and all others stay as they are.

    A context keeps its length: what is appended pushes out its oldest steps. The future moves along. Of the first
    H − k steps after k appended ones the truth is still known, and it stays: a rolled-out forecast is judged by the
    truth whichever way it took, so the hard term holds the student to that while the teacher says how to go on from
    here. The steps after those are NaN, which the terms pass over.

    Parameters
    ----------
    windows
        Their labels are yet to be filled in.
    student
        Not changed; no gradient goes through its forecast.
    config
        Share of the windows, and the longest extension in the student's patches.
    seed, step
        Every draw follows from them and the window's id, so that a resumed run draws the same.
    """
    if config.share == 0:
        return windows
    draws = [random.Random(f"{seed}/{step}/{i}") for i in windows.ids.tolist()]
    rows = [row for row, draw in enumerate(draws) if draw.random() < config.share]
    if not rows:
        return windows
    draws = [draws[row] for row in rows]
    steps = [student.horizon_multiple * draw.randint(1, config.patches) for draw in draws]
    context, future = windows.context[rows], windows.future[rows]
    path = _paths(student, context, steps, draws)
    at = torch.tensor(rows, device=context.device)
    after = torch.tensor(steps, device=context.device)
    context = _moved(torch.cat([context, path], dim=1), after, context.shape[1])
    future = _moved(torch.cat([future, torch.full_like(path, torch.nan)], dim=1), after, future.shape[1])
    return replace(
        windows,
        context=windows.context.index_copy(0, at, context),
        future=windows.future.index_copy(0, at, future),
    )


def rollouts(share: float, steps: int, patch: int) -> RolloutConfig:
    """Rollouts of at most ``steps``, in whole patches and at least one."""
    return RolloutConfig(share=share, patches=max(1, steps // patch))


@torch.no_grad()
def _paths(student: Forecaster, context: Tensor, steps: list[int], draws: list[random.Random]) -> Tensor:
    """``[R, S]``: how the student goes on from ``context [R, C]``, for at least ``steps`` of each row.

    Every pass has the student's whole horizon, as in ``roll_out``: what a window gets depends on no other window. A
    path keeps its level within a pass and draws another for the next one: ``roll_out`` goes on with a level of the
    mixture of all paths, which lies far nearer to the middle than that level of what follows one outer path.
    """
    levels = [i for i, level in enumerate(student.levels.tolist()) if LOWEST - 1e-6 < level < HIGHEST + 1e-6]
    levels = levels or list(range(len(student.levels)))
    path = context.new_full((len(steps), max(steps)), torch.nan)
    with evaluating(student.module):
        for start in range(0, max(steps), student.max_horizon):
            going = [row for row, n in enumerate(steps) if n > start]
            seen = torch.cat([context[going], path[going, :start]], dim=1)[:, -context.shape[1] :]
            forecast = student.forward(bare_windows(seen, student.max_horizon), student.max_horizon).forecast
            block = _at(forecast, [draws[row].choice(levels) for row in going])
            end = min(start + student.max_horizon, max(steps))
            path[going, start:end] = block[:, : end - start].to(path)
    return path


def _at(forecast: Forecast, level: list[int]) -> Tensor:
    """``[B, H]`` in input units: of each window the quantile whose place is given."""
    values = forecast.values[range(len(level)), level].double()
    values = values.sinh() if forecast.arcsinh else values
    return values * forecast.scale + forecast.loc


def _moved(values: Tensor, by: Tensor, length: int) -> Tensor:
    """``[R, length]``: of each row of ``values`` the steps from ``by [R]`` on."""
    return values.gather(1, by[:, None] + torch.arange(length, device=values.device))
