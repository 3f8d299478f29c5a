"""``potstill export``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from potstill.cli.options import OF_TRAINING, Model, with_recipe
from potstill.errors import UserError
from potstill.recipe import Recipe


@with_recipe(
    *("data", "target", "known", "past", "id_column", "time_column", "date_format", "freq", "decimal", "max_files"),
    *("split", "context_length", "prediction_length"),
    file=False,
    keys="data.",
    unused=OF_TRAINING,
)
def export(
    recipe: Recipe,
    model: Model,
    output: Annotated[str, typer.Option(metavar="DIR", help="New folder for the exported model.")],
    format: Annotated[
        Literal["onnx", "openvino"], typer.Option(help="Graph format, and the library that executes it.")
    ] = "onnx",
    quantize: Annotated[
        Literal["int8", "int8-weights", "bf16", "int4"] | None,
        typer.Option(help="Default: fp32; int8-weights and bf16 need --format openvino, int4 is for language models."),
    ] = None,
    groups: Annotated[
        bool,
        typer.Option("--groups", help="Export the form that reads groups of series and covariates (Chronos-2 only)."),
    ] = False,
    allow_loss: Annotated[
        bool, typer.Option("--allow-loss", help="Accept an export that loses more than 1 % SQL, or perplexity.")
    ] = False,
) -> None:
    """Export a forecaster to ONNX or OpenVINO, or a language model to ONNX: it then runs without torch.

    Ends with a comparison with PyTorch.
    """
    from potstill import verbs

    given = sorted(recipe.data.model_fields_set - {"paths"})
    if given and not recipe.data.paths:
        raise UserError(
            f"--{given[0].replace('_', '-')}: is about --data, which is not given; name the data, or leave this out.",
            key="export.no_data",
        )
    data = recipe.data if recipe.data.paths else None
    verbs.export(model, output, format=format, quantize=quantize, data=data, groups=groups, allow_loss=allow_loss)
