"""Convert windows with groups and covariates to the rows that Chronos-2 reads, where each covariate is one row.

Shapes: B windows, P past covariates, F known-future covariates, K = P + F, C context, H horizon, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from potstill.types import Windows


@dataclass
class Rows:
    """The inputs of upstream's ``Chronos2Model.encode``.

    Attributes
    ----------
    context
        ``[R, C]``: the windows' contexts first, in their order, then the covariates.
    group
        ``[R]``: rows with the same id attend to one another.
    future
        ``[R, H]``: NaN where unknown, which includes all rows of windows; None if no row has a known future.
    """

    context: Tensor
    group: Tensor
    future: Tensor | None


def rows_of(windows: Windows, horizon: int) -> Rows:
    """Convert windows to rows: a covariate is in its window's group; windows without group ids form one group each.

    Covariates without any value are left out. So are covariates equal to the one that the group's first window has at
    the same index, because windows of one group often have the same covariates.
    """
    count = len(windows)
    group = windows.group if windows.group is not None else torch.arange(count, device=windows.context.device)
    series = _covariates(windows, horizon)
    if series is None:
        return Rows(windows.context, group, None)
    window, place = _distinct(series, group).nonzero(as_tuple=True)
    length = windows.context.shape[1]
    future = series.new_full((count, horizon), torch.nan)
    return Rows(
        torch.cat([windows.context, series[window, place, :length]]),
        torch.cat([group, group[window]]),
        None if windows.future_covariates is None else torch.cat([future, series[window, place, length:]]),
    )


def _covariates(windows: Windows, horizon: int) -> Tensor | None:
    """``[B, K, C + H]``, NaN where unknown; None if there are no covariates."""
    end = windows.context.shape[1] + horizon
    present = [part for part in (windows.past_covariates, windows.future_covariates) if part is not None]
    parts = [
        torch.nn.functional.pad(part[..., :end], (0, max(end - part.shape[2], 0)), value=torch.nan) for part in present
    ]
    return torch.cat(parts, dim=1) if parts else None


def _distinct(series: Tensor, group: Tensor) -> Tensor:
    """``[B, K]`` bool: covariates that have a value and differ from those of the group's first window."""
    rows = torch.arange(len(series), device=series.device)
    _, number = group.unique(return_inverse=True)
    first = rows.new_full((len(rows),), len(rows)).scatter_reduce(0, number, rows, "amin")[number]
    missing = series.isnan()
    same = ((series == series[first]) | (missing & missing[first])).all(dim=2)
    return ~missing.all(dim=2) & ~(same & (first != rows)[:, None])
