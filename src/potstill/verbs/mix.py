"""``potstill mix``: a router over finished forecasters, or experts within one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.recipe import Recipe
from potstill.recipe.options import task_of_mix
from potstill.verbs.distill import distill


def mix(
    recipe: Recipe | str | Path | None = None,
    output: str | Path | None = None,
    *,
    resume: bool = False,
    dry_run: bool = False,
    **options: Any,
) -> Path:
    """Combine forecasters into a mixture, or grow experts in one of them.

    With ``students``, a router chooses for each series the experts that forecast it. Every expert forecasts the
    router's windows once; the router is then trained on these stored forecasts. With ``branch``, the experts are copies
    of one student, each trained further on a group of series.

    With ``grow``, chosen feed-forward layers of one student become sparse. Before the training it forecasts what it
    forecast; its own weights are frozen for a share of the steps (by default for all of them).

    Parameters
    ----------
    recipe
        A recipe with ``task: mixture`` or with ``student.grow``, or its path; default: the defaults of mixtures.
    output
        The run's folder; must be new or empty, unless the run is resumed.
    options
        Override keys of the recipe by short names: ``students`` (the experts), ``branch`` (a student) and ``by``,
        ``data``, ``teacher`` (for comparison); for a student that grows ``grow`` (its folder), ``layers``, ``experts``,
        ``top_k``, ``insert``, ``frozen``, and those of ``distill``; see ``recipe.options.KEYS``.
    resume, dry_run
        As in ``distill``.

    Returns
    -------
    Path
        The run's folder; it loads as the mixture.

    Raises
    ------
    UserError
        If input or options are invalid.
    Interrupted
        After SIGINT or SIGTERM; a checkpoint is written first.
    """
    task = task_of_mix(recipe, {**options, "output": output, "resume": resume})
    return distill(recipe, output, resume=resume, dry_run=dry_run, **{**options, "task": task})
