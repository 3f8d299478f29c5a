"""The objective: α · soft + (1 − α) · hard, plus further terms by name and weight."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from potstill.errors import UserError
from potstill.objectives.base import LossInputs, Term, find_term
from potstill.objectives.chunks import token_losses
from potstill.objectives.tokens import TokenTerm
from potstill.recipe import ObjectiveConfig
from potstill.types import Logits, Tokens


class Objective(nn.Module):
    """Sums the terms a recipe names.

    Parameters
    ----------
    config
        ``soft`` has weight ``alpha``, ``hard`` has ``1 − alpha``; every entry of ``terms`` its own ``weight``. A term
        of weight 0 is not computed, so that α = 0 needs no teacher.
    """

    def __init__(self, config: ObjectiveConfig):
        super().__init__()
        weighted = {config.soft: config.alpha}
        weighted[config.hard] = weighted.get(config.hard, 0.0) + 1 - config.alpha
        options: dict[str, dict[str, Any]] = {}
        for name, given in config.terms.items():
            rest = dict(given)
            # options of the soft or the hard term say how it is computed; its weight is alpha's
            extra = rest.pop("weight", 0.0 if name in (config.soft, config.hard) else 1.0)
            weighted[name] = weighted.get(name, 0.0) + _weight(name, extra)
            options[name] = rest
        self.weights = {name: weight for name, weight in weighted.items() if weight > 0}
        self.terms = {name: _make(name, options.get(name, {}), config.temperature) for name in self.weights}
        of_tokens = [name for name, term in self.terms.items() if isinstance(term, TokenTerm)]
        if 0 < len(of_tokens) < len(self.terms):
            other = next(name for name in self.terms if name not in of_tokens)
            raise UserError(
                f"objective: {of_tokens[0]} is for language models and {other} for forecasters; choose one."
            )
        #: what kind of model the terms are about
        self.task = "language" if of_tokens else "forecast"
        # a term that owns weights is a Module: registered here, it is trained and checkpointed with the student
        self.trained = nn.ModuleDict({n: t for n, t in self.terms.items() if isinstance(t, nn.Module)})

    @property
    def needs(self) -> frozenset[str]:
        """What the terms ask of the teacher, together."""
        return frozenset().union(*(term.needs for term in self.terms.values()))

    def forward(self, batch: LossInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and each term's own value, unweighted, as scalars.

        A window that says nothing to a term (its future is unknown) is left out of that term's mean.
        """
        if self.task == "language":
            return self._of_tokens(batch)
        forecast = batch.student.forecast.values.detach()
        silent = ~batch.windows.future.isfinite().any(dim=1) & forecast.isfinite().flatten(1).all(dim=1)
        values = {name: _mean(term(batch), silent) for name, term in self.terms.items()}
        values.update({f"auxiliary_{name}": loss for name, loss in batch.student.auxiliary.items()})
        total = sum(self.weights.get(name, 1.0) * value for name, value in values.items())
        assert isinstance(total, Tensor)
        return total, {name: value.detach() for name, value in values.items()}

    def _of_tokens(self, batch: LossInputs) -> tuple[Tensor, dict[str, Tensor]]:
        student, teacher = batch.student.logits, batch.teacher.logits if batch.teacher else None
        assert isinstance(batch.batch, Tokens)
        assert isinstance(student, Logits)
        terms: Any = self.terms
        return token_losses(terms, self.weights, student, teacher, batch.batch.targets)


def _weight(name: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given < float("inf"):
        raise UserError(f"objective.terms.{name}.weight: {given!r} is no weight; give a number of at least 0.")
    return float(given)


def _make(name: str, options: dict[str, Any], temperature: float) -> Term:
    term = find_term(name)
    if term.tempered:
        options = {"temperature": temperature, **options}
    try:
        return term(**options)
    except TypeError as error:
        given = ", ".join(options) or "none"
        raise UserError(f"objective.terms.{name}: its options do not fit ({error}); given: {given}.") from None


def _mean(per_window: Tensor, silent: Tensor) -> Tensor:
    # only a window whose future alone is to blame may be left out: any other NaN is divergence, for the trainer to see
    counts = ~(per_window.isnan() & silent)
    return torch.where(counts, per_window, 0.0).sum() / counts.sum().clamp(min=1)
