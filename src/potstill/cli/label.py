"""``potstill label``."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill.cli.options import Concurrency, Engine, GpusPerWorker, RayAddress, with_recipe
from potstill.recipe import Recipe
from potstill.recipe.options import OPTIONS

TRAINING_OPTIONS = ("student", "learning_rate", "alpha", "labels", "control")


@with_recipe(*(name for name in OPTIONS if name not in TRAINING_OPTIONS))
def label(
    recipe: Recipe,
    output: Annotated[str, typer.Option(metavar="LABELS", help="Folder of the label store.")],
    engine: Engine = "local",
    ray_address: RayAddress = None,
    concurrency: Concurrency = None,
    gpus_per_worker: GpusPerWorker = None,
) -> None:
    """Store a teacher's outputs for all training windows; use the same recipe and options with `distill --labels`.

    With generated or augmented windows, steps and batch size determine how many windows are labelled.
    """
    from potstill import verbs

    verbs.label(
        recipe,
        output,
        engine=engine,
        ray_address=ray_address,
        concurrency=concurrency,
        gpus_per_worker=gpus_per_worker,
    )
