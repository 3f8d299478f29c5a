"""``potstill label``: ask the teacher once, store its answers, train from them as often as you like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.console import console, say
from potstill.data.series.saved_frames import saved_frames
from potstill.errors import UserError
from potstill.recipe import Recipe
from potstill.recipe.options import resolve
from potstill.tasks.forecasting import Setup, prepare
from potstill.tasks.plan import source_lines
from potstill.teaching.stores.forecasts import LabelStore
from potstill.teaching.stores.make import Progress, check_folder, make_labels

ENGINES = ("local",)


def label(
    recipe: Recipe | str | Path | None = None, output: str | Path = "labels", *, engine: str = "local", **options: Any
) -> Path:
    """Label the training windows of a recipe into a store; an interrupted call goes on where it stopped.

    Parameters
    ----------
    recipe
        Names one teacher and the data; its training part says how many windows a run with generated windows needs.
    output
        Folder of the label store.
    engine
        ``local``: this process.
    options
        Laid over the recipe by their short names, as for ``distill``.

    Raises
    ------
    UserError
        Where the store holds another teacher's or other data's labels, or the options do not fit.
    """
    if engine not in ENGINES:
        raise UserError(f"--engine {engine}: not available; known: {', '.join(ENGINES)}.")
    with saved_frames(options) as (options, _):
        recipe = resolve(recipe, options).absolute()
        if recipe.task == "language":
            from potstill.tasks.language.label import label_examples
            from potstill.tasks.language.setup import prepare_language

            # as a run has it that trains from labels
            labelled = Recipe.lay_over(recipe.model_dump(mode="json", exclude_unset=True), {"labels": str(output)})
            label_examples(prepare_language(labelled), Path(output))
            return Path(output)
        if len(recipe.teacher) != 1:
            raise UserError(
                f"--teacher: a label store holds one teacher's answers, {len(recipe.teacher)} given; label each apart."
            )
        setup = prepare(recipe)
    check_folder(Path(output))
    say(*source_lines(setup))
    label_windows(setup, Path(output))
    return Path(output)


def label_windows(setup: Setup, folder: Path) -> LabelStore:
    """Store the one teacher's answers for the training windows of a run, with rate and time left."""
    recipe = setup.recipe
    with console.status("Labelling") as status:

        def show(progress: Progress) -> None:
            status.update(f"Labelling {progress}")

        made = make_labels(
            next(iter(setup.teachers.values())),
            setup.training_windows(setup.steps),
            folder,
            progress=show,
            provenance={"teacher": recipe.teacher[0].model_dump(), **settings(recipe)},
        )
    say(f"{made.labelled():,} windows labelled in {folder}")
    return made


def settings(recipe: Recipe) -> dict[str, Any]:
    """What decides which windows a recipe trains on, by the recipe's keys: kept with labels, to say what differs."""
    return {"data": recipe.data.model_dump(), "training": {"seed": recipe.training.seed}}
