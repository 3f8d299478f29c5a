"""Series that are forecast together, with their covariates, and the rows of a graph that they become.

The rules are those of the main package: ``families/chronos2/rows.py``.

Shapes: B windows, P past covariates, F covariates that are known ahead, K = P + F, C context, H horizon, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

PASS_ROWS = 64  # of one run of the graph, unless a group has more: attention within groups is quadratic in the rows


class Rows(NamedTuple):
    """What the graph reads, in input units.

    Attributes
    ----------
    context
        ``[R, C]`` float64: the windows first, in their order, then the covariates.
    group
        ``[R]`` int64: rows with the same id attend to one another.
    future
        ``[R, H]`` float64, NaN where unknown.
    """

    context: np.ndarray
    group: np.ndarray
    future: np.ndarray

    def passes(self) -> list[np.ndarray]:
        """The rows of each run of the graph: those of a group stay together."""
        order = np.argsort(self.group, kind="stable")
        begins = np.flatnonzero(np.diff(self.group[order], prepend=-1))
        ends = [*begins[1:].tolist(), len(order)]
        parts, first, last = [], 0, 0
        for end in ends:
            if last > first and end - first > PASS_ROWS:
                parts.append(order[first:last])
                first = last
            last = end
        return [*parts, order[first:last]]


@dataclass(frozen=True)
class Windows:
    """Contexts with groups and covariates.

    Attributes
    ----------
    context
        ``[B, C]`` float64, NaN where missing.
    group
        ``[B]`` int64, not negative: windows with the same id are forecast together.
    past_covariates
        ``[B, P, C]``: series over the same context whose future is unknown, or None; NaN is missing.
    future_covariates
        ``[B, F, C + H]``: series that are known over context and future, or None; NaN is missing.
    """

    context: np.ndarray
    group: np.ndarray
    past_covariates: np.ndarray | None = None
    future_covariates: np.ndarray | None = None

    @classmethod
    def of_context(cls, context: np.ndarray) -> Windows:
        """Windows of contexts ``[B, C]`` that are forecast each on its own."""
        return cls(context, np.arange(len(context)))

    @property
    def stands_alone(self) -> bool:
        """Whether every window is forecast only from its own context."""
        covariates = self.past_covariates is not None or self.future_covariates is not None
        return not covariates and len(np.unique(self.group)) == len(self.group)

    def rows(self, steps: int, longest: int) -> Rows:
        """A row for each window and covariate; only the newest ``longest`` steps of the contexts are kept.

        Covariates without any value are left out. So are those equal to the one that the group's first window has at
        the same index.
        """
        count, length = self.context.shape
        removed = max(length - longest, 0)
        context, future = self.context[:, removed:], np.full((count, steps), np.nan)
        series = self._covariates(length + steps)
        if series is None:
            return Rows(context, self.group, future)
        series = series[..., removed:]
        window, place = np.nonzero(self._distinct(series))
        found, kept = series[window, place].astype(np.float64), length - removed
        return Rows(
            np.concatenate([context, found[:, :kept]]),
            np.concatenate([self.group, self.group[window]]),
            np.concatenate([future, found[:, kept:]]),
        )

    def _covariates(self, end: int) -> np.ndarray | None:
        """``[B, K, end]``, NaN where unknown; None if there are no covariates."""
        present = [part[..., :end] for part in (self.past_covariates, self.future_covariates) if part is not None]
        short = [((0, 0), (0, 0), (0, end - part.shape[2])) for part in present]
        padded = [np.pad(part, pad, constant_values=np.nan) for part, pad in zip(present, short, strict=True)]
        return np.concatenate(padded, axis=1) if padded else None

    def _distinct(self, series: np.ndarray) -> np.ndarray:
        """``[B, K]`` bool: covariates that have a value and differ from those of the group's first window."""
        _, first, number = np.unique(self.group, return_index=True, return_inverse=True)
        leader = first[number]
        missing = np.isnan(series)
        same = ((series == series[leader]) | (missing & missing[leader])).all(axis=2)
        return ~missing.all(axis=2) & ~(same & (leader != np.arange(len(series)))[:, None])
