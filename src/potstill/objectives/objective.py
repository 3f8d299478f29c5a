"""The objective: α · soft + β · features + (1 − α − β) · hard, plus further terms and auxiliary losses by weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from potstill.errors import UserError
from potstill.objectives.base import FEATURES, LossInputs, Requests, Term
from potstill.objectives.binding import bind_term, joined
from potstill.objectives.chunks import token_losses
from potstill.objectives.registry import find_term
from potstill.objectives.tokens import TokenTerm
from potstill.recipe import ObjectiveConfig
from potstill.types import ModelInfo, Request, Tokens, Windows

AUXILIARY_WEIGHT = 0.01


class Objective(nn.Module):
    """The weighted sum of the terms in a recipe, for forecasters and language models.

    Parameters
    ----------
    config
        ``soft`` has weight ``alpha``, ``hard`` has ``1 − alpha − beta``; the feature terms in ``terms`` without a
        ``weight`` share ``beta``. A term of weight 0 is not computed, so that α = 0 needs no teacher. ``auxiliary``
        holds the weights of the model's auxiliary losses (default 0.01).
    """

    def __init__(self, config: ObjectiveConfig):
        super().__init__()
        self.auxiliary = dict(config.auxiliary)
        self.grouped = getattr(config, "grouped", "all")
        self.weights = _weights(config)
        self.terms = {
            name: _make(name, config.terms.get(name, {}), getattr(config, "temperature", None)) for name in self.weights
        }
        self.task = _task_of(self.terms)
        self.requests = Requests()
        # a term with weights is a Module: registered here, it is trained and checkpointed with the student
        self.trained = nn.ModuleDict({n: t for n, t in self.terms.items() if isinstance(t, nn.Module)})

    @property
    def requires(self) -> frozenset[str]:
        """The signals that the terms need from a teacher; empty if none is needed."""
        return frozenset().union(*(term.requires for term in self.terms.values()))

    def bind(self, student: ModelInfo, teachers: Mapping[str, ModelInfo], grouped: bool = False) -> None:
        """Let every term choose its layers and create its weights, before the optimizer is created.

        Parameters
        ----------
        student
            The model to train.
        teachers
            The teachers by name; their ``signals`` are those available in this run.
        grouped
            Whether windows have groups or covariates; then the models' ``group_signals`` are checked.

        Raises
        ------
        UserError
            Naming the term and the model, if a model does not have what the term needs.
        """
        requests = [bind_term(name, term, student, teachers, grouped) for name, term in self.terms.items()]
        self.requests = joined(requests)
        for name in self.auxiliary:
            if name not in student.auxiliary:
                known = f"known: {', '.join(student.auxiliary)}" if student.auxiliary else "it has none"
                raise UserError(
                    f"objective.auxiliary: {student.name} has no auxiliary loss {name!r}; {known}.",
                    key="objective.unknown_auxiliary",
                )

    def needs_teacher(self, batch: Windows | Tokens) -> bool:
        """Whether the terms for this batch use the teachers' outputs; without them, the other terms are computed."""
        return isinstance(batch, Tokens) or batch.stands_alone or self.grouped == "all"

    def student_request(self, horizon: int) -> Request:
        """What the student's forward pass must return."""
        return self.requests.student | Request(horizon)

    def teacher_requests(self, horizon: int) -> dict[str, Request]:
        """What each teacher's forward pass must return, by name; at least its forecast or logits."""
        return {name: request | Request(horizon) for name, request in self.requests.teachers.items()}

    def forward(
        self, inputs: LossInputs, shares: Mapping[str, float] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total loss, and the value of each term without its weight, as scalars without gradient.

        Parameters
        ----------
        inputs
            The batch, the student's output and the teachers' outputs; if :meth:`needs_teacher` is False for the batch,
            these are not used.
        shares
            By unit ("windows", "steps", "tokens"): the factor of the mean over this batch, so that several batches
            together yield the mean over all of them; default 1.
        """
        shares = shares or {}
        totals, values = [], {}
        tokens: dict[str, Any] = {name: term for name, term in self.terms.items() if isinstance(term, TokenTerm)}
        if tokens:
            total, values = _of_tokens(tokens, self.weights, inputs)
            totals.append(total * shares.get("tokens", 1.0))
        without_future = _without_future(inputs)
        taught = self.needs_teacher(inputs.batch)
        for name, term in self.terms.items():
            if name not in tokens and (taught or not term.requires):
                values[name] = _mean(term(inputs), inputs, term.averages, without_future)
                totals.append(self.weights[name] * shares.get(term.averages, 1.0) * values[name])
        for name, loss in inputs.student.auxiliary.items():
            values[f"auxiliary_{name}"] = loss
            totals.append(self.auxiliary.get(name, AUXILIARY_WEIGHT) * loss)
        total = sum(totals)
        assert isinstance(total, Tensor)
        return total, {name: value.detach() for name, value in values.items()}


def units(batch: Windows | Tokens) -> dict[str, int]:
    """The number of each unit in a batch, which weights the means of several batches; on a GPU this waits for it."""
    # numpy: for so few numbers torch's threads cost more than they save
    if isinstance(batch, Tokens):
        return {"windows": len(batch), "tokens": int(np.count_nonzero(batch.answer.cpu().numpy()))}
    return {"windows": len(batch), "steps": int(np.count_nonzero(np.isfinite(batch.future.cpu().numpy())))}


def _weights(config: ObjectiveConfig) -> dict[str, float]:
    """The weight of every term that has one above 0."""
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
        weights[name] = weights.get(name, 0.0) + (default if weight is None else _checked_weight(name, weight))
    return {name: weight for name, weight in weights.items() if weight > 1e-12}


def _checked_weight(name: str, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
        raise UserError(
            f"objective.terms.{name}.weight: expected a number of at least 0, not {weight!r}.",
            key="objective.bad_weight",
        )
    return float(weight)


def _make(name: str, options: Mapping[str, Any], temperature: float | None) -> Term:
    term = find_term(name)
    options = {key: value for key, value in options.items() if key != "weight"}
    if term.tempered and temperature is not None:
        options = {"temperature": temperature, **options}
    try:
        return term(**options)
    except TypeError as error:
        names = ", ".join(options) or "none"
        raise UserError(
            f"objective.terms.{name}: its options are wrong ({error}); given: {names}.", key="objective.bad_options"
        ) from None


def _task_of(terms: Mapping[str, Term]) -> str | None:
    """The task that the terms are for; None if they suit any."""
    tasks = {term.task: name for name, term in terms.items() if term.task is not None}
    if len(tasks) > 1:
        text, series = tasks["language"], tasks["forecast"]
        raise UserError(
            f"objective: {text} is for language models and {series} for forecasters; choose one.",
            key="objective.terms_of_two_tasks",
        )
    return next(iter(tasks), None)


def _of_tokens(terms: dict[str, Any], weights: Mapping[str, float], inputs: LossInputs) -> Any:
    teacher = inputs.teacher.logits if inputs.teachers else None
    student: Any = inputs.student.logits
    assert isinstance(inputs.batch, Tokens)
    return token_losses(terms, weights, student, teacher, inputs.batch.targets)


def _mean(values: Tensor, inputs: LossInputs, averages: str, without_future: Tensor | None) -> Tensor:
    """Mean over the counted windows, weighted equally or by their known target steps."""
    counts = torch.ones_like(values, dtype=torch.bool) if without_future is None else ~(values.isnan() & without_future)
    weights = counts.to(values)
    if averages == "steps" and not isinstance(inputs.batch, Tokens):
        weights = weights * inputs.windows.future.isfinite().sum(dim=1).to(weights)
    return (torch.where(counts, values, 0.0) * weights).sum() / weights.sum().clamp(min=1)


def _without_future(inputs: LossInputs) -> Tensor | None:
    """``[B]``: windows whose NaN is left out of a mean, because they have no known future step.

    Any other NaN means divergence, which the trainer must detect.
    """
    if isinstance(inputs.batch, Tokens):
        return None
    values = inputs.student.forecast.values.detach()
    return ~inputs.batch.future.isfinite().any(dim=1) & values.isfinite().flatten(1).all(dim=1)
