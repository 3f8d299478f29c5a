"""``potstill inspect``."""

from __future__ import annotations

from typing import Any

from potstill.cli.options import Model, with_recipe
from potstill.recipe import Recipe

OPTIONS = ("student", "data", "target", "split", "max_files", "context_length", "prediction_length", "stride", "seed")


@with_recipe(*OPTIONS, file=False)
def inspect(recipe: Recipe, model: Model) -> None:
    """Describe a model: its family, sizes and lengths, a forecaster's levels, a language model's vocabulary.

    With --student or --data also what each start of a student keeps of it: errors before any training.
    """
    from rich.console import Console
    from rich.table import Table

    from potstill import verbs

    table = Table("", "", show_header=False, title=model, title_justify="left")
    for key, value in _flat(verbs.inspect(model, recipe if recipe.model_fields_set else None)):
        table.add_row(key, value)
    Console(markup=False, emoji=False).print(table)  # names may contain brackets


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
            rows.append((f"{prefix}{key}", shown))
    return rows
