"""``potstill inspect``."""

from __future__ import annotations

from typing import Any

from potstill.cli.options import Model


def inspect(model: Model) -> None:
    """Describe a model: its family, sizes and lengths, a forecaster's levels, a language model's vocabulary."""
    from rich.console import Console
    from rich.table import Table

    from potstill import verbs

    table = Table("", "", show_header=False, title=model, title_justify="left")
    for key, value in _flat(verbs.inspect(model)):
        table.add_row(key, value)
    Console().print(table)


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
            rows.append((f"{prefix}{key}", shown))
    return rows
