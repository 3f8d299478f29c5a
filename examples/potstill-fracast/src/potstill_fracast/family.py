"""Fracast-0 (github.com/ztxtech/fracast-0, Apache-2.0) as a teacher; its wheel includes the 85,001 weights.

Shapes: B windows, C context, W the model's width (2,048), Q levels, H steps.
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from fracast import FracastModel
from torch import Tensor, nn

from potstill.plugins import Forecast, Forecaster, ModelSource, Output, Request, TeacherFamily, Windows

MIN_KNOWN = 8  # known values that upstream requires
MIN_RANGE = 1e-5  # of a context, as upstream


class Fracast(nn.Module):
    """Upstream's encoder and head in one module; the names of the weights are those in upstream's file."""

    def __init__(self, model: FracastModel):
        super().__init__()
        self.core: Any = model.core
        self.head: Any = model.head

    def forward(self, values: Tensor, known: Tensor) -> Tensor:
        """One block of quantiles ``[B, Q, H]`` from normalised contexts ``[B, W]`` and bool: which values are known."""
        states = self.core(values[:, None], known[:, None], known[:, None].float())
        return self.head.forward_horizon(states, last_obs=values[:, -1:], ctx=values, ctx_mask=known).transpose(1, 2)


class FracastForecaster(Forecaster):
    """Fracast-0; see :class:`Forecaster`. One pass forecasts 48 steps; two passes cover its horizon of 96."""

    family = "fracast"

    def __init__(self, model: FracastModel, config: dict[str, Any], source: ModelSource):
        self.module: Any = Fracast(model)
        self.config = config
        self.source = source
        self.levels = torch.tensor(model.quantiles, dtype=torch.float32)
        self.max_context = model.context_length
        self.horizon_multiple = model.horizon
        self.max_horizon = config["model"]["max_future_patches"] * config["model"]["future_patch"]

    def forward(self, windows: Windows, request: Request) -> Output:
        """Forecast quantiles in units of the context's range."""
        self.check_windows(windows, request)
        return Output(self.roll_out(windows, request.horizon))

    def roll_out(self, windows: Windows, prediction_length: int) -> Forecast:
        """Forecast block by block as upstream does: feed the median back, and normalise each block by its own context.

        Upstream raises an error for a window with fewer than eight known values. Here its forecast is the empirical
        quantiles of these values at every step, or zeros if no value is known.
        """
        context = windows.context.float()[:, -self.max_context :]
        too_few = context.isfinite().sum(dim=1) < MIN_KNOWN
        rows = torch.where(too_few[:, None], 0.0, context)
        middle = int((self.levels - 0.5).abs().argmin())
        blocks: list[Tensor] = []
        for _ in range(-(-prediction_length // self.horizon_multiple)):
            values, known, loc, scale = self._normalise(rows)
            block = self.module(values, known).double() * scale[:, :, None] + loc[:, :, None]
            blocks.append(block)
            rows = torch.cat([rows, block[:, middle].float()], dim=1)[:, -self.max_context :]
        quantiles = torch.cat(blocks, dim=2)[..., :prediction_length]
        levels = self.levels.to(context.device)
        if too_few.any():
            quantiles = torch.where(too_few[:, None, None], _empirical(context, levels, too_few)[:, :, None], quantiles)
        _, _, loc, scale = self._normalise(context)
        return Forecast(levels, ((quantiles - loc[:, :, None]) / scale[:, :, None]).float(), loc, scale)

    def save(self, folder: Path) -> None:
        """Write upstream's layout: config.json and model.safetensors."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.module.state_dict(), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(self.config, indent=2), encoding="utf-8")

    def _normalise(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Min–max normalisation, padded to the model's width: values, known ``[B, W]``, loc and scale ``[B, 1]``."""
        known = rows.isfinite()
        low = torch.where(known, rows, torch.inf).amin(dim=1, keepdim=True).double()
        high = torch.where(known, rows, -torch.inf).amax(dim=1, keepdim=True).double()
        loc = torch.where(low.isfinite(), low, 0.0)
        scale = torch.where(low.isfinite(), (high - low).clamp(min=MIN_RANGE), 1.0)
        values = torch.where(known, (rows - loc) / scale, 0.0).float()
        padding = (self.max_context - rows.shape[1], 0)
        return nn.functional.pad(values, padding), nn.functional.pad(known, padding), loc, scale


class FracastFamily(TeacherFamily[FracastForecaster]):
    """Loads Fracast-0; ``--teacher fracast`` loads the checkpoint in its wheel."""

    name = "fracast"
    library = "fracast"

    def locate(self) -> str:
        """The folder of the weights in the installed wheel."""
        return str(files("fracast") / "weights")

    def recognises(self, config: dict[str, Any]) -> bool:
        """Recognised by ``model.family`` in the config."""
        model = config.get("model")
        return isinstance(model, dict) and model.get("family") == self.name

    def load(self, folder: str, source: ModelSource, **options: Any) -> FracastForecaster:
        """Load the fp32 checkpoint with upstream's loader; weights stay fp32 for every ``dtype``."""
        if not Path(folder).is_dir():
            from huggingface_hub import snapshot_download

            names = ["config.json", "model.safetensors"]
            folder = snapshot_download(folder, allow_patterns=names, revision=options.get("revision"))
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        model = FracastModel.from_pretrained(folder, weights="fp32")
        return FracastForecaster(model, config, replace(source, licence=source.licence or "apache-2.0"))


def _empirical(context: Tensor, levels: Tensor, rows: Tensor) -> Tensor:
    """``[B, Q]`` empirical quantiles of the selected rows; zero for other rows and rows without a known value."""
    quantiles = context.new_zeros(len(context), len(levels), dtype=torch.float64)
    known = torch.where(context[rows].isfinite(), context[rows], torch.nan).double()
    quantiles[rows] = known.nanquantile(levels.double(), dim=1).T.nan_to_num(0.0)
    return quantiles
