"""A mixture of exported forecasters: a router graph, and a folder for each expert.

Shapes: B windows, N experts, Q levels, H horizon.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import folder as folders
from .errors import ExportError
from .forecast import Forecast
from .model import ExportedModel
from .scaling import standardise
from .sessions import open_session
from .units import in_safe_units
from .windows import Windows

ROUTER_BACKEND = "onnx"


class ExportedMixture:
    """Forecasts each window by the experts that the router weights above 0; see :class:`ExportedModel`."""

    def __init__(self, folder: Path, manifest: folders.Manifest, threads: int | None):
        self.manifest = manifest
        self.levels = np.array(manifest.levels, np.float32)
        self._router = open_session(folder / manifest.graph, ROUTER_BACKEND, threads, "fp32", ("context",))
        self._experts: list[ExportedModel | ExportedMixture] = []
        for name in manifest.experts:
            place = folder / folders.EXPERTS_FOLDER / name
            own = folders.read_manifest(place)
            self._experts.append((ExportedMixture if own.experts else ExportedModel)(place, own, threads))

    def weights(self, context: np.ndarray) -> np.ndarray:
        """``[B, N]``: the weights with which the experts forecast these contexts ``[B, C]``."""
        length = self.manifest.max_router_context
        values = in_safe_units(context).values[:, -length:]
        short = length - values.shape[1]
        return self._router.run({"context": np.pad(values, ((0, 0), (short, 0)), constant_values=np.nan)})

    def predict(self, context: np.ndarray, steps: int) -> Forecast:
        """The weighted mean of the chosen experts' quantiles, in the scale of a standardised context."""
        if len(self._experts) == 1:
            return self._spread_out(self._experts[0].predict(context, steps))
        weights = self.weights(context)
        common = standardise(in_safe_units(context), 1e-5, rounding=True, arcsinh=True)
        total = np.zeros((len(context), len(self.levels), steps), np.float32)
        for number, expert in enumerate(self._experts):
            rows = np.flatnonzero(weights[:, number] > 0)
            if not len(rows):
                continue
            own = context[rows, -expert.manifest.max_context :]
            forecast = expert.predict(own, steps).at_levels(self.levels).at(common.loc[rows], common.scale[rows])
            total[rows] += forecast.values * weights[rows, number, None, None]
        return self._spread_out(Forecast(self.levels, total, common.loc, common.scale, True))

    def predict_together(self, windows: Windows, steps: int) -> Forecast:
        """Not supported.

        Raises
        ------
        ExportError
            Always.
        """
        raise ExportError(
            f"{self.manifest.name}: is a mixture, whose exported experts forecast each series on its own; leave groups"
            " and covariates out, or export one of its experts with `potstill export --groups`."
        )

    def fix_shapes(self, batch: int, context_length: int, steps: int) -> None:
        """Prepare all experts for one shape; with several series per batch, an expert reads fewer of them."""
        for expert in self._experts:
            expert.fix_shapes(batch, context_length, steps)

    def _spread_out(self, forecast: Forecast) -> Forecast:
        if self.manifest.spread == 1:
            return forecast
        middle = int(np.abs(forecast.levels - 0.5).argmin())
        centre = forecast.values[:, middle, None]
        values = centre + np.float32(self.manifest.spread) * (forecast.values - centre)
        return Forecast(forecast.levels, values, forecast.loc, forecast.scale, forecast.arcsinh)
