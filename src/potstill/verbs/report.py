"""``potstill report``: draw a run's report again from its own files."""

from __future__ import annotations

from pathlib import Path

from potstill.errors import UserError
from potstill.reporting import draw_report


def report(run: str | Path) -> Path:
    """Draw ``RUN/report.html`` from metrics.json, log.jsonl, forecasts.json and recipe.yaml; returns its path."""
    folder = Path(run)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such run; give the folder that `potstill distill` or `potstill evaluate` wrote.")
    return draw_report(folder)
