"""The report and the summary of a run folder: of forecasters or of language models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.reporting import page, summary
from potstill.reporting.inputs import read_json, read_log, read_text
from potstill.reporting.language import page as language_page
from potstill.reporting.language import summary as language_summary
from potstill.runs import METRICS_FILE, RECIPE_FILE, write_atomically

LANGUAGE_TASK = "language"


def draw_report(run: Path) -> Path:
    """Write ``run/report.html`` from the files of the run folder.

    Reads metrics.json, log.jsonl, recipe.yaml and forecasts.json (generations.json for language models). If a file is
    absent (the run is still in training, or has no teacher or control), its part of the page is left out.

    Parameters
    ----------
    run
        The run's folder.

    Returns
    -------
    Path
        The path of the report, which is written atomically.

    Raises
    ------
    UserError
        When the folder has neither metrics nor a log, or a file in it is invalid.
    """
    run = Path(run)
    metrics, log = read_json(run / METRICS_FILE), read_log(run / "log.jsonl")
    if not metrics and not log:
        raise UserError(
            f"{run}: has neither metrics.json nor log.jsonl; give the folder of a run.", key="report.no_such_run"
        )
    recipe = read_text(run / RECIPE_FILE) or ""
    name = run.resolve().name or "run"
    # before there are metrics, the recipe names the task
    if _is_language(metrics) or (not metrics and re.search(rf"^task: *{LANGUAGE_TASK}\b", recipe, re.MULTILINE)):
        text = language_page.render(name, metrics, log, recipe, read_json(run / "generations.json"))
    else:
        text = page.render(name, metrics, log, recipe, read_json(run / "forecasts.json"))
    write_atomically(run / "report.html", text)
    return run / "report.html"


def summary_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The results of a run in sentences, most important first.

    Parameters
    ----------
    metrics
        The content of metrics.json; any part may be absent.

    Returns
    -------
    list of str
        One sentence each. Never empty.
    """
    return (language_summary if _is_language(metrics) else summary).summary_lines(metrics)


def _is_language(metrics: Mapping[str, Any]) -> bool:
    return metrics.get("task") == LANGUAGE_TASK
