"""``potstill label``: compute a teacher's outputs once and store them for any number of trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.console import say
from potstill.data.series.saved_frames import saved_frames
from potstill.errors import UserError
from potstill.recipe import Recipe
from potstill.recipe.options import resolve
from potstill.tasks.prepare import prepare
from potstill.teaching.stores.writing import check_folder

ENGINES = ("local",)


def label(
    recipe: Recipe | str | Path | None = None, output: str | Path = "labels", *, engine: str = "local", **options: Any
) -> Path:
    """Label the training windows or examples of a recipe into a store; an interrupted call continues where it stopped.

    Parameters
    ----------
    recipe
        Names one teacher and the data; its training section determines the number of generated windows.
    output
        Folder of the label store.
    engine
        Where the teacher runs: ``local``, in this process.
    options
        Override keys of the recipe by short names, as for ``distill``.

    Raises
    ------
    UserError
        If the store holds labels of another teacher or other data, or options are invalid.
    """
    folder = Path(output)
    if engine not in ENGINES:
        raise UserError(f"--engine {engine}: not available; known: {', '.join(ENGINES)}.", key="labels.unknown_engine")
    with saved_frames(options) as (options, _):
        recipe = resolve(recipe, options).absolute()
        if not recipe.teacher:
            raise UserError("--teacher: labelling needs at least one.", key="teacher.missing")
        if recipe.task == "language":  # the default temperature of a run with labels differs
            recipe = Recipe.lay_over(recipe.model_dump(mode="json", exclude_unset=True), {"labels": str(folder)})
        task = prepare(recipe)
    check_folder(folder)
    say(*task.source_lines())
    task.label(folder)
    return folder
