"""``potstill export``: a forecaster as a graph that runs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.data.series.store import Store
from potstill.errors import UserError
from potstill.exporting.export import Export, export_forecaster
from potstill.exporting.options import ExportOptions, Format, Quantisation
from potstill.exporting.validation import validation_of
from potstill.families.base import Forecaster
from potstill.families.exported import ExportedForecaster
from potstill.recipe import SeriesData
from potstill.tasks.base import forecaster_of
from potstill.tasks.lengths import fit_lengths


def export(
    model: str | Path | Forecaster,
    output: str | Path,
    *,
    format: Format = "onnx",
    quantize: Quantisation | None = None,
    data: Any = None,
    allow_loss: bool = False,
) -> Export:
    """Export a forecaster to ONNX or OpenVINO, and compare it with PyTorch.

    Parameters
    ----------
    model
        A folder, hub id, ``embedded``, or a loaded forecaster.
    output
        A new folder, which ``potstill.runtime.Runtime`` and the distribution potstill-runtime execute.
    format
        ``onnx`` or ``openvino``.
    quantize
        ``int8``: weights and activations; ``int8-weights`` and ``bf16``: OpenVINO only; default: fp32.
    data
        Data whose validation part the export is calibrated on and compared on: paths, a data frame or a data section;
        default: those of the run that the model belongs to, or generated series.
    allow_loss
        Accept a loss of more than 1 % SQL.

    Returns
    -------
    Export
        The folder, and the comparison.

    Raises
    ------
    UserError
        If the model cannot be exported, the data or options are invalid, or too much accuracy is lost.
    """
    options = ExportOptions(format, quantize)
    folder = Path(output)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder}: already exists; choose another --output.", key="export.exists")
    loaded = forecaster_of(model, "cpu")
    loaded.freeze()
    if isinstance(loaded, ExportedForecaster):
        raise UserError(
            f"{loaded.source.name}: is exported already; name the model that it was exported from.",
            key="export.already_exported",
        )

    def fit(settings: SeriesData, store: Store) -> SeriesData:
        return fit_lengths(settings, store, [loaded])

    return export_forecaster(loaded, folder, options, validation_of(loaded, data, fit), allow_loss)
