"""``potstill mix``: make a mixture of experts from finished students."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.recipe import Recipe
from potstill.verbs.grow import grow as grow_student


def mix(
    recipe: Recipe | str | Path | None = None,
    output: str | Path | None = None,
    *,
    resume: bool = False,
    dry_run: bool = False,
    **options: Any,
) -> Path:
    """Grow a mixture of experts from a finished student.

    Chosen feed-forward layers of the student become sparse. Before the training the model forecasts what the student
    forecasts; the student's own weights are frozen for a share of the steps (by default for all of them).

    Parameters
    ----------
    recipe
        A recipe or the path of one, with data, teacher and training as for ``distill``.
    output
        The run's folder; must be new or empty, unless the run is resumed.
    resume, dry_run
        As for ``distill``.
    options
        ``grow`` (the student's folder), ``layers`` (blocks, counted from 0), ``experts``, ``top_k``, ``insert``
        (``ffn`` or ``after``) and ``frozen`` (share of the steps); the others as for ``distill``.

    Returns
    -------
    Path
        The run's folder. Its ``student`` is the mixture.

    Raises
    ------
    UserError
        If no student is named, it cannot grow, or input or options are invalid.
    Interrupted
        After SIGINT or SIGTERM; a checkpoint is written first.
    """
    return grow_student(recipe, output, resume=resume, dry_run=dry_run, **options)
