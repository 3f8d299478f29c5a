"""The command line: one thin file per verb, no logic; nothing here imports torch before a verb begins its work."""

from potstill.cli.program import main

__all__ = ["main"]
