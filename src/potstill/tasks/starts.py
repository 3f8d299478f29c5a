"""What each start keeps of the teacher: errors of a student before any training."""

from __future__ import annotations

import typing
from typing import Any

from potstill.errors import UserError
from potstill.recipe.student import Start
from potstill.tasks.base import Task
from potstill.tasks.start import choose_start

RELATIVE_TO_NAIVE = "rel_naive"  # of the metrics of a forecaster's validation the one that compares data sets


def compare_starts(task: Task) -> dict[str, Any]:
    """The student's size, and its validation error with each start, next to the teacher's.

    Returns
    -------
    dict
        ``student`` (family, parameters, share of the teacher's, default start, and what it keeps or, for a random one,
        what stands in the way of a better) and ``errors`` (metric, number of windows, ``teacher`` and ``start: NAME``;
        a sentence instead of a number where a start is not possible).
    """
    assert task.teacher is not None
    architecture, teacher = task.architecture, task.teacher
    validate: Any = task.validation()
    default, reason = choose_start(None, task.family, architecture, teacher)
    own = validate(teacher)
    metric = RELATIVE_TO_NAIVE if RELATIVE_TO_NAIVE in own else task.metric

    def error(model: Any) -> float:
        return round(validate(model)[metric], 4)

    kept: list[str] = []
    errors: dict[str, Any] = {"metric": metric, task.unit: len(validate), "teacher": round(own[metric], 4)}
    for start in typing.get_args(Start):
        try:
            choose_start(start, task.family, architecture, teacher)
            student, lines = task.started(start)
            errors[f"start: {start}"] = error(student)
            kept = lines if start == default else kept
        except UserError as problem:
            errors[f"start: {start}"] = str(problem)
    return {
        "student": {
            "family": architecture.label,
            "parameters": architecture.parameters,
            "share": round(architecture.parameters / teacher.parameters, 4),
            "start": default,
            **({"because": reason} if reason else {"kept": " ".join(kept)}),
        },
        "errors": errors,
    }
