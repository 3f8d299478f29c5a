"""One exported forecaster: contexts in, a forecast out.

Shapes: B windows, R rows (windows and covariates), C context, H horizon.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .distribution import KINDS, quantiles_of
from .errors import ExportError
from .folder import Manifest
from .forecast import Forecast
from .rollout import ROLLOUTS, roll_out_deciles
from .scaling import Scaled, standardise, standardise_as_uni2ts, standardise_with_future
from .sessions import open_session
from .units import SMALLEST_OF_UNI2TS, in_safe_units
from .windows import Rows, Windows


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
        ahead = () if manifest.fixed else ("future", "group") if manifest.groups else ("patches",)
        if manifest.scaling == "uni2ts":
            ahead = ("missing", *ahead)
        self._graph = folder / manifest.graph
        self._session = open_session(self._graph, manifest.backend, threads, manifest.precision, ("context", *ahead))

    def predict(self, context: np.ndarray, steps: int) -> Forecast:
        """Forecast contexts ``[B, C]`` float64; beyond ``max_horizon`` by feeding forecasts back."""
        manifest = self.manifest
        if manifest.groups:
            return self.predict_together(Windows.of_context(context), steps)
        if steps <= manifest.max_horizon:
            return self._block(context, steps)
        return ROLLOUTS[manifest.rollout](self._block, context, steps, self._longest, manifest.max_context)

    def predict_together(self, windows: Windows, steps: int) -> Forecast:
        """Forecast windows with groups and covariates.

        Raises
        ------
        ExportError
            If the graph reads neither.
        """
        longest = self.manifest.max_context
        if not self.manifest.groups:
            raise ExportError(
                f"{self._graph}: was exported without groups and covariates; export the model again with"
                " `potstill export --groups`."
            )
        rows = windows.rows(steps, longest)

        def block(context: np.ndarray, count: int, done: int = 0) -> Forecast:
            paths = len(context) // len(rows.context)
            group = (rows.group[:, None] * paths + np.arange(paths)).ravel()  # a path sees only itself
            return self._rows_block(Rows(context, group, rows.future[:, done : done + count].repeat(paths, 0)), count)

        if steps <= self.manifest.max_horizon:
            found = block(rows.context, steps)
        else:
            found = roll_out_deciles(block, rows.context, steps, self._longest, longest, rows.future)
        return found.first(len(windows.context))

    def inputs(self, context: np.ndarray, steps: int) -> tuple[dict[str, np.ndarray], Scaled]:
        """What the graph reads to forecast contexts ``[B, C]``, and their scale."""
        manifest = self.manifest
        if manifest.scaling == "uni2ts":
            return self._inputs_of_uni2ts(context, steps)
        safe = in_safe_units(context[:, -manifest.max_context :])
        scaled = standardise(safe, manifest.constant_scale, manifest.rounding, manifest.arcsinh)
        ahead = {} if manifest.fixed else {"patches": np.zeros(self._patches(steps), np.float32)}
        return {"context": self._padded(scaled.values), **ahead}, scaled

    def _inputs_of_uni2ts(self, context: np.ndarray, steps: int) -> tuple[dict[str, np.ndarray], Scaled]:
        safe = in_safe_units(context[:, -self.manifest.max_context :], SMALLEST_OF_UNI2TS)
        scaled = standardise_as_uni2ts(safe)
        missing = ((safe.loc - scaled.loc) / scaled.scale).astype(np.float32)
        patches = np.zeros(self._patches(steps), np.float32)
        return {"context": self._padded(scaled.values), "missing": missing, "patches": patches}, scaled

    def inputs_of_rows(self, rows: Rows, steps: int) -> tuple[dict[str, np.ndarray], Scaled]:
        """As ``inputs``, with groups and values ahead."""
        manifest = self.manifest
        scaled, future = standardise_with_future(
            rows.context, rows.future, manifest.constant_scale, manifest.rounding, manifest.arcsinh
        )
        patches = self._patches(steps)
        short = patches * self._step - future.shape[1]
        future = np.pad(future, ((0, 0), (0, short)), constant_values=np.nan).reshape(len(future), patches, -1)
        return {"context": self._padded(scaled.values), "future": future, "group": rows.group}, scaled

    def fix_shapes(self, batch: int, context_length: int, steps: int) -> None:
        """Prepare the graph for one shape."""
        shapes = {"context": [batch, self._padded_length(context_length)]}  # in the order of ``inputs``
        if self.manifest.scaling == "uni2ts":
            shapes["missing"] = [batch, 1]
        if self.manifest.groups:
            shapes |= {"future": [batch, self._patches(steps), self._step], "group": [batch]}
        elif not self.manifest.fixed:
            shapes["patches"] = [self._patches(steps)]
        self._session.fix_shapes(shapes)

    @property
    def _longest(self) -> int:
        """Steps of the blocks of a roll-out, as in PyTorch: a full pass, or (``pooled``) what is asked of one."""
        if self.manifest.rollout == "pooled":
            return self.manifest.max_horizon
        return self._steps_of_graph(self.manifest.max_horizon)

    @property
    def _step(self) -> int:
        return self.manifest.horizon_multiple

    def _block(self, context: np.ndarray, steps: int, done: int = 0) -> Forecast:
        inputs, scaled = self.inputs(context, steps)
        return self._forecast(self._run(inputs, steps), scaled, steps)

    def _rows_block(self, rows: Rows, steps: int) -> Forecast:
        inputs, scaled = self.inputs_of_rows(rows, steps)
        passes = rows.passes()
        values = np.concatenate(
            [self._run({name: array[part] for name, array in inputs.items()}, steps) for part in passes]
        )
        back = np.argsort(np.concatenate(passes))
        return self._forecast(values[back], scaled, steps)

    def _run(self, inputs: dict[str, np.ndarray], steps: int) -> np.ndarray:
        values = self._session.run(inputs)
        kinds = self.manifest.distribution
        rows = len(kinds) + sum(KINDS[kind] for kind in kinds) if kinds else len(self.levels)
        self._check_shape(values, (len(inputs["context"]), rows, self._steps_of_graph(steps)))
        return values

    def _forecast(self, values: np.ndarray, scaled: Scaled, steps: int) -> Forecast:
        kinds = self.manifest.distribution
        if kinds:
            found = quantiles_of(values[..., :steps], kinds, self.manifest.student_t, self.levels)
            return Forecast(self.levels, np.arcsinh(found).astype(np.float32), scaled.loc, scaled.scale, True)
        return Forecast(self.levels, values[..., :steps], scaled.loc, scaled.scale, self.manifest.arcsinh)

    def _check_shape(self, values: np.ndarray, wanted: tuple[int, ...]) -> None:
        if values.shape != wanted:
            raise ExportError(
                f"{self._graph}: gives values of the shape {list(values.shape)}, and by export.json it is"
                f" {list(wanted)}; they are not of one export: export or copy the folder again."
            )

    def _steps_of_graph(self, steps: int) -> int:
        return self.manifest.max_horizon if self.manifest.fixed else self._patches(steps) * self._step

    def _padded(self, values: np.ndarray) -> np.ndarray:
        short = self._padded_length(values.shape[1]) - values.shape[1]
        return np.pad(values, ((0, 0), (short, 0)), constant_values=np.nan) if short else values

    def _padded_length(self, length: int) -> int:
        manifest = self.manifest
        step = manifest.context_multiple
        length = min(length, manifest.max_context)
        return manifest.max_context if manifest.fixed else -(-length // step) * step

    def _patches(self, steps: int) -> int:
        return -(-steps // self._step)
