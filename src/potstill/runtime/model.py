"""One exported forecaster: contexts in, a forecast out.

Shapes: B windows, C context, H horizon.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .errors import ExportError
from .folder import Manifest
from .forecast import Forecast
from .rollout import ROLLOUTS
from .scaling import Scaled, standardise
from .sessions import open_session
from .units import in_safe_units


class ExportedModel:
    """A graph with the scaling, padding and roll-out around it.

    Parameters
    ----------
    folder, manifest
        The exported folder and its description.
    threads
        Threads of a run; None: the library's default.
    """

    def __init__(self, folder: Path, manifest: Manifest, threads: int | None):
        self.manifest = manifest
        self.levels = np.array(manifest.levels, np.float32)
        inputs = ("context",) if manifest.fixed else ("context", "patches")
        self._graph = folder / manifest.graph
        self._session = open_session(self._graph, manifest.backend, threads, manifest.precision, inputs)

    def predict(self, context: np.ndarray, steps: int) -> Forecast:
        """Forecast contexts ``[B, C]`` float64; beyond ``max_horizon`` by feeding forecasts back."""
        manifest = self.manifest
        if steps <= manifest.max_horizon:
            return self._block(context, steps)
        return ROLLOUTS[manifest.rollout](self._block, context, steps, self._longest, manifest.max_context)

    def inputs(self, context: np.ndarray, steps: int) -> tuple[dict[str, np.ndarray], Scaled]:
        """What the graph reads to forecast contexts ``[B, C]``, and their scale."""
        manifest = self.manifest
        safe = in_safe_units(context[:, -manifest.max_context :])
        scaled = standardise(safe, manifest.constant_scale, manifest.rounding, manifest.arcsinh)
        short = self._padded_length(safe.values.shape[1]) - safe.values.shape[1]
        values = np.pad(scaled.values, ((0, 0), (short, 0)), constant_values=np.nan) if short else scaled.values
        ahead = {} if manifest.fixed else {"patches": np.zeros(self._patches(steps), np.float32)}
        return {"context": values, **ahead}, scaled

    def fix_shapes(self, batch: int, context_length: int, steps: int) -> None:
        """Prepare the graph for one shape."""
        shapes = {"context": [batch, self._padded_length(context_length)]}
        if not self.manifest.fixed:
            shapes["patches"] = [self._patches(steps)]
        self._session.fix_shapes(shapes)

    @property
    def _longest(self) -> int:
        """Steps of the blocks of a roll-out: what a full pass gives, as in PyTorch."""
        return self._steps_of_graph(self.manifest.max_horizon)

    @property
    def _step(self) -> int:
        return self.manifest.horizon_multiple

    def _block(self, context: np.ndarray, steps: int) -> Forecast:
        inputs, scaled = self.inputs(context, steps)
        values = self._session.run(inputs)
        self._check_shape(values, (len(context), len(self.levels), self._steps_of_graph(steps)))
        return Forecast(self.levels, values[..., :steps], scaled.loc, scaled.scale, self.manifest.arcsinh)

    def _check_shape(self, values: np.ndarray, wanted: tuple[int, ...]) -> None:
        if values.shape != wanted:
            raise ExportError(
                f"{self._graph}: gives values of the shape {list(values.shape)}, and by export.json it is"
                f" {list(wanted)}; they are not of one export: export or copy the folder again."
            )

    def _steps_of_graph(self, steps: int) -> int:
        return self.manifest.max_horizon if self.manifest.fixed else self._patches(steps) * self._step

    def _padded_length(self, length: int) -> int:
        manifest = self.manifest
        step = manifest.context_multiple
        length = min(length, manifest.max_context)
        return manifest.max_context if manifest.fixed else -(-length // step) * step

    def _patches(self, steps: int) -> int:
        return -(-steps // self._step)
