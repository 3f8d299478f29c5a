"""Exported models as forecasters: they forecast, are evaluated and teach, but have no weights that could be trained.

Shapes: B windows, C context.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from potstill.errors import UserError
from potstill.families.base import Forecaster, ModelSource, TeacherFamily
from potstill.runtime import ExportError, Runtime
from potstill.runtime.folder import FORMAT, MANIFEST_FILE
from potstill.runtime.windows import Windows as RuntimeWindows
from potstill.types import Forecast, Output, Request, Windows


class ExportedForecaster(Forecaster):
    """A folder written by ``potstill export``, executed by ONNX Runtime or OpenVINO on the CPU."""

    family = "exported"
    groups_advice = "export a Chronos-2 model with `potstill export --groups`"

    def __init__(self, runtime: Runtime, source: ModelSource):
        manifest = runtime.manifest
        self.runtime, self.source, self.module = runtime, source, nn.Module()
        self.levels = torch.from_numpy(runtime.levels)
        self.max_context, self.max_horizon = manifest.max_context, manifest.max_horizon
        self.horizon_multiple = manifest.horizon_multiple
        self.group_signals = self.signals if manifest.groups else frozenset()

    @property
    def device(self) -> torch.device:
        """Always the CPU."""
        return torch.device("cpu")

    @property
    def parameters(self) -> int:
        """Number of weights of the model that was exported."""
        return self.runtime.manifest.parameters

    @property
    def bytes(self) -> int:
        """Size of the graph's files."""
        return sum(path.stat().st_size for path in self.runtime.files)

    @property
    def precision(self) -> str:
        """fp32, bf16, int8 or int8-weights."""
        return self.runtime.manifest.precision

    @property
    def fingerprint(self) -> str:
        """sha256 of the manifest's checksums."""
        manifest = (self.runtime.folder / MANIFEST_FILE).read_bytes()
        return hashlib.sha256(manifest).hexdigest()

    def forward(self, batch: Windows, request: Request) -> Output:
        """Forecast quantiles; there is no gradient."""
        self.check_windows(batch, request)
        return Output(self._forecast(batch, request.horizon))

    def roll_out(self, windows: Windows, prediction_length: int) -> Forecast:
        """By the rule of the model that was exported."""
        return self._forecast(windows, prediction_length)

    def save(self, folder: Path) -> None:
        """Not supported.

        Raises
        ------
        UserError
            Always.
        """
        raise UserError(
            f"{self.source.name}: is an exported model; copy its folder instead of saving it.", key="export.no_save"
        )

    def _forecast(self, windows: Windows, steps: int) -> Forecast:
        if windows.stands_alone:
            context = windows.context.double().cpu().numpy()
            found = self.runtime.model.predict(context[:, -self.max_context :], steps)
        else:
            found = self.runtime.model.predict_together(runtime_windows(windows), steps)
        arrays = (torch.from_numpy(array) for array in (found.levels, found.values, found.loc, found.scale))
        return Forecast(*arrays, arcsinh=found.arcsinh)


def runtime_windows(windows: Windows) -> RuntimeWindows:
    """Windows with groups or covariates, as the runtime reads them; without group ids each is its own group."""
    group, past, known = (
        None if part is None else part.cpu().numpy()
        for part in (windows.group, windows.past_covariates, windows.future_covariates)
    )
    if group is None:
        group = np.arange(len(windows))
    else:
        _, group = np.unique(group, return_inverse=True)
    return RuntimeWindows(windows.context.double().cpu().numpy(), group, past, known)


class ExportedFamily(TeacherFamily[ExportedForecaster]):
    """Exported models, in ONNX or OpenVINO."""

    name = "exported"
    safetensors = False

    def recognises(self, config: dict[str, Any]) -> bool:
        """Recognised by the manifest's format."""
        return config.get("format") == FORMAT

    def load(self, folder: str, source: ModelSource, **hub_options: Any) -> ExportedForecaster:
        """Load the graph.

        Raises
        ------
        UserError
            If the folder is damaged or incomplete.
        """
        try:
            return ExportedForecaster(Runtime(folder), source)
        except ExportError as error:
            raise UserError(str(error), key="export.cannot_load") from None
        except ImportError:
            raise UserError(
                f"{folder}: is an exported model; run `pip install potstill[export]` to forecast with it.",
                key="export.not_installed",
            ) from None
