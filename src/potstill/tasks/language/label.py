"""``potstill label`` with ``task: language``: the teacher's largest logits at every answer token, stored once."""

from __future__ import annotations

from pathlib import Path

from potstill.console import console, say
from potstill.tasks.language.setup import LanguageSetup
from potstill.teaching.stores.logits import LogitStore, label_tokens
from potstill.teaching.stores.make import Progress


def label_examples(setup: LanguageSetup, folder: Path) -> LogitStore:
    """Store the teacher's answers for the training examples, with rate and time left; says how much they hold."""
    with console.status("Labelling") as status:

        def show(progress: Progress) -> None:
            status.update(f"Labelling {progress}")

        temperature = setup.recipe.objective.temperature
        store = label_tokens(setup.teacher, setup.training, folder, temperature, progress=show)
    say(
        f"{len(setup.training):,} examples labelled in {folder}: the largest {store.kept} logits of each answer token"
        f" hold {store.mass():.1%} of the teacher's probability at temperature {temperature:g}"
    )
    return store
