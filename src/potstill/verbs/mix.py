"""``potstill mix``: a router over finished forecasters, or experts within one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.console import say
from potstill.data.series.in_memory import is_in_memory
from potstill.errors import UserError
from potstill.recipe import MixtureRecipe, Recipe
from potstill.recipe.options import recipe_of_run, resolve, task_of_mix
from potstill.runs import GENERAL, METRICS_FILE, RECIPE_FILE, check_run, output_path
from potstill.tasks.experts.general import general_recipe, needs_general
from potstill.tasks.experts.prepare import check_sections
from potstill.verbs.distill import distill
from potstill.verbs.run import Run


def mix(
    recipe: Recipe | str | Path | None = None,
    output: str | Path | None = None,
    *,
    resume: bool = False,
    dry_run: bool = False,
    **options: Any,
) -> Run:
    """Combine forecasters into a mixture, or grow experts in one of them.

    With ``students``, a router chooses for each series the experts that forecast it. Every expert forecasts the
    router's windows once; the router is then trained on these stored forecasts. With ``branch``, the experts are copies
    of one student, each trained further on a group of series. With ``by`` alone, or where ``branch`` is a recipe, that
    student is first distilled from the teacher and the same data, in OUTPUT/general.

    With ``grow``, chosen feed-forward layers of one student become sparse. Before the training it forecasts what it
    forecast; its own weights are frozen for a share of the steps (by default for all of them).

    Parameters
    ----------
    recipe
        A recipe with ``task: mixture`` or with ``student.grow``, or its path; default: the defaults of mixtures.
    output
        The run's folder; must be new or empty, unless the run is resumed.
    options
        Override keys of the recipe by short names: ``students`` (the experts), ``branch`` (a student or its recipe),
        ``by``, ``data``, ``teacher``; for a student that grows ``grow`` (its folder), ``layers``, ``experts``,
        ``top_k``, ``insert``, ``frozen``, and those of ``distill``; see ``recipe.options.KEYS``.
    resume, dry_run
        As in ``distill``.

    Returns
    -------
    Run
        The run's folder, a path; it loads as the mixture.

    Raises
    ------
    UserError
        If input or options are invalid.
    Interrupted
        After SIGINT or SIGTERM; a checkpoint is written first.
    """
    options = {**options, "task": task_of_mix(recipe, {**options, "output": output, "resume": resume})}
    frame = {"data": options.pop("data")} if is_in_memory(options.get("data")) else {}
    resolved = resolve(recipe, options)
    if output is None or not needs_general(resolved):
        return distill(recipe, output, resume=resume, dry_run=dry_run, **options, **frame)
    assert isinstance(resolved, MixtureRecipe)
    return _from_data(resolved, Run(output_path(output)), resume, dry_run, frame)


def _from_data(recipe: MixtureRecipe, run: Run, resume: bool, dry_run: bool, frame: dict[str, Any]) -> Run:
    """Distil a general student in RUN/general, then branch the mixture's experts from it."""
    assert recipe.branch is not None
    check_sections(recipe)
    first = general_recipe(recipe)
    begun = (run / GENERAL / RECIPE_FILE).exists()
    if dry_run:
        distill(first, run / GENERAL, dry_run=True, **frame)
        say(f"Then       experts branch from this student by {recipe.branch.by}, and a router over them is trained")
        return run
    if not resume and (run / GENERAL).exists():
        raise UserError(
            f"{run}: already exists; continue the run with --resume or choose another --output.", key="run.exists"
        )
    if not (resume and begun):
        check_run(run, resume)
    if (run / GENERAL / METRICS_FILE).exists():
        recipe_of_run(run / GENERAL, first)  # the options must be those by which it was distilled
    else:
        distill(first, run / GENERAL, resume=resume and begun, **frame)
        say("The general student is finished; the experts branch from it")
    branch = recipe.branch.model_copy(update={"source": str(run / GENERAL)})
    recipe = recipe.model_copy(update={"branch": branch})
    return distill(recipe, run, resume=(run / RECIPE_FILE).exists(), **frame)
