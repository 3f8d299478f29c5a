"""The output of every forecaster: quantiles of each window's future.

Shapes: B windows, H horizon steps, Q quantile levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from potstill.runtime import arithmetic

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


@dataclass
class Forecast:
    """The output of every forecaster: quantiles of each window's future.

    Attributes
    ----------
    levels
        ``[Q]`` float32, ascending, in (0, 1).
    values
        ``[B, Q, H]`` quantiles in the context's scale: ``(x - loc) / scale``, and the arcsinh of that where
        ``arcsinh`` is set. fp32 when computed, fp16 in stores.
    loc, scale
        ``[B, 1]`` float64, which keeps the precision of series with a large mean and a small spread.
    arcsinh
        Whether arcsinh was applied to ``values`` after scaling (as in Chronos-2).
    double
        Whether ``quantiles`` are float64, as the contexts were: float32 keeps nothing of a signal of 3 on a level of
        2e9.
    """

    levels: Tensor
    values: Tensor
    loc: Tensor
    scale: Tensor
    arcsinh: bool = False
    double: bool = False

    @property
    def quantiles(self) -> Tensor:
        """``[B, Q, H]`` float32 (float64 if ``double``) on the CPU, in the units of the contexts, sorted along Q."""
        return arithmetic.increasing(self.in_units())

    def in_units(self) -> Tensor:
        """As ``quantiles``, but not sorted: as the model gave them, they may cross."""
        values = arithmetic.unscale(self.values.detach(), self.loc, self.scale, self.arcsinh).cpu()
        return values if self.double else values.float()

    @property
    def mean(self) -> Tensor:
        """``[B, H]`` on the CPU, in units and precision of ``quantiles``: the mean of the quantile function.

        It is interpolated linearly between the levels and constant beyond the outermost ones.
        """
        mean = arithmetic.mean_of_quantiles(self.quantiles.double(), self.levels.cpu())
        return mean if self.double else mean.float()

    def at_levels(self, levels: Tensor) -> Forecast:
        """The same forecast at other levels: sorted, interpolated linearly, constant beyond the outermost levels."""
        import torch

        own = self.levels.to(self.values.device, torch.float32)
        levels = levels.to(own)
        values = arithmetic.sort(self.values.float(), 1)
        # on a GPU comparing would wait for the device, and interpolation gives the same values at the same levels
        if own.device.type == "cpu" and own.shape == levels.shape and torch.allclose(own, levels, atol=1e-6):
            return replace(self, values=values, levels=levels)
        return replace(self, values=arithmetic.interpolate_levels(values, own, levels), levels=levels)

    def in_scale_of(self, other: Forecast) -> Forecast:
        """The same forecast with another forecast's loc, scale and arcsinh (computed in float64)."""
        same = self.loc is other.loc and self.scale is other.scale and self.arcsinh == other.arcsinh
        if same:
            return self
        values = self.values.double()
        values = values.sinh() if self.arcsinh else values
        loc, scale = other.loc.to(values.device), other.scale.to(values.device)
        raw = values * self.scale.to(values.device)[:, :, None] + self.loc.to(values.device)[:, :, None]
        values = (raw - loc[:, :, None]) / scale[:, :, None]
        values = values.asinh() if other.arcsinh else values
        return replace(self, values=values.float(), loc=loc, scale=scale, arcsinh=other.arcsinh)

    def scaled(self, x: Tensor) -> Tensor:
        """Map ``x [B, H]`` from input units into the space of ``values``."""
        z = (x.double() - self.loc.to(x.device)) / self.scale.to(x.device)
        return (z.asinh() if self.arcsinh else z).float()

    def linear(self) -> Forecast:
        """The same forecast without ``arcsinh``: ``values`` differ from input units only by loc and scale."""
        return replace(self, values=self.values.float().sinh(), arcsinh=False) if self.arcsinh else self

    def widened(self, factor: Tensor) -> Forecast:
        """The same forecast with the distances of all quantiles from the median multiplied by ``factor [B]``.

        The distances are those in the units of the input.
        """
        import torch

        linear = self.linear()
        median = linear.at_levels(torch.tensor([0.5])).values
        factor = factor.to(median)[:, None, None]
        values = median + factor * (linear.values.float() - median)
        return replace(self, values=values.asinh() if self.arcsinh else values)

    def to_frame(self, ids: Sequence[Any] | None = None, times: Any = None) -> pd.DataFrame:
        """A long table with a row for each window and step.

        Parameters
        ----------
        ids
            ``B`` values of the column ``unique_id``; default: 0, 1, ….
        times
            Values of the column ``ds``, ``[H]`` for all windows or ``[B, H]``; default: the steps 1, 2, ….

        Returns
        -------
        pandas.DataFrame
            ``unique_id``, ``ds``, and a column for each level, such as ``q0.1``.

        Raises
        ------
        ValueError
            If there are more or fewer ids or times than windows and steps.
        """
        import numpy as np
        import pandas as pd

        quantiles = self.quantiles.numpy()
        windows, _, steps = quantiles.shape
        rows = list(range(windows)) if ids is None else list(ids)
        if len(rows) != windows:
            raise ValueError(f"ids: {len(rows)} for {windows} windows; give one for each")
        if times is None:
            stamps = pd.Index(np.tile(np.arange(1, steps + 1), windows))
        elif np.shape(times) == (steps,):
            stamps = pd.Index(times).take(np.tile(np.arange(steps), windows))
        elif np.shape(times) == (windows, steps):
            stamps = pd.Index(np.asarray(times).ravel())
        else:
            raise ValueError(f"times: have the shape {list(np.shape(times))}; give [{steps}] or [{windows}, {steps}]")
        frame = pd.DataFrame({"unique_id": pd.Series(rows).repeat(steps).reset_index(drop=True), "ds": stamps})
        levels = [f"q{round(level, 6):g}" for level in self.levels.tolist()]
        return frame.assign(**{name: quantiles[:, q].ravel() for q, name in enumerate(levels)})

    def plot(self, context: Any = None, *, window: int = 0, truth: Any = None, axes: Any = None) -> Any:
        """Draw one window's forecast: the median, and a band for each pair of levels.

        Parameters
        ----------
        context, truth
            The values before, ``[C]``, and the values that followed, ``[H]``; drawn if given.
        window
            Which window.
        axes
            matplotlib axes to draw on; default: new ones.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        import numpy as np

        if axes is None:
            try:
                from matplotlib import pyplot
            except ImportError:
                raise ModuleNotFoundError("plot needs matplotlib; run `pip install matplotlib`") from None
            axes = pyplot.subplots()[1]
        quantiles = self.quantiles[window].numpy()
        steps = np.arange(1, quantiles.shape[1] + 1)
        if context is not None:
            past = np.asarray(context, dtype=float).reshape(-1)
            axes.plot(np.arange(1 - len(past), 1), past, color="black", label="history")
        for low in range(len(quantiles) // 2):
            label = f"{self.levels[low]:g} to {self.levels[-1 - low]:g}"
            axes.fill_between(steps, quantiles[low], quantiles[-1 - low], color="tab:blue", alpha=0.15, label=label)
        middle = int((self.levels - 0.5).abs().argmin())
        axes.plot(steps, quantiles[middle], color="tab:blue", label="median")
        if truth is not None:
            axes.plot(steps, np.asarray(truth, dtype=float).reshape(-1), color="black", linestyle=":", label="truth")
        axes.legend()
        return axes

    def take(self, rows: Any) -> Forecast:
        """The forecasts of some windows, by index."""
        return replace(self, values=self.values[rows], loc=self.loc[rows], scale=self.scale[rows])

    def first_steps(self, horizon: int) -> Forecast:
        """The forecast of the first ``horizon`` steps, or of all steps if it has fewer."""
        return self if horizon >= self.values.shape[2] else replace(self, values=self.values[..., :horizon])
