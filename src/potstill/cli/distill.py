"""``potstill distill``."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill.cli.options import with_recipe
from potstill.recipe import Recipe
from potstill.recipe.options import OPTIONS


@with_recipe(*OPTIONS)
def distill(
    recipe: Recipe,
    output: Annotated[
        str, typer.Option(metavar="RUN", help="Folder of the run; must be new or empty, unless --resume.")
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")] = False,
) -> None:
    """Distil teachers into a student; writes a run folder with the student, its metrics and a report."""
    from potstill import verbs

    verbs.distill(recipe, output, resume=resume, dry_run=dry_run)
