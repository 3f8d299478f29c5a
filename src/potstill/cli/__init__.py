"""The command line: one thin file per verb, without logic. Nothing here imports torch before a verb runs."""

from potstill.cli.program import main

__all__ = ["main"]
