"""Grow sparse feed-forward layers in a finished student: a run of ``distill`` with the section ``student.grow``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.recipe import Recipe
from potstill.recipe.options import resolve
from potstill.verbs.distill import distill


def grow(
    recipe: Recipe | str | Path | None, output: str | Path | None, *, resume: bool, dry_run: bool, **options: Any
) -> Path:
    """Train a student that grows; parameters as for :func:`potstill.verbs.mix.mix`.

    Raises
    ------
    UserError
        If no student is named, it cannot grow, or input or options are invalid.
    """
    without_data = {name: value for name, value in options.items() if name != "data"}  # it may be a frame
    if not resume and getattr(resolve(recipe, without_data).student, "grow", None) is None:
        raise UserError(
            "mix: nothing to mix; name a finished student with --grow STUDENT (in a recipe: student.grow.source).",
            key="mix.no_student",
        )
    return distill(recipe, output, resume=resume, dry_run=dry_run, **options)
