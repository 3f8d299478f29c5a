"""``potstill mix``."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill.cli.options import with_recipe
from potstill.recipe import Recipe
from potstill.recipe.options import GROW_OPTIONS, OPTIONS

DECIDED_BY_STUDENT = ("task", "student")


@with_recipe(*GROW_OPTIONS, *(name for name in OPTIONS if name not in DECIDED_BY_STUDENT))
def mix(
    recipe: Recipe,
    output: Annotated[
        str, typer.Option(metavar="RUN", help="Folder of the run; must be new or empty, unless --resume.")
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")] = False,
) -> None:
    """Grow a mixture of experts from a finished student (--grow), and train what is new; writes a run folder."""
    from potstill import verbs

    verbs.mix(recipe, output, resume=resume, dry_run=dry_run)
