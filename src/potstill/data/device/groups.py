"""Windows in groups: driven by covariates, made of common latent series, or columns of a real table.

The rows of a group are its windows and the covariates that are known ahead. How many of either a group has is drawn
once per kind and batch, so that the shapes of tensors do not depend on values on the device.

Shapes: G groups, S rows of a group, F of them known ahead, L = C + H steps.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from potstill.data.device.draws import Draws
from potstill.data.device.series import Drawn
from potstill.data.device.values import unit

UNKNOWN = 0.15  # share of driving covariates whose future is not known
KNOWN_COLUMNS = 0.3  # share of the other columns of a real table whose future is known
#: cumulative shares of the kinds of covariate: events, calendar events, exceedances, random walks; then other series
EVENTS, CALENDAR, ABOVE, WALKS = 0.3, 0.45, 0.6, 0.8
EFFECTIVE, LINEAR = 0.75, 0.7  # share of covariates with an effect, and share of linear responses
LONGEST_LAG = 24


class Groups(NamedTuple):
    """Groups of one kind: ``rows [G, S, L]``; in each group the last ``known`` rows are known ahead.

    ``series`` and ``origin`` ``[G, S]`` locate real rows; -1 and 0 for others.
    """

    rows: Tensor
    known: int
    series: Tensor
    origin: Tensor


def driven(draws: Draws, base: Tensor) -> Groups:
    """The first row is its own part plus responses to the others, the covariates; most covariates are known ahead.

    Parameters
    ----------
    base
        ``[G, S, L]`` windows of any kind; NaN is taken for the mean.
    """
    groups, size, length = base.shape
    z, step = _units(base), torch.arange(length, device=base.device)
    kind = draws.uniform(groups, size, 1)
    event = draws.uniform(groups, size, length) < 0.02 + 0.2 * draws.uniform(groups, size, 1)
    phase = (step + draws.integers(0, 40, groups, size, 1)) % draws.integers(5, 40, groups, size, 1)
    calendar = phase < draws.integers(1, 4, groups, size, 1)
    above = z > 0.4 + 0.6 * draws.normal(groups, size, 1)
    walk = _units(draws.normal(groups, size, length).cumsum(dim=2))
    covariate = torch.where(kind < WALKS, walk, z)
    for limit, flags in ((ABOVE, above), (CALENDAR, calendar), (EVENTS, event)):
        covariate = torch.where(kind < limit, flags.to(z), covariate)
    response = torch.where(draws.chance(LINEAR, groups, size, 1), covariate, covariate.relu() ** 1.5)
    spread = response.std(dim=2, keepdim=True) + 0.1
    response = 0.7 * (response - response.mean(dim=2, keepdim=True)) / spread
    weight = 2 * draws.normal(groups, size, 1) * draws.chance(EFFECTIVE, groups, size, 1)
    own = z[:, :1] * (0.1 + 0.9 * draws.uniform(groups, 1, 1))
    noise = 0.2 * draws.uniform(groups, 1, 1) * draws.normal(groups, 1, length)
    target = own + noise + (weight * response)[:, 1:].sum(dim=1, keepdim=True)
    scale, shift = 1 + 5 * draws.uniform(groups, size - 1, 1), 3 * draws.normal(groups, size - 1, 1)
    rows = torch.cat([target, covariate[:, 1:] * scale + shift], dim=1)
    return _unlocated(rows, size - 1 - draws.binomial(size - 1, UNKNOWN))


def latent(draws: Draws, base: Tensor) -> Groups:
    """Every row is a weighted sum of the same series, some of them delayed; nothing is known ahead.

    ``base`` is that of :func:`driven`.
    """
    groups, size, length = base.shape
    delay = draws.integers(0, LONGEST_LAG + 1, groups, size, 1) * draws.chance(0.5, groups, size, 1)
    step = torch.arange(length, device=base.device)
    delayed = _units(base).gather(2, (step - delay).clamp(min=0))
    weight = draws.normal(groups, size, size) * draws.chance(0.6, groups, size, size)
    weight = weight + 0.5 * torch.eye(size, device=base.device)
    return _unlocated(weight @ delayed, 0)


def columns(draws: Draws, drawn: Drawn, groups: int) -> Groups:
    """Columns of real tables side by side; some of those after the first are known ahead."""
    rows = drawn.values.view(groups, -1, drawn.values.shape[1])
    known = draws.binomial(rows.shape[1] - 1, KNOWN_COLUMNS)
    return Groups(rows, known, drawn.series.view(groups, -1), drawn.origin.view(groups, -1))


def _units(rows: Tensor) -> Tensor:
    """``[G, S, L]`` with mean 0 and deviation 1 in each row, and no value missing."""
    return unit(rows.flatten(0, 1)).nan_to_num(0.0).view_as(rows)


def _unlocated(rows: Tensor, known: int) -> Groups:
    none = torch.full(rows.shape[:2], -1, dtype=torch.int64, device=rows.device)
    return Groups(rows, known, none, torch.zeros_like(none))
