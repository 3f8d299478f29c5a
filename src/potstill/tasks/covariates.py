"""What a run says about covariates before the training: which there are, and whether the teacher uses them."""

from __future__ import annotations

from typing import Any

from potstill.ranks import on_main
from potstill.reporting.phrases import percent

_USED = 0.02  # a teacher whose error falls by less than this share does not use them


def covariate_lines(data: Any, objective: Any, teacher: Any, validate: Any) -> list[str]:
    """Lines for the plan; empty without covariates.

    Parameters
    ----------
    data, objective
        Sections of the recipe; ``gkd`` has no objective.
    teacher
        The model that the student learns from; None without one.
    validate
        The run's ``Validation``.
    """
    parts = {"known ahead": data.known, "past only": data.past}
    named = "; ".join(f"{', '.join(columns)} ({what})" for what, columns in parts.items() if columns)
    together = f"series of one {data.groups}, forecast together" if data.groups else ""
    if not named and not together:
        return []
    lines = [f"Covariates {'; '.join(part for part in (named, together) if part)}"]
    if teacher is None:
        return lines
    with_them, without = on_main(lambda: [one(teacher)["sql"] for one in (validate, validate.without_covariates())])
    gain = 1 - with_them / without
    lines.append(
        f"           they lower the teacher's validation error by {percent(gain, fine=True)}"
        if gain > 0
        else f"           they do not lower the teacher's validation error ({percent(-gain, fine=True)} higher)"
    )
    if gain < _USED and objective is not None and objective.grouped == "all" and objective.alpha > 0:
        lines.append(
            "           The teacher hardly uses them; with objective.grouped: truth the student learns their effect"
            " from the data."
        )
    return lines
