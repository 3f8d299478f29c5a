"""What the page's script draws, as one small JSON tree; and how each model looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from potstill.evaluation.report.curves import loss_curves, validation_curves
from potstill.evaluation.report.figures import BASELINES, Figures, display_name
from potstill.evaluation.report.forecasts import examples
from potstill.evaluation.report.scatter import scatter
from potstill.evaluation.report.tables import tables


def chart_data(figures: Figures, log: Sequence[Mapping[str, Any]], forecasts: Mapping[str, Any]) -> dict[str, Any]:
    """Gather everything the page's script draws; what is absent is an empty tree and its section is left out."""
    data = {
        "models": {},
        "loss": loss_curves(log),
        "validation": validation_curves(log),
        "examples": list(examples(forecasts)),
        "scatter": scatter(figures),
        "tables": tables(figures),
    }
    shown = [*data["loss"], *data["validation"], *figures.costed]
    shown += [model for example in data["examples"] for model in example["forecasts"]]
    data["models"] = {name: {"label": display_name(name), "style": style} for name, style in styles(shown).items()}
    return data


def styles(models: Iterable[str]) -> dict[str, str]:
    """A fixed look (CSS class) for each known model, and the next free one for every other."""
    known = ("teacher", "student", "control", *BASELINES)
    others = [name for name in dict.fromkeys(models) if name not in known]
    free = {name: f"m-other{index % 3}" for index, name in enumerate(others)}
    return {name: free.get(name, f"m-{name}") for name in dict.fromkeys(models)}
