"""What the page's script draws, as one small JSON tree; and how each model looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from potstill.reporting.curves import loss_curves, validation_curves
from potstill.reporting.figures import BASELINES, Figures, display_name
from potstill.reporting.forecasts import examples
from potstill.reporting.scatter import scatter
from potstill.reporting.tables import tables


def chart_data(figures: Figures, log: Sequence[Mapping[str, Any]], forecasts: Mapping[str, Any]) -> dict[str, Any]:
    """Gather everything the page's script draws; what is absent is an empty tree and its section is left out."""
    found = list(examples(forecasts))
    shown = [*figures.costed, *(model for example in found for model in example["forecasts"])]
    return {
        **training_data(log, {"SQL": "sql"}, shown),
        "examples": found,
        "scatter": scatter(figures),
        "tables": tables(figures),
    }


def training_data(log: Sequence[Mapping[str, Any]], metrics: Mapping[str, str], shown: Iterable[str]) -> dict[str, Any]:
    """The part that every page has: curves of the training, and how each model of them and of ``shown`` looks.

    ``metrics`` says which figures of validation are drawn, by their name on the page.
    """
    loss = loss_curves(log)
    drawn = {name: validation_curves(log, metric) for name, metric in metrics.items()}
    models = [*loss, *(model for curves in drawn.values() for model in curves), *shown]
    return {
        "models": {name: {"label": display_name(name), "style": style} for name, style in styles(models).items()},
        "loss": loss,
        "validation": {name: curves for name, curves in drawn.items() if curves},
    }


def styles(models: Iterable[str]) -> dict[str, str]:
    """A fixed look (CSS class) for each known model, and the next free one for every other."""
    known = ("teacher", "student", "control", *BASELINES)
    others = [name for name in dict.fromkeys(models) if name not in known]
    free = {name: f"m-other{index % 3}" for index, name in enumerate(others)}
    return {name: free.get(name, f"m-{name}") for name in dict.fromkeys(models)}
