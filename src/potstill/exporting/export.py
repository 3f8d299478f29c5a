"""The whole export of a forecaster: graph, quantisation, comparison with PyTorch, card."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from potstill.console import progress_bar, say
from potstill.errors import UserError
from potstill.exporting import parity
from potstill.exporting.card import parity_table, write_card
from potstill.exporting.forecaster import write_forecaster
from potstill.exporting.options import MAX_LOSS, ExportOptions
from potstill.exporting.packages import require
from potstill.exporting.validation import CALIBRATION_WINDOWS, Validation
from potstill.families.base import Forecaster
from potstill.families.load import load_forecaster
from potstill.runs import begin_folder, put_in_place, write_json
from potstill.runtime.folder import MANIFEST_FILE, Manifest


@dataclass(frozen=True)
class Export:
    """An exported model.

    Attributes
    ----------
    folder
        Where it is.
    manifest
        The content of its ``export.json``; ``parity`` compares it with PyTorch.
    """

    folder: Path
    manifest: Manifest

    @property
    def loss(self) -> float:
        """How much higher its SQL is than that of the PyTorch model, as a share: 0.01 is one per cent."""
        return self.manifest.parity["added_sql"]


def export_forecaster(
    model: Forecaster, output: Path, options: ExportOptions, validation: Validation, allow_loss: bool
) -> Export:
    """Export a forecaster; the folder appears when it is complete.

    Parameters
    ----------
    model
        On the CPU, in evaluation mode.
    output
        The new folder.
    options, validation
        How, and the windows on which it is calibrated and compared.
    allow_loss
        Whether a loss above ``MAX_LOSS`` is accepted.

    Raises
    ------
    UserError
        If the model cannot be exported, or loses more accuracy.
    """
    require(*options.packages)
    say(f"Exporting  {model.source.name} ({model.family}, {model.parameters:,} parameters) to {options.format}")
    folder = begin_folder(output)
    try:
        calibration = validation.sample(CALIBRATION_WINDOWS)
        manifest = write_forecaster(model, folder, options, calibration)
        manifest = replace(
            manifest,
            provenance={
                **manifest.provenance,
                "source": Path(model.source.location).name,
                "fingerprint": model.fingerprint,
            },
            parity=_compared(model, folder, validation),
        )
        loss = manifest.parity["added_sql"]
        if loss > MAX_LOSS and not allow_loss:
            raise UserError(
                f"{output}: the exported model loses {100 * loss:.1f} % SQL on the validation windows, and at most"
                f" {100 * MAX_LOSS:.0f} % is accepted; choose another --quantize, or write --allow-loss.",
                key="export.loss",
            )
        write_json(folder / MANIFEST_FILE, asdict(manifest))
        write_card(folder, manifest, model.source)
        put_in_place(folder, output)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    say(*parity_table(manifest), f"Exported   {output}")
    return Export(output, manifest)


def _compared(model: Forecaster, folder: Path, validation: Validation) -> dict[str, Any]:
    exported = load_forecaster(folder)
    with progress_bar("Comparing") as progress:
        sql = parity.sql_by_dataset({parity.PYTORCH: model, parity.EXPORTED: exported}, validation, progress)
    say("Measuring costs")
    return {
        "windows": validation.origin,
        "sql": sql,
        "added_sql": parity.added_loss(sql[parity.EXPORTED], sql[parity.PYTORCH]),
        **parity.differences(model, exported, validation),
        "cost": parity.costs(model, exported, validation, folder),
    }
