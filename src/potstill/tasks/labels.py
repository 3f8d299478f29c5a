"""Store a forecaster's forecasts of the training windows of a run, with progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.console import progress_bar, say
from potstill.teaching.engines.forecasts import label_forecasts
from potstill.teaching.engines.progress import LabelProgress
from potstill.teaching.stores.forecasts import ForecastStore


def store_forecasts(
    forecaster: Any, dataset: Any, folder: Path, what: str = "Labelling", **options: Any
) -> ForecastStore:
    """Label all windows of a data set; ``options`` as in ``label_forecasts``. Shows rate and time left."""
    with progress_bar(what) as advance:

        def show(progress: LabelProgress) -> None:
            advance(progress.done, progress.total - progress.kept, "")

        store = label_forecasts(forecaster, dataset, folder, progress=show, **options)
    say(f"{store.labelled():,} windows labelled in {folder}")
    return store
