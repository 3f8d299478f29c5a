"""The weights of an objective's terms: α for the soft term, β for feature terms, the rest for the hard one."""

from __future__ import annotations

from typing import Any

from potstill.errors import UserError
from potstill.objectives.base import FEATURES
from potstill.objectives.registry import find_term
from potstill.recipe import ObjectiveConfig

_NOTHING = 1e-12  # a weight of rounding errors


class TermWeights:
    """The weights of the terms, which a schedule of α and the gate move between the soft and the hard term.

    Parameters
    ----------
    config
        See :class:`potstill.objectives.objective.Objective`.

    Attributes
    ----------
    first
        Weight by name at the first step, of all terms that have one at any step or in any window.
    soft, hard
        The names of the two terms between which weight moves.
    gated
        Whether the weight of the soft term moves to the hard one in some windows.
    """

    def __init__(self, config: ObjectiveConfig):
        self.soft, self.hard, self._alpha_at = config.soft, config.hard, config.alpha_at
        largest = max(config.alpha_at(0.0), config.alpha_at(1.0))
        # without a teacher there is no weight to move
        self.gated = bool(getattr(config, "gate", False)) and largest > _NOTHING
        self.first = _weights(config)
        ends = [self.at(0.0), self.at(1.0)]
        if self.gated:
            ends.append({**self.first, self.hard: self.first[self.hard] + config.alpha})
        kept = [name for name in self.first if any(weights[name] > _NOTHING for weights in ends)]
        self.first = {name: self.first[name] for name in kept}

    def alpha(self, progress: float) -> float:
        """α after a share ``progress`` of the steps."""
        return self._alpha_at(progress)

    def at(self, progress: float) -> dict[str, float]:
        """Weight by name after a share of the steps, from 0 at the first step to 1 at the last."""
        change = self.alpha(progress) - self.alpha(0.0)
        return {name: weight + change * self.direction(name) for name, weight in self.first.items()}

    def direction(self, name: str) -> int:
        """1 for the soft term and −1 for the hard one: the sign with which α enters the weight; 0 for all others."""
        return (name == self.soft) - (name == self.hard)


def _weights(config: ObjectiveConfig) -> dict[str, float]:
    """The weight of every term at the first step."""
    explicit = {name: dict(options).get("weight") for name, options in config.terms.items()}
    features = [name for name, weight in explicit.items() if weight is None and find_term(name).requires & FEATURES]
    if config.beta > 0 and not features:
        raise UserError(
            "objective.beta: is shared by the feature terms without a weight, and there is none;"
            " add one to objective.terms, or leave beta out.",
            key="objective.beta_without_features",
        )
    weights: dict[str, float] = {config.soft: config.alpha}
    weights[config.hard] = weights.get(config.hard, 0.0) + 1 - config.alpha - config.beta
    for name, weight in explicit.items():
        # the soft and the hard term are weighted by alpha and beta; their options set how they are computed
        default = 0.0 if name in (config.soft, config.hard) else 1.0
        default = config.beta / len(features) if name in features and config.beta > 0 else default
        weights[name] = weights.get(name, 0.0) + (default if weight is None else _checked(name, weight))
    return weights


def _checked(name: str, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
        raise UserError(
            f"objective.terms.{name}.weight: expected a number of at least 0, not {weight!r}.",
            key="objective.bad_weight",
        )
    return float(weight)
