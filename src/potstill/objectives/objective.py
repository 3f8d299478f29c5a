"""The objective: α · soft + β · features + (1 − α − β) · hard, plus further terms and auxiliary losses by weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from potstill.errors import UserError
from potstill.objectives.base import LossInputs, Requests, Term
from potstill.objectives.binding import bind_term, joined
from potstill.objectives.chunks import token_losses
from potstill.objectives.horizon import step_weights
from potstill.objectives.registry import find_term
from potstill.objectives.tokens import TokenTerm
from potstill.objectives.weights import TermWeights
from potstill.recipe import HorizonWeights, ObjectiveConfig
from potstill.types import ModelInfo, Request, Tokens, Windows

AUXILIARY_WEIGHT = 0.01


class Objective(nn.Module):
    """The weighted sum of the terms in a recipe, for forecasters and language models.

    Parameters
    ----------
    config
        ``soft`` has weight ``alpha``, ``hard`` has ``1 − alpha − beta``; the feature terms in ``terms`` without a
        ``weight`` share ``beta``. A term that never has a weight is not computed, so that α = 0 needs no teacher.
        ``auxiliary`` holds the weights of the model's auxiliary losses (default 0.01).

    Attributes
    ----------
    weights
        Weight by name at the first step.
    """

    def __init__(self, config: ObjectiveConfig):
        super().__init__()
        self.auxiliary = dict(config.auxiliary)
        self._weights = TermWeights(config)
        self.weights = self._weights.first
        self.horizon_weights: HorizonWeights = getattr(config, "horizon_weights", HorizonWeights())
        self.gate: bool | int = self._weights.gated and getattr(config, "gate", False)
        self.grouped = getattr(config, "grouped", "all")
        self.terms = {
            name: _make(name, config.terms.get(name, {}), getattr(config, "temperature", None)) for name in self.weights
        }
        _check_sides(config, self.terms)
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
        least = Request(horizon, backtest=self.gate_steps(horizon))
        return {name: request | least for name, request in self.requests.teachers.items()}

    def gate_steps(self, horizon: int) -> int:
        """Steps of the backtest that the gate needs from the teachers; 0 without a gate."""
        return horizon if self.gate is True else int(self.gate)

    def alpha(self, progress: float) -> float:
        """The weight α of the soft term after a share of the steps, from 0 at the first step to 1 at the last."""
        return self._weights.alpha(progress)

    def forward(
        self, inputs: LossInputs, shares: Mapping[str, float] | None = None, progress: float = 0.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total loss, and the value of each term without its weight, as scalars without gradient.

        With a gate, ``gated`` among the values is the share of the windows that rely on the ground truth. The student's
        statistics, such as the use of its experts, are among the values, too. So are the auxiliary losses of teachers:
        the student cannot change these, so they are not part of the total.

        Parameters
        ----------
        inputs
            The batch, the student's output and the teachers' outputs; if :meth:`needs_teacher` is False for the batch,
            these are not used.
        shares
            By unit ("windows", "steps", "tokens"): the factor of the mean over this batch, so that several batches
            together yield the mean over all of them; default 1.
        progress
            Share of the training that is done, which decides α: 0 at the first step, 1 at the last.
        """
        shares, weights = shares or {}, self._weights.at(progress)
        totals, values = [], {}
        tokens: dict[str, Any] = {name: term for name, term in self.terms.items() if isinstance(term, TokenTerm)}
        if tokens:
            total, values = _of_tokens(tokens, weights, inputs)
            totals.append(total * shares.get("tokens", 1.0))
        if not isinstance(inputs.batch, Tokens):
            inputs = replace(inputs, step_weights=step_weights(self.horizon_weights, inputs.student.forecast.values))
        without_future, gated, labelled = _without_future(inputs), None, None
        taught = self.needs_teacher(inputs.batch)
        if taught:
            gated, labelled = self._gated(inputs), _labelled(inputs)
        for name, term in self.terms.items():
            if name in tokens or (term.requires and not taught):
                continue
            loss = term(inputs)
            if labelled is not None and term.requires:
                loss = loss * labelled  # what the teachers' outputs hold for other windows is not theirs
            values[name] = _mean(loss, inputs, term.averages, without_future)
            weighted = weights[name] * values[name]
            if gated is not None and (direction := self._weights.direction(name)):
                moved = _mean(loss * gated, inputs, term.averages, without_future)
                weighted = weighted - direction * self.alpha(progress) * moved
            totals.append(shares.get(term.averages, 1.0) * weighted)
        if gated is not None:
            values["gated"] = gated.mean()
        for name, loss in inputs.student.auxiliary.items():
            values[f"auxiliary_{name}"] = loss
            totals.append(self.auxiliary.get(name, AUXILIARY_WEIGHT) * loss)
        values |= inputs.student.statistics
        for teacher, output in inputs.teachers.items():
            values |= {f"{teacher}_{name}": loss for name, loss in output.auxiliary.items()}
        total = sum(totals)
        assert isinstance(total, Tensor)
        return total, {name: value.detach() for name, value in values.items()}

    def _gated(self, inputs: LossInputs) -> Tensor | None:
        """``[B]``: 1 for windows whose soft weight moves to the hard term, else 0; None without a gate.

        The truth must be known there. A backtest of NaN, with too few known steps, says nothing against the teacher.
        """
        labelled = _labelled(inputs)
        if not self.gate and labelled is None:
            return None
        rely = torch.zeros(len(inputs.windows), dtype=torch.bool, device=inputs.windows.ids.device)
        if self.gate:
            backtest = inputs.teacher.backtest
            assert backtest is not None, "the provider does not return the backtest that the objective requests"
            rely = backtest > 1
        if labelled is not None:
            rely = rely | (labelled == 0)
        return (rely & inputs.windows.future.isfinite().any(dim=1)).to(inputs.student.forecast.values)


def units(batch: Windows | Tokens) -> dict[str, int]:
    """The number of each unit in a batch, which weights the means of several batches; on a GPU this waits for it."""
    # numpy: for so few numbers torch's threads cost more than they save
    if isinstance(batch, Tokens):
        return {"windows": len(batch), "tokens": int(np.count_nonzero(batch.answer.cpu().numpy()))}
    return {"windows": len(batch), "steps": int(np.count_nonzero(np.isfinite(batch.future.cpu().numpy())))}


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


def _labelled(inputs: LossInputs) -> Tensor | None:
    """``[B]``: 1 for windows that the teachers label, else 0; None if all are labelled."""
    known = next((output.labelled for output in inputs.teachers.values()), None)
    return None if known is None else known.to(inputs.student.forecast.values)


def _without_future(inputs: LossInputs) -> Tensor | None:
    """``[B]``: windows whose NaN is left out of a mean, because they have no known future step.

    Any other NaN means divergence, which the trainer must detect.
    """
    if isinstance(inputs.batch, Tokens):
        return None
    values = inputs.student.forecast.values.detach()
    return ~inputs.batch.future.isfinite().any(dim=1) & values.isfinite().flatten(1).all(dim=1)


def _check_sides(config: ObjectiveConfig, terms: Mapping[str, Term]) -> None:
    """Raise UserError if the hard term compares with the teacher, or the soft term does not."""
    if config.hard in terms and terms[config.hard].requires:
        raise UserError(
            f"objective.hard: {config.hard} compares with the teacher; the hard term is that on the truth. Write it as"
            " objective.soft, or under objective.terms.",
            key="objective.hard_needs_teacher",
        )
    if max(config.alpha, config.alpha_end or 0.0) > 0 and not terms[config.soft].requires:
        raise UserError(
            f"objective.soft: {config.soft} does not compare with the teacher, which would never be asked. Write it as"
            " objective.hard, with objective.alpha: 0.",
            key="objective.soft_without_teacher",
        )
