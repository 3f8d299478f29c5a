"""The validation windows on which an export is calibrated and compared with PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from potstill.data.series.from_argument import store_of
from potstill.data.series.store import Store
from potstill.data.series.windows import SeriesWindows, require_windows
from potstill.data.synthetic import generate
from potstill.errors import UserError
from potstill.evaluation.histories import Histories
from potstill.evaluation.selection import pasts, select_windows
from potstill.exporting.calibration import Calibration
from potstill.families.base import Forecaster
from potstill.recipe import ForecastEvaluation, Recipe, SeriesData
from potstill.recipe.notation import parse_source
from potstill.runs import RECIPE_FILE, run_of

SERIES, STEPS = 64, 1200  # generated where there is no data
WINDOWS = 200  # per data set
CALIBRATION_WINDOWS = 960
RELATED_COLUMNS = {"id_column": ["group", "unique_id"], "groups": "group", "known": ["known"], "past": ["past"]}


@dataclass(frozen=True)
class Validation:
    """Windows of the validation part.

    Attributes
    ----------
    windows, train
        Of the validation part, and of the training part (for scales).
    config
        How windows are selected.
    origin
        Where the data are from, for the report.
    """

    windows: SeriesWindows
    train: SeriesWindows
    config: ForecastEvaluation
    origin: str

    def sample(self, count: int) -> Calibration:
        """About ``count`` of the windows, evenly spread over the data sets."""
        histories, names = Histories(self.windows.store), self.windows.store.datasets
        parts = []
        for place, name in enumerate(names):
            part = select_windows(self.windows, name, self.config, histories)
            rows = part.subset(max(count // len(names), 1))
            if len(rows):
                past = pasts(part, histories, self.windows.prediction_length, rows)
                parts.append((part.ids[rows], np.full(len(rows), place), past.scale))
        if not parts:
            raise UserError(
                f"{self.origin}: no window can be scored, because the series are constant, exactly periodic or too"
                " short; name other series with --data.",
                key="export.no_windows",
            )
        ids, dataset, scale = (np.concatenate(one) for one in zip(*parts, strict=True))
        batch = self.windows.batch(ids)
        past, known = (
            None if part is None else part.double().numpy() for part in (batch.past_covariates, batch.future_covariates)
        )
        return Calibration(batch.context.double().numpy(), batch.future.double().numpy(), dataset, scale, past, known)


def validation_of(model: Forecaster, data: Any, fit: Any, groups: bool = False) -> Validation:
    """The validation windows of the data, of the model's own run, or of generated series.

    Parameters
    ----------
    model
        The forecaster that is exported.
    data
        Paths, a data frame or a data section; None: those of the run that the model belongs to.
    fit
        Maps data settings and a store to settings that the model supports.
    groups
        Whether the windows have the groups and covariates that the data section names; generated series have both.

    Raises
    ------
    UserError
        If there is no window.
    """
    data, columns, origin = _source(model, data, groups)
    store, settings = store_of(data, **columns)
    settings = fit(settings, store)
    windows = SeriesWindows(store, settings, "validation", stride=1)
    require_windows(windows)
    config = ForecastEvaluation(split="validation", max_windows=WINDOWS, baselines=[])
    single = groups and not _related(settings)
    note = ", without groups and covariates (name some with --known, --past or --set data.groups)" if single else ""
    return Validation(windows, SeriesWindows(store, settings, "train"), config, f"{origin}{_size(store)}{note}")


def _source(model: Forecaster, data: Any, groups: bool) -> tuple[Any, dict[str, Any], str]:
    """The data, the columns of generated data, and where the data are from.

    Without ``groups`` covariates are left out, because a graph of single series cannot use them.
    """
    section = (lambda one: one) if groups else _without_covariates
    if data is not None:
        return section(data) if isinstance(data, SeriesData) else data, {}, "validation part of the data"
    run = run_of(parse_source(str(model.source.location))[0])
    reason = " (name real ones with --data)"
    if run is not None:
        recipe: Any = Recipe.read(run / RECIPE_FILE)
        missing = [path for path in recipe.data.paths if not Path(path).exists()]
        if not missing:
            return section(recipe.data), {}, f"validation part of {run.name}"
        reason = f", because {Path(missing[0]).name} of the run is not there any more"
    columns = RELATED_COLUMNS if groups else {}
    return _generated(groups), columns, f"generated series{reason}"


def _related(data: SeriesData) -> bool:
    return bool(data.known or data.past or data.groups)


def _without_covariates(data: SeriesData) -> SeriesData:
    return data.model_copy(update={"known": [], "past": [], "groups": None})


def _size(store: Store) -> str:
    return f": {len(store.datasets)} data set{'s' * (len(store.datasets) != 1)}, {len(store.names):,} series"


def _generated(groups: bool) -> Any:
    """A table of series; with ``groups`` in groups of four, with a covariate that is known ahead and a past one."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([f"generated-{place}" for place in range(SERIES)], STEPS),
            "ds": np.tile(np.arange(STEPS), SERIES),
            "y": generate(0, np.arange(SERIES), STEPS).ravel(),
        }
    )
    if not groups:
        return frame
    known, past = generate(0, np.arange(SERIES, 3 * SERIES), STEPS).reshape(2, -1)
    group = [f"group-{place // 4}" for place in range(SERIES)]
    return frame.assign(group=np.repeat(group, STEPS), known=known, past=past)
