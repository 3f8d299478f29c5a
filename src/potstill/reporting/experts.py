"""The experts of a mixture: how much each is used by data set, and how accurate each is alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from potstill.reporting.figures import Figures, Interval
from potstill.reporting.values import mapping, number


@dataclass(frozen=True)
class UsageRow:
    """Use of the experts on one data set: mean weights, entropy and evenness of the weights, experts run per window."""

    dataset: str
    shares: list[float]
    entropy: float | None
    evenness: float | None
    run: float | None


@dataclass(frozen=True)
class ExpertRow:
    """One expert alone: SQL relative to seasonal naive, and the mixture's SQL divided by its SQL."""

    name: str
    relative: float | None
    validation: float | None
    against: Interval | None


def experts_section(figures: Figures) -> dict[str, Any]:
    """Names of the experts, their use (``usage``) and accuracy (``alone``); empty if the model is no mixture."""
    found = figures.experts
    names = [str(name) for name in found.get("names") or []]
    if not names:
        return {}
    usage = [
        UsageRow(dataset, [number(share) or 0.0 for share in shares], *_balance(figures, dataset))
        for dataset, shares in mapping(found.get("usage")).items()
        if isinstance(shares, list) and len(shares) == len(names)
    ]
    validation = mapping(found.get("validation_sql"))
    alone = [
        ExpertRow(
            name,
            figures.overall_relative(name),
            number(validation.get(name)),
            figures.interval(figures.subject, name),
        )
        for name in names
    ]
    return {"names": names, "usage": usage, "alone": alone}


def _balance(figures: Figures, dataset: str) -> list[float | None]:
    return [number(mapping(figures.experts.get(key)).get(dataset)) for key in ("entropy", "evenness", "run")]
