"""The result of the runtime.

Shapes: B windows, Q levels, H horizon steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import arithmetic


@dataclass
class Forecast:
    """Quantiles of each window's future.

    Attributes
    ----------
    levels
        ``[Q]`` float32, ascending, in (0, 1).
    values
        ``[B, Q, H]`` float32: ``(x - loc) / scale``, and the arcsinh of that where ``arcsinh`` is set.
    loc, scale
        ``[B, 1]`` float64.
    arcsinh
        Whether ``values`` are in arcsinh space.
    """

    levels: np.ndarray
    values: np.ndarray
    loc: np.ndarray
    scale: np.ndarray
    arcsinh: bool

    @property
    def quantiles(self) -> np.ndarray:
        """``[B, Q, H]`` float64 in the units of the contexts, sorted along Q."""
        return arithmetic.increasing(self.in_units())

    @property
    def mean(self) -> np.ndarray:
        """``[B, H]``: the mean of the quantile function."""
        return arithmetic.mean_of_quantiles(self.quantiles, self.levels)

    def in_units(self) -> np.ndarray:
        """As ``quantiles``, but not sorted."""
        return arithmetic.unscale(self.values, self.loc, self.scale, self.arcsinh)

    def at_levels(self, levels: Sequence[float] | np.ndarray) -> Forecast:
        """The same forecast at other levels, interpolated linearly, constant beyond the outermost ones."""
        wanted = np.asarray(levels, np.float32)
        values = arithmetic.sort(self.values, 1)
        if wanted.shape == self.levels.shape and np.allclose(wanted, self.levels, rtol=0, atol=1e-6):
            return replace(self, values=values, levels=wanted)
        return replace(self, values=arithmetic.interpolate_levels(values, self.levels, wanted), levels=wanted)

    def first(self, rows: int) -> Forecast:
        """The forecasts of the first windows."""
        return replace(self, values=self.values[:rows], loc=self.loc[:rows], scale=self.scale[:rows])

    def at(self, loc: np.ndarray, scale: np.ndarray) -> Forecast:
        """The same forecast with another offset and scale, in arcsinh space."""
        return Forecast.of_units(self.levels, self.in_units(), loc, scale)

    @classmethod
    def of_units(cls, levels: np.ndarray, quantiles: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> Forecast:
        """A forecast from quantiles ``[B, Q, H]`` in units of the contexts, in arcsinh space."""
        values = np.arcsinh((quantiles - loc[:, :, None]) / scale[:, :, None])
        return cls(levels, values.astype(np.float32), loc, scale, True)
