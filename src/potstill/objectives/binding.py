"""Bind a term to its models: check that they have the signals it needs, and let it choose layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from potstill.errors import UserError
from potstill.objectives.base import FEATURES, Requests, Term
from potstill.types import STORED_FAMILY, WITHOUT_COVARIATES, ModelInfo, Request


def bind_term(name: str, term: Term, student: ModelInfo, teachers: Mapping[str, ModelInfo], grouped: bool) -> Requests:
    """Check that the models have the signals that the term needs, then let it choose layers and create weights.

    Raises
    ------
    UserError
        Naming the term and the model.
    """
    for teacher in teachers.values():
        _check_signals(name, term.requires, teacher, grouped)
    # a feature term compares the student's states with the teacher's
    _check_signals(name, term.requires & FEATURES, student, grouped)
    requests = term.bind(student, teachers)
    _check_layers(name, requests.student, student, grouped)
    for key, request in requests.teachers.items():
        if key not in teachers:
            raise UserError(
                f"objective.terms.{name}: there is no teacher {key!r}; known: {', '.join(teachers)}.",
                key="objective.unknown_teacher",
            )
        _check_layers(name, request, teachers[key], grouped)
    return Requests(requests.student, {key: requests.teachers.get(key, Request()) for key in teachers})


def joined(requests: Sequence[Requests]) -> Requests:
    """The union of the requests of all terms."""
    student, teachers = Request(), {}
    for one in requests:
        student = student | one.student
        for name, request in one.teachers.items():
            teachers[name] = teachers.get(name, Request()) | request
    return Requests(student, teachers)


def _check_signals(term: str, needed: frozenset[str], model: ModelInfo, grouped: bool) -> None:
    available = model.group_signals if grouped else model.signals
    missing = sorted(needed - available)
    if WITHOUT_COVARIATES in missing and not grouped:
        raise UserError(
            f"objective: the term {term} compares forecasts with and without covariates, but the data have none; name"
            " them with --known or --past, or leave the term out.",
            key="objective.no_covariates",
        )
    if {*FEATURES, WITHOUT_COVARIATES} & {*missing} and model.family == STORED_FAMILY:
        raise UserError(
            f"objective: the term {term} needs {' and '.join(missing)} from {model.name}, but stored labels hold only a"
            " teacher's forecasts or logits; leave out labels, so that the teacher runs in the training, or leave out"
            " the term.",
            key="objective.signal_missing",
        )
    if missing:
        what = " and ".join(missing)
        has = f"has {', '.join(sorted(available))}" if available else "has no signals"
        condition = " for windows with groups or covariates" if grouped else ""
        raise UserError(
            f"objective: the term {term} needs {what} from {model.name}, a {model.family} model,"
            f" which {has}{condition}; leave the term out or choose another model.",
            key="objective.signal_missing",
        )


def _check_layers(term: str, request: Request, model: ModelInfo, grouped: bool) -> None:
    for signal, layers in request.layers.items():
        _check_signals(term, frozenset({signal}), model, grouped)
        wrong = [layer for layer in layers if not 0 <= layer < model.layers]
        if wrong:
            raise UserError(
                f"objective.terms.{term}: {model.name} has no layer {wrong[0]}; its {model.layers} layers are counted"
                " from 0.",
                key="objective.no_such_layer",
            )
