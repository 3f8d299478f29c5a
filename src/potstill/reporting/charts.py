"""The data of the page's scripts as one JSON tree, and the style of each model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from potstill.evaluation.outcome import CALIBRATED
from potstill.reporting.curves import loss_curves, validation_curves
from potstill.reporting.figures import BASELINE_ORDER, CONTROLS, Figures, display_name
from potstill.reporting.forecasts import examples
from potstill.reporting.profiles import profiles
from potstill.reporting.scatter import scatter
from potstill.reporting.tables import tables


def chart_data(figures: Figures, log: Sequence[Mapping[str, Any]], forecasts: Mapping[str, Any]) -> dict[str, Any]:
    """All data that the page's scripts draw; an absent part is empty, and its section is left out."""
    found = list(examples(forecasts))
    shown = [*figures.costed, *(model for example in found for model in example["forecasts"])]
    return {
        **training_data(log, {"SQL": "sql"}, shown, figures.label),
        "examples": found,
        "scatter": scatter(figures),
        "profiles": profiles(figures),
        "tables": tables(figures),
    }


def training_data(
    log: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, str],
    shown: Iterable[str],
    label: Callable[[str], str] = display_name,
) -> dict[str, Any]:
    """The part of every page: training curves, and the style of each model in them and in ``shown``.

    ``metrics`` maps titles on the page to the validation metrics that are drawn; ``label`` names a model.
    """
    loss = loss_curves(log)
    drawn = {name: validation_curves(log, metric) for name, metric in metrics.items()}
    models = [*loss, *(model for curves in drawn.values() for model in curves), *shown]
    return {
        "models": {name: {"label": label(name), "style": style} for name, style in styles(models).items()},
        "loss": loss,
        "validation": {name: curves for name, curves in drawn.items() if curves},
    }


def styles(models: Iterable[str]) -> dict[str, str]:
    """A fixed CSS class for each known model, and one of three for every other; a calibrated one is dotted."""
    known = ("teacher", "student", *CONTROLS, *BASELINE_ORDER)
    bases = {name: name.removesuffix(CALIBRATED) for name in models}
    others = [base for base in dict.fromkeys(bases.values()) if base not in known]
    free = {base: f"m-other{index % 3}" for index, base in enumerate(others)}
    return {name: free.get(base, f"m-{base}") + " calibrated" * (name != base) for name, base in bases.items()}
