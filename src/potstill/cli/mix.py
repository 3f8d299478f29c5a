"""``potstill mix``."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill.cli.options import with_recipe
from potstill.recipe import Recipe
from potstill.recipe.options import GROW_OPTIONS, MIX_OPTIONS, OPTIONS, task_of_mix

DECIDED_BY_STUDENT = ("task", "student")


@with_recipe(
    *MIX_OPTIONS, *GROW_OPTIONS, *(name for name in OPTIONS if name not in DECIDED_BY_STUDENT), task=task_of_mix
)
def mix(
    recipe: Recipe,
    output: Annotated[
        str, typer.Option(metavar="RUN", help="Folder of the run; must be new or empty, unless --resume.")
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")] = False,
) -> None:
    """Combine forecasters into a mixture (--students), train experts and mix them (--by, --branch), or grow
    experts in a student (--grow)."""
    from potstill import verbs

    verbs.mix(recipe, output, resume=resume, dry_run=dry_run)
