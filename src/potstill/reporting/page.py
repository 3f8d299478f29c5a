"""The report of forecasters: accuracy by data set, forecasts, accuracy against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from potstill.reporting.charts import chart_data
from potstill.reporting.claims import claims
from potstill.reporting.comparisons import comparisons
from potstill.reporting.data_words import data_lines
from potstill.reporting.decision import headline, lead
from potstill.reporting.experts import experts_section
from potstill.reporting.figures import OVERALL, Figures
from potstill.reporting.scatter import COST_TITLES
from potstill.reporting.shell import fill, sizes
from potstill.reporting.summary import cautions
from potstill.reporting.tables import cost_table
from potstill.reporting.worst import worst_table

FORECAST_SCRIPTS = ("curves.js", "dates.js", "forecasts.js", "profiles.js", "scatter.js", "tables.js")


def render(
    name: str,
    metrics: Mapping[str, Any],
    log: Sequence[Mapping[str, Any]],
    recipe: str,
    forecasts: Mapping[str, Any],
) -> str:
    """The page as HTML text, a pure function of the files of the run folder."""
    figures = Figures(metrics)
    return fill(
        "report.html.j2",
        FORECAST_SCRIPTS,
        name=name,
        figures=figures,
        recipe=recipe,
        data=chart_data(figures, log, forecasts),
        headline=headline(figures),
        lead=lead(figures),
        subtitle=_subtitle(figures),
        claims=claims(figures),
        comparisons=comparisons(figures),
        cautions=cautions(figures),
        summary=data_lines(figures),
        worst=worst_table(figures),
        costs=cost_table(figures, COST_TITLES),
        retention=_retention(figures),
        experts=experts_section(figures),
    )


def _subtitle(figures: Figures) -> str:
    sets = figures.datasets
    where = f"{len(sets)} data sets" if len(sets) > 3 else ", ".join(sets)
    return " · ".join(part for part in (sizes(figures), where) if part)


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
