"""The report of a run folder, and its sentences: the page of forecasters or that of language models."""

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
from potstill.runs import write_atomically

LANGUAGE = "language"


def draw_report(run: Path) -> Path:
    """Draw ``run/report.html`` from what the run folder holds.

    Reads metrics.json, log.jsonl, recipe.yaml and forecasts.json (or, of language models, generations.json). Each may
    be absent (a run still in training, one without teacher or control): its part of the page is left out.

    Parameters
    ----------
    run
        The run's folder.

    Returns
    -------
    Path
        The report, written atomically.

    Raises
    ------
    UserError
        The folder holds neither figures nor a log, or a file in it is not what it should be.
    """
    run = Path(run)
    metrics, log = read_json(run / "metrics.json"), read_log(run / "log.jsonl")
    if not metrics and not log:
        raise UserError(f"{run}: holds neither metrics.json nor log.jsonl; give the folder of a run.")
    recipe = read_text(run / "recipe.yaml") or ""
    name = run.resolve().name or "run"
    # before there are figures, the recipe says what is in training
    if _is_language(metrics) or (not metrics and re.search(rf"^task: *{LANGUAGE}\b", recipe, re.MULTILINE)):
        text = language_page.render(name, metrics, log, recipe, read_json(run / "generations.json"))
    else:
        text = page.render(name, metrics, log, recipe, read_json(run / "forecasts.json"))
    write_atomically(run / "report.html", text)
    return run / "report.html"


def summary_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What a run came to, in plain words, most important first.

    Parameters
    ----------
    metrics
        The tree of metrics.json; any part may be absent.

    Returns
    -------
    list of str
        One sentence each. Never empty.
    """
    return (language_summary if _is_language(metrics) else summary).summary_lines(metrics)


def _is_language(metrics: Mapping[str, Any]) -> bool:
    return metrics.get("task") == LANGUAGE
