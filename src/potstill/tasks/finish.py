"""The end of a run: measure everything in one go, write the card, the figures and the report, say what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potstill.console import say
from potstill.data.series.windows import SeriesWindows, require_windows
from potstill.evaluation.benchmark import evaluate_models, progress_bar
from potstill.evaluation.cost import measure_costs
from potstill.reporting import draw_report, summary_lines
from potstill.runs import write_atomically, write_json
from potstill.tasks.card import card
from potstill.tasks.forecasting import Setup
from potstill.tasks.provenance import provenance


def finish(setup: Setup, run: Path, models: Mapping[str, Any]) -> None:
    """Evaluate the run's models on the test part and write metrics.json, forecasts.json, the card and report.html."""
    recipe = setup.recipe
    windows = SeriesWindows(setup.store, recipe.data, recipe.evaluation.split, stride=1)
    require_windows(windows)
    with progress_bar("Evaluating") as progress:
        found = evaluate_models(
            models, windows, setup.windows, recipe.evaluation.baselines, recipe.evaluation, progress=progress
        )
    folders = {name: run / name for name in models if (run / name).is_dir()}
    metrics = found.to_dict()
    metrics["account"] = {**metrics["account"], "data": windows.report.to_dict()}
    say("Measuring costs")
    metrics["cost"] = measure_costs(models, recipe.data.context_length, recipe.data.prediction_length)
    metrics["provenance"] = provenance(setup)
    write_json(run / "metrics.json", metrics)
    write_json(run / "forecasts.json", found.examples)
    for name in folders:
        write_atomically(run / name / "README.md", card(setup, name, metrics))
    path = draw_report(run)
    say("", *summary_lines(metrics), f"Student  {run / 'student'}", f"Report   {path}")
