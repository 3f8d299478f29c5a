"""Load an exported model and forecast.

Shapes: B windows, C context, Q levels.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .checks import check_finite, levels_of, whole_number
from .contexts import contexts_of
from .experts import ExportedMixture
from .folder import EXPERTS_FOLDER, Manifest, read_manifest
from .forecast import Forecast
from .items import are_items, windows_of
from .model import ExportedModel

MAX_STEPS = 100_000  # of a forecast
MAX_THREADS = 1024


class Runtime:
    """An exported model; forecasts from any number of threads.

    Parameters
    ----------
    folder
        A folder written by ``potstill export``.
    threads
        Threads of a forecast; default: the library's, all cores.

    Attributes
    ----------
    manifest
        The content of ``export.json``.
    model
        What forecasts, from arrays that are checked.

    Raises
    ------
    ExportError
        If the folder is not complete, is damaged, or was written by a newer version.
    """

    def __init__(self, folder: str | Path, threads: int | None = None):
        self.folder = Path(folder)
        self.manifest: Manifest = read_manifest(self.folder)
        threads = None if threads is None else whole_number("threads", threads, MAX_THREADS)
        kind = ExportedMixture if self.manifest.experts else ExportedModel
        self.model = kind(self.folder, self.manifest, threads)

    @property
    def levels(self) -> np.ndarray:
        """``[Q]`` float32: the quantile levels of its forecasts."""
        return self.model.levels

    @property
    def files(self) -> list[Path]:
        """The files of the graph, and those of a mixture's experts."""
        own = [self.folder / name for name in self.manifest.files]
        experts = (self.folder / EXPERTS_FOLDER / name for name in self.manifest.experts)
        return own + [place / name for place in experts for name in read_manifest(place).files]

    def predict(
        self,
        contexts: Any,
        prediction_length: int | None = None,
        *,
        quantiles: Sequence[float] | None = None,
        batch_size: int = 256,
        groups: Sequence[Hashable] | None = None,
    ) -> Forecast:
        """Forecast one or many series.

        Parameters
        ----------
        contexts
            ``[C]``, ``[B, C]``, or a list of series of any lengths; NaN where a value is missing. A model exported
            with ``--groups`` also reads a list of dictionaries as chronos-forecasting does: ``target`` (``[C]``, or
            several series ``[V, C]`` that are forecast together), ``past_covariates`` (``[C]`` by name) and
            ``future_covariates`` (``[prediction_length]`` by name, for some of these names). All are numbers.
        prediction_length
            Steps ahead; default: the longest horizon of one pass. Beyond it the model's own forecasts are fed back.
        quantiles
            Levels in (0, 1); default: the model's own.
        batch_size
            Series per pass. With groups and covariates passes are smaller, and a group is never split.
        groups
            An id for each series or dictionary: those with the same id are forecast together.

        Returns
        -------
        Forecast
            ``.quantiles`` is ``[B, Q, prediction_length]`` float64 in the units of the contexts; B counts the series of
            all targets, in their order.

        Raises
        ------
        ExportError
            If the contexts are not numbers, an option is out of range, or the model was exported without groups.
        NotFinite
            An ExportError: the forecast of a context with at least one value is NaN or infinite.
        """
        steps = self.manifest.max_horizon if prediction_length is None else prediction_length
        steps = whole_number("prediction_length", steps, MAX_STEPS)
        size = whole_number("batch_size", batch_size)
        levels = None if quantiles is None else levels_of(quantiles)
        if groups is not None or are_items(contexts):
            windows = windows_of(contexts, groups, self.manifest.max_context, steps)
            context = windows.context
        else:
            windows, context = None, contexts_of(contexts, self.manifest.max_context)
        if windows is None or windows.stands_alone:
            parts = [self.model.predict(context[start : start + size], steps) for start in range(0, len(context), size)]
            forecast = parts[0] if len(parts) == 1 else _joined(parts)
        else:
            forecast = self.model.predict_together(windows, steps)
        check_finite(forecast, context)
        return forecast if levels is None else forecast.at_levels(levels)

    def fix_shapes(self, batch: int, context_length: int, prediction_length: int) -> None:
        """Prepare for one shape, which OpenVINO then computes faster; other shapes still work.

        Parameters
        ----------
        batch, context_length, prediction_length
            The number of series, their length, and the steps ahead.
        """
        self.model.fix_shapes(batch, context_length, prediction_length)


def _joined(parts: list[Forecast]) -> Forecast:
    values, loc, scale = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "loc", "scale")
    )
    return Forecast(parts[0].levels, values, loc, scale, parts[0].arcsinh)
