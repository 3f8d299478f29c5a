"""Output to the user on stderr, so that stdout contains results only; lines are not wrapped."""

from __future__ import annotations

from rich.console import Console

from potstill.ranks import is_main

console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(*lines: str) -> None:
    """Print lines without markup (names may contain brackets); only the main process prints."""
    if is_main():
        console.print("\n".join(lines), markup=False)
