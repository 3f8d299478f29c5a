"""The typer application: the verbs and the global options."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill import __version__
from potstill.cli.distill import distill
from potstill.cli.evaluate import evaluate
from potstill.cli.export import export
from potstill.cli.forecast import forecast
from potstill.cli.generate import generate
from potstill.cli.inspect import inspect
from potstill.cli.label import label
from potstill.cli.mix import mix
from potstill.cli.report import report

app = typer.Typer(
    help="Distil large pretrained forecasters and language models into small, fast ones.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"potstill {__version__}")
        raise typer.Exit


for verb in (distill, label, mix, evaluate, export, forecast, generate, inspect, report):
    app.command()(verb)
