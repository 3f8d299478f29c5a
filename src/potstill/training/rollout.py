"""On-policy windows: the student rolls out its own forecast, and the teacher forecasts what follows.

Beyond its horizon a forecaster reads its own forecasts (``Forecaster.roll_out``). A student that was trained on
observed contexts alone has not learned to continue from forecasts. So the context of some windows ends with the
student's own forecast, as it will occur in ``roll_out``: passes of the full horizon in evaluation mode, each of which
appends the path of one quantile.

Shapes: R windows that are extended, C context, H horizon, S steps of the longest extension.
"""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from torch import Tensor

from potstill.families.base import Forecaster, evaluating
from potstill.recipe import RolloutConfig
from potstill.types import Forecast, Request, Windows

LOWEST_LEVEL, HIGHEST_LEVEL = 0.1, 0.9  # the levels that Chronos-2 rolls out; paths further out are rare


def on_policy(windows: Windows, student: Forecaster, config: RolloutConfig, seed: int, step: int) -> Windows:
    """Extend a share of the windows by the student's own forecast; ids, series and all other windows are unchanged.

    The context keeps its length: the appended steps replace its oldest ones. The future moves by the same number of
    steps. The ground truth of the first H − k steps after k appended ones is known, and is kept: a rolled-out forecast
    is evaluated on the truth whatever its path, so the hard term still trains on it, while the teacher forecasts from
    the extended context. The remaining steps are NaN, which the terms ignore. Covariates move too; past covariates are
    unknown in the appended steps. Windows of a group are extended together.

    Parameters
    ----------
    windows
        From a data set; not changed.
    student
        Not changed; its forecast has no gradient.
    config
        The share of windows, and the longest extension in patches of the student.
    seed, step
        Every draw depends on these and the id of the window (or its group) alone, so that a resumed run draws the same.
    """
    if config.share == 0:
        return windows
    keys = windows.ids if windows.group is None else windows.group
    rngs = [random.Random(f"{seed}/{step}/{key}") for key in keys.tolist()]
    rows = [row for row, rng in enumerate(rngs) if rng.random() < config.share]
    if not rows:
        return windows
    rngs = [rngs[row] for row in rows]
    steps = [student.horizon_multiple * rng.randint(1, config.patches) for rng in rngs]
    chosen = windows.take(rows)
    path = _paths(student, chosen, steps, rngs)
    moved = _advanced(chosen, path, torch.tensor(steps, device=path.device))
    return _put(windows, torch.tensor(rows, device=path.device), moved)


def rollouts(share: float, steps: int, patch: int) -> RolloutConfig:
    """Rollouts of at most ``steps``, in whole patches and at least one."""
    return RolloutConfig(share=share, patches=max(1, steps // patch))


@torch.no_grad()
def _paths(student: Forecaster, windows: Windows, steps: list[int], rngs: list[random.Random]) -> Tensor:
    """``[R, S]``: the student's continuation of each window, for at least ``steps`` of each row.

    Every pass has the student's full horizon, as in ``roll_out``, so that a window's path does not depend on the other
    windows. A path keeps its quantile level within a pass and draws a new one for the next: ``roll_out`` continues with
    a quantile of the mixture over all paths. This is much closer to the median than the same quantile of the forecast
    that follows one outer path.
    """
    levels = [
        i for i, level in enumerate(student.levels.tolist()) if LOWEST_LEVEL - 1e-6 < level < HIGHEST_LEVEL + 1e-6
    ]
    levels = levels or list(range(len(student.levels)))
    path = windows.context.new_full((len(steps), max(steps)), torch.nan)
    with evaluating(student.module):
        for start in range(0, max(steps), student.max_horizon):
            unfinished = [row for row, n in enumerate(steps) if n > start]
            appended = torch.full((len(unfinished),), start, device=path.device)
            extended = _advanced(windows.take(unfinished), path[unfinished, :start], appended)
            extended = _with_horizon(extended, student.max_horizon)
            forecast = student.forward(extended, Request(student.max_horizon)).forecast
            block = _at(forecast, [rngs[row].choice(levels) for row in unfinished])
            end = min(start + student.max_horizon, max(steps))
            path[unfinished, start:end] = block[:, : end - start].to(path)
    return path


def _at(forecast: Forecast, level: list[int]) -> Tensor:
    """``[B, H]`` in input units: for each window the quantile with the given index."""
    values = forecast.values[range(len(level)), level].double()
    values = values.sinh() if forecast.arcsinh else values
    return values * forecast.scale + forecast.loc


def _advanced(windows: Windows, path: Tensor, by: Tensor) -> Windows:
    """Windows whose contexts end with the first ``by [R]`` steps of ``path [R, S]``, and whose futures begin there."""
    unknown = torch.full_like(path, torch.nan)
    return replace(
        windows,
        context=_moved(torch.cat([windows.context, path], dim=1), by, windows.context.shape[1]),
        future=_moved(torch.cat([windows.future, unknown], dim=1), by, windows.future.shape[1]),
        past_covariates=_moved_covariates(windows.past_covariates, unknown, by),
        future_covariates=_moved_covariates(windows.future_covariates, unknown, by),
    )


def _moved_covariates(values: Tensor | None, unknown: Tensor, by: Tensor) -> Tensor | None:
    if values is None:
        return None
    longer = torch.cat([values, unknown[:, None].expand(-1, values.shape[1], -1)], dim=2)
    return _moved(longer, by, values.shape[2])


def _moved(values: Tensor, by: Tensor, length: int) -> Tensor:
    """``[R, …, length]``: the steps of each row of ``values [R, …, n]`` from ``by [R]`` on."""
    places = by[:, None] + torch.arange(length, device=values.device)
    if values.ndim == 3:
        places = places[:, None].expand(-1, values.shape[1], -1)
    return values.gather(-1, places)


def _with_horizon(windows: Windows, horizon: int) -> Windows:
    """The same windows with an unknown future of ``horizon`` steps; known covariates are cut or padded to it."""
    future = windows.context.new_full((len(windows), horizon), torch.nan)
    known = windows.future_covariates
    if known is not None:
        longer = horizon - windows.future.shape[1]
        known = torch.nn.functional.pad(known, (0, max(longer, 0)), value=torch.nan)
        known = known[..., : windows.context.shape[1] + horizon]
    return replace(windows, future=future, future_covariates=known)


def _put(windows: Windows, rows: Tensor, moved: Windows) -> Windows:
    """``windows`` with the data of some rows replaced."""
    names = ("context", "future", "past_covariates", "future_covariates")
    values = {name: getattr(windows, name) for name in names}
    changed = {n: v.index_copy(0, rows, getattr(moved, n)) for n, v in values.items() if v is not None}
    return replace(windows, **changed)
