"""``potstill export``: a forecaster or a language model as a graph that runs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.console import say
from potstill.data.series.from_argument import config_of
from potstill.data.series.store import Store
from potstill.data.text import check_data, open_examples
from potstill.errors import UserError
from potstill.exporting.export import Export, export_forecaster
from potstill.exporting.language import LanguageExport, export_language
from potstill.exporting.options import ExportOptions, Format, Quantisation
from potstill.exporting.validation import validation_of
from potstill.families.base import Forecaster, Model
from potstill.families.exported import ExportedForecaster
from potstill.families.language.model import LanguageModel
from potstill.families.load import is_language, load_language
from potstill.recipe import Recipe, SeriesData
from potstill.recipe.notation import parse_source
from potstill.runs import RECIPE_FILE, output_path, run_of
from potstill.tasks.base import forecaster_of
from potstill.tasks.evaluation import evaluation_recipe
from potstill.tasks.language.evaluate import fit_length
from potstill.tasks.lengths import fit_lengths


def export(
    model: str | Path | Model,
    output: str | Path,
    *,
    format: Format = "onnx",
    quantize: Quantisation | None = None,
    data: Any = None,
    groups: bool = False,
    allow_loss: bool = False,
) -> Export | LanguageExport:
    """Export a forecaster to ONNX or OpenVINO, or a language model to ONNX, and compare it with PyTorch.

    Parameters
    ----------
    model
        A folder, hub id, ``embedded``, or a loaded model.
    output
        A new folder, which ``potstill.runtime.Runtime`` and the distribution potstill-runtime execute.
    format
        ``onnx`` or ``openvino``.
    quantize
        ``int8``: weights and activations (of language models: weights); ``int8-weights`` and ``bf16``: OpenVINO only;
        ``int4``: language models only; default: fp32.
    data
        Data whose validation part the export is calibrated on and compared on: paths, a data frame or a data section;
        default: those of the run that the model belongs to, for forecasters without one generated series.
    groups
        Export the form that reads groups of series and covariates; the data section names those that it is compared
        on. For Chronos-2 models.
    allow_loss
        Accept a loss of more than 1 % SQL, or perplexity.

    Returns
    -------
    Export or LanguageExport
        The folder, and the comparison.

    Raises
    ------
    UserError
        If the model cannot be exported, the data or options are invalid, or too much accuracy is lost.
    """
    folder = output_path(output)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder}: already exists; choose another --output.", key="export.exists")
    if not isinstance(model, Forecaster) and (isinstance(model, Model) or is_language(model)):
        if groups:
            raise UserError("--groups: is for forecasters; leave it out for a language model.", key="export.no_groups")
        return _export_language(model, folder, data, format=format, quantize=quantize, allow_loss=allow_loss)
    if isinstance(data, SeriesData) and not groups and (data.known or data.past or data.groups):
        raise UserError(
            "--known, --past, data.groups: a graph of single series reads no covariates and groups; add --groups.",
            key="export.covariates_without_groups",
        )
    options = ExportOptions(format, quantize, groups)
    loaded = forecaster_of(model, "cpu")
    loaded.freeze()
    if isinstance(loaded, ExportedForecaster):
        raise UserError(
            f"{loaded.source.name}: is exported already; name the model that it was exported from.",
            key="export.already_exported",
        )

    def fit(settings: SeriesData, store: Store) -> SeriesData:
        return fit_lengths(settings, store, [loaded])

    return export_forecaster(loaded, folder, options, validation_of(loaded, data, fit, groups), allow_loss)


def _export_language(model: str | Path | Model, output: Path, data: Any, **options: Any) -> LanguageExport:
    """Export a language model; its perplexity is measured on the validation part of the data or of its own run."""
    loaded: Any = model if isinstance(model, LanguageModel) else load_language(str(model))
    loaded.freeze()
    location = str(loaded.source.location)
    if data is None:
        run = run_of(parse_source(location)[0])
        if run is None:
            raise UserError(
                f"{loaded.source.name}: no texts to measure the export on; name some with --data.", key="export.no_data"
            )
        data = Recipe.read(run / RECIPE_FILE).data
    settings = {"split": "validation"}
    recipe = evaluation_recipe("language", config_of(data), settings, {loaded.source.name: location})
    check_data(recipe.data)
    recipe.data = fit_length(recipe.data, {loaded.source.name: loaded})
    examples = open_examples(recipe.data, loaded.tokenizer, "validation")
    if not len(examples):
        raise UserError(
            f"{recipe.data.paths[0]}: the validation part holds no example; write --split 0:1:0 to use all of them.",
            key="data.empty_part",
        )
    say(f"Exporting  {loaded.source.name} ({loaded.family}, {loaded.parameters:,} parameters)")
    found = export_language(loaded, output, examples=examples, **options)
    say(*found.table().splitlines(), f"Exported   {found.folder}")
    return found
