"""The model card of a mixture."""

from __future__ import annotations

from typing import Any

from potstill.families.experts.model import Mixture
from potstill.runs.card import CardFacts, CardTeacher, render_card
from potstill.tasks.card import CARD_METRICS, CARD_TAGS, PIPELINE_TAGS, accuracy
from potstill.tasks.provenance import versions

_USAGE = (
    '```python\nimport potstill\n\nforecast = potstill.load("FOLDER").predict(context, prediction_length={horizon})\n'
    "forecast.quantiles  # [series, levels, steps]\n```"
)


def counted(experts: int) -> str:
    """A number of experts in words."""
    return "1 expert" if experts == 1 else f"{experts} experts"


def mixture_card(task: Any, mixture: Mixture, metrics: dict[str, Any]) -> str:
    """README.md of a mixture: its experts with their licences, the router, accuracy."""
    recipe, experts = task.recipe, mixture.experts
    settings = mixture.router.settings
    members = ", ".join(f"{name} ({one.family}, {one.parameters:,} parameters)" for name, one in experts.items())
    facts = CardFacts(
        title=f"mixture of {counted(len(experts))}, {mixture.parameters:,} parameters",
        library=task.family.library,
        pipeline=PIPELINE_TAGS["forecast"],
        tags=(*CARD_TAGS["forecast"], "mixture-of-experts", "potstill"),
        description=(
            f"A router over {members}, made by Potstill. It reads features of each context and forecasts it by"
            f" {'at most ' if settings.routing == 'mass' else ''}{settings.top_k} of the experts:"
            f" {mixture.active_parameters:,} parameters are active. Contexts have up to {mixture.max_context} steps,"
            f" one pass forecasts up to {mixture.max_horizon}.",
            _USAGE.format(horizon=task.horizon),
        ),
        accuracy=accuracy(metrics, "student", recipe.evaluation.split, CARD_METRICS["forecast"]),
        paths=recipe.data.paths,
        split=recipe.data.split,
        data_fingerprint=task.store.fingerprint,
        seed=recipe.training.seed,
        versions=versions(),
        teachers=[
            CardTeacher(name, one.source.location, one.source.licence, one.fingerprint, one.source.revision)
            for name, one in task.experts.items()  # from where they came, not where the mixture keeps them
        ],
        derived=True,
        source_kind="expert",
    )
    return render_card(facts)
