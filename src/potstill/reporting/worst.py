"""The series that the subject forecasts worst, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from potstill.reporting.figures import Figures
from potstill.reporting.values import mapping, number

WORST_METRICS = {"mase": "MASE", "bias": "Bias", "coverage_80": "80 % coverage"}


@dataclass(frozen=True)
class WorstRow:
    """One series: windows, SQL by model, and the subject's other metrics."""

    series: str
    dataset: str
    windows: float | None
    sql: list[float | None]
    others: list[float | None]


def worst_table(figures: Figures) -> dict[str, Any]:
    """``models`` (columns with SQL), ``metrics`` (titles of the subject's others) and ``rows``; empty without any."""
    found = [one for one in figures.metrics.get("worst_series") or [] if isinstance(one, Mapping)]
    shown = [figures.subject, figures.teacher, "seasonal_naive"]
    models = [m for m in dict.fromkeys(shown) if m and any(m in mapping(one.get("sql")) for one in found)]
    rows = [
        WorstRow(
            str(one.get("series", "")),
            str(one.get("dataset", "")),
            number(one.get("windows")),
            [number(mapping(one.get("sql")).get(model)) for model in models],
            [number(one.get(key)) for key in WORST_METRICS],
        )
        for one in found
    ]
    return {"models": models, "metrics": list(WORST_METRICS.values()), "rows": rows} if rows else {}
