"""What verbs tell the user, on stderr, so that stdout stays free for results; lines are never broken by us."""

from __future__ import annotations

from rich.console import Console

console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(*lines: str) -> None:
    """Print lines as they are: names of the user's are no markup."""
    console.print("\n".join(lines), markup=False)
