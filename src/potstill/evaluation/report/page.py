"""The page: one HTML file that holds everything it shows and asks for nothing from outside.

The page is a Jinja template with its style and scripts inlined. Text is escaped by Jinja, the script's data is JSON
inside a non-executed element, and a content security policy allows only the script and style whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.evaluation.report import summary
from potstill.evaluation.report.charts import chart_data, styles
from potstill.evaluation.report.figures import OVERALL, Figures, compact, display_name
from potstill.evaluation.report.inputs import read_json, read_log, read_text
from potstill.evaluation.report.scatter import COSTS
from potstill.evaluation.report.summary import Comparison
from potstill.evaluation.report.tree import present
from potstill.runs import write_atomically

SCRIPTS = ("chart.js", "curves.js", "forecasts.js", "scatter.js", "tables.js", "page.js")
LEADING = ("teachers", "models", "data", "seed", "versions", "hardware", "finished", "command")


def draw_report(run: Path) -> Path:
    """Draw ``run/report.html`` from what the run folder holds.

    Reads metrics.json, log.jsonl, recipe.yaml and forecasts.json. Each may be absent (a run still in training, one
    without teacher or control): its part of the page is left out.

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
    write_atomically(run / "report.html", render(name, metrics, log, recipe, read_json(run / "forecasts.json")))
    return run / "report.html"


def render(
    name: str,
    metrics: Mapping[str, Any],
    log: Sequence[Mapping[str, Any]],
    recipe: str,
    forecasts: Mapping[str, Any],
) -> str:
    """The page as text; a pure function of what the run folder holds."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    figures = Figures(metrics)
    style, script = _part("report.css"), "\n".join(_part(part) for part in SCRIPTS)
    environment = Environment(
        loader=PackageLoader("potstill.evaluation.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"compact": compact, "label": display_name, "tight": _tight}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    data = chart_data(figures, log, forecasts)
    comparisons = summary.comparisons(figures)
    return environment.get_template("report.html.j2").render(
        name=name,
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}",
        figures=figures,
        headline=summary.headline(figures) if metrics else "Still in training: nothing was evaluated yet.",
        claims=summary.claims(figures),
        comparisons=[(comparison, _bar(comparison, comparisons)) for comparison in comparisons],
        cautions=summary.cautions(figures),
        subtitle=_subtitle(figures),
        data=data,
        costs=_costs(figures),
        retention=_retention(figures),
        styles=styles(figures.costed),
        account=present(metrics["account"], grouped=True, first=("data", "datasets"))
        if metrics.get("account")
        else None,
        provenance=present(metrics["provenance"], first=LEADING) if metrics.get("provenance") else None,
        recipe=recipe,
    )


def _subtitle(figures: Figures) -> str:
    sets = figures.datasets
    where = f"{len(sets)} data sets" if len(sets) > 3 else ", ".join(sets)
    sizes = [
        f"{display_name(name)} {compact(size)}"
        for name in (figures.teacher, figures.subject)
        if name and (size := figures.cost(name, "parameters")) is not None
    ]
    return " · ".join(part for part in (" → ".join(sizes), where) if part)


def _bar(comparison: Comparison, all_of_them: Sequence[Comparison]) -> dict[str, float]:
    """Positions in percent along a bar: no difference, the difference, and its interval where there is one."""
    intervals = [c.interval for c in all_of_them if c.interval]
    ends = [c.change for c in all_of_them] + [end - 1 for span in intervals for end in (span.low, span.high)]
    low, high = min(*ends, -0.02), max(*ends, 0.02)
    places = {"zero": 0.0, "end": comparison.change}
    if comparison.interval:
        places |= {"low": comparison.interval.low - 1, "high": comparison.interval.high - 1}
    return {key: round(1 + 98 * (change - low) / (high - low), 2) for key, change in places.items()}


def _costs(figures: Figures) -> dict[str, Any]:
    known = [key for key in COSTS if any(figures.cost(model, key) is not None for model in figures.costed)]
    models = [model for model in figures.costed if any(figures.cost(model, key) is not None for key in known)]
    return {"keys": {key: COSTS[key] for key in known}, "models": models}


def _retention(figures: Figures) -> list[dict[str, Any]]:
    rows = []
    for dataset in [*figures.datasets, OVERALL]:
        whole = dataset == OVERALL
        sql, skill = figures.retention("sql", dataset), figures.retention("skill", dataset)
        relative = [
            figures.overall_relative(model) if whole else figures.relative(model, dataset)
            for model in (figures.teacher, figures.subject)
        ]
        if sql is not None and (not whole or len(figures.datasets) > 1):
            name = "All (geometric mean)" if whole else dataset
            rows.append({"dataset": name, "whole": whole, "relative": relative, "sql": sql, "skill": skill})
    return rows


def _tight(text: str) -> str:
    """Keep a percent sign on the line of its number."""
    return text.replace(" %", "\u00a0%")


@cache
def _part(name: str) -> str:
    return files("potstill.evaluation.report").joinpath("templates", name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
