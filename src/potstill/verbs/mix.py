"""``potstill mix``: train a router over finished forecasters, and write the mixture, its metrics and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.recipe import Recipe
from potstill.verbs.distill import distill


def mix(
    recipe: Recipe | str | Path | None = None,
    output: str | Path | None = None,
    *,
    resume: bool = False,
    dry_run: bool = False,
    **options: Any,
) -> Path:
    """Combine forecasters into a mixture: a router chooses for each series the experts that forecast it.

    Every expert forecasts the router's windows once; the router is then trained on these stored forecasts.

    Parameters
    ----------
    recipe
        A recipe with ``task: mixture``, or its path; default: the defaults of mixtures.
    output
        The run's folder; must be new or empty, unless the run is resumed.
    options
        Override keys of the recipe by short names: ``students`` (the experts), ``data``, ``teacher`` (for comparison);
        see ``recipe.options.KEYS``.
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
    return distill(recipe, output, resume=resume, dry_run=dry_run, **{**options, "task": "mixture"})
