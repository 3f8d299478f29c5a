"""``potstill report``: write a run's report again from its files."""

from __future__ import annotations

from pathlib import Path

from potstill.errors import UserError
from potstill.reporting import draw_report
from potstill.runs import output_path


def report(run: str | Path) -> Path:
    """Write ``RUN/report.html`` from metrics.json, log.jsonl, forecasts.json and recipe.yaml; returns its path."""
    folder = output_path(run)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; give the folder of a `potstill distill` or `potstill evaluate` run.",
            key="run.not_found",
        )
    return draw_report(folder)
