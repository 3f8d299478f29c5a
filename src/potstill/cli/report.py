"""``potstill report``."""

from __future__ import annotations

from typing import Annotated

import typer


def report(run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run or an evaluation.")]) -> None:
    """Write RUN/report.html again from the files of a run."""
    from potstill import verbs

    typer.echo(verbs.report(run))
