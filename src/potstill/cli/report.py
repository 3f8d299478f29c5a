"""``potstill report``."""

from __future__ import annotations

from typing import Annotated

import typer


def report(run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run or an evaluation.")]) -> None:
    """(Re)draw RUN/report.html from what the run holds."""
    from potstill import verbs

    typer.echo(verbs.report(run))
