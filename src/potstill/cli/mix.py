"""``potstill mix``."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill.cli.options import with_recipe
from potstill.recipe import Recipe

MIX_OPTIONS = (
    "students", "branch", "by", "teacher", "data", "target", "split", "context_length",
    "prediction_length", "max_steps", "batch_size", "learning_rate", "device", "seed",
)  # fmt: skip


@with_recipe(*MIX_OPTIONS, task="mixture")
def mix(
    recipe: Recipe,
    output: Annotated[
        str, typer.Option(metavar="RUN", help="Folder of the run; must be new or empty, unless --resume.")
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")] = False,
) -> None:
    """Combine forecasters into a mixture: a router chooses for each series the experts that forecast it."""
    from potstill import verbs

    verbs.mix(recipe, output, resume=resume, dry_run=dry_run)
