"""The report of language models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from potstill.reporting.charts import training_data
from potstill.reporting.language import summary
from potstill.reporting.language.figures import LANGUAGE_COST_TITLES, LanguageFigures, table
from potstill.reporting.language.generations import shown_answers
from potstill.reporting.shell import fill, sizes
from potstill.reporting.tables import cost_table

VALIDATION_CURVES = {
    "Cross-entropy (nats)": "loss",
    "KL to the teacher (nats)": "kl",
    "KL to the teacher's largest logits (nats)": "kl_kept",
}


def render(
    name: str,
    metrics: Mapping[str, Any],
    log: Sequence[Mapping[str, Any]],
    recipe: str,
    generations: Mapping[str, Any],
) -> str:
    """The page as HTML text, a pure function of the files of the run folder."""
    figures = LanguageFigures(metrics)
    return fill(
        "language.html.j2",
        ("curves.js",),
        name=name,
        figures=figures,
        recipe=recipe,
        data=training_data(log, VALIDATION_CURVES, figures.costed),
        headline=summary.headline(figures),
        lead="",
        summary=[],
        subtitle=_subtitle(figures),
        claims=summary.claims(figures),
        comparisons=summary.comparisons(figures),
        cautions=summary.labels(figures) + summary.cautions(figures),
        costs=cost_table(figures, LANGUAGE_COST_TITLES),
        quality=table(figures),
        examples=list(shown_answers(generations)),
    )


def _subtitle(figures: LanguageFigures) -> str:
    examples, tokens = (figures.count("answers", key) for key in ("examples", "tokens"))
    counted = f"{examples:,} held-out examples, {tokens:,} answer tokens" if examples and tokens else ""
    return " · ".join(part for part in (sizes(figures), counted) if part)
