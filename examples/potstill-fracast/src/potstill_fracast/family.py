"""Fracast-0 (github.com/ztxtech/fracast-0, Apache-2.0) as a teacher: 85,001 weights, which come with its wheel.

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

from potstill.families.base import Forecaster, Source, TeacherFamily
from potstill.types import Forecast, Output, Windows

FEWEST = 8  # known values that upstream asks for
NARROWEST = 1e-5  # upstream's least span


class Fracast(nn.Module):
    """Upstream's encoder and head in one module; its weights' names are those of upstream's file."""

    def __init__(self, model: FracastModel):
        super().__init__()
        self.core: Any = model.core
        self.head: Any = model.head

    def forward(self, values: Tensor, known: Tensor) -> Tensor:
        """One block of quantiles ``[B, Q, H]`` from a normalised context ``[B, W]`` and what of it is known."""
        states = self.core(values[:, None], known[:, None], known[:, None].float())
        return self.head.forward_horizon(states, last_obs=values[:, -1:], ctx=values, ctx_mask=known).transpose(1, 2)


class FracastForecaster(Forecaster):
    """Fracast-0; see :class:`Forecaster`. One pass gives a block of 48 steps, two the 96 it was made for."""

    family = "fracast"

    def __init__(self, model: FracastModel, config: dict[str, Any], source: Source):
        self.module: Any = Fracast(model)
        self.config = config
        self.source = source
        self.levels = torch.tensor(model.quantiles, dtype=torch.float32)
        self.max_context = model.context_length
        self.horizon_multiple = model.horizon
        self.max_horizon = config["model"]["max_future_patches"] * config["model"]["future_patch"]

    def forward(
        self, windows: Windows, horizon: int, hidden: tuple[int, ...] = (), attention: tuple[int, ...] = ()
    ) -> Output:
        """Quantiles in units of the context's range; of ``hidden`` and ``attention`` it gives none."""
        return Output(self.roll_out(windows.context, horizon))

    def roll_out(self, context: Tensor, prediction_length: int) -> Forecast:
        """Block after block as upstream does it: the median is fed back, each block normalised by its own context.

        A window with fewer than eight known values, for which upstream raises, is given their empirical quantiles at
        every step; zeros, where nothing is known.
        """
        context = context.float()[:, -self.max_context :]
        poor = context.isfinite().sum(dim=1) < FEWEST
        rows = torch.where(poor[:, None], 0.0, context)
        middle = int((self.levels - 0.5).abs().argmin())
        blocks: list[Tensor] = []
        for _ in range(-(-prediction_length // self.horizon_multiple)):
            values, known, loc, scale = self._normalise(rows)
            block = self.module(values, known).double() * scale[:, :, None] + loc[:, :, None]
            blocks.append(block)
            rows = torch.cat([rows, block[:, middle].float()], dim=1)[:, -self.max_context :]
        quantiles = torch.cat(blocks, dim=2)[..., :prediction_length]
        levels = self.levels.to(context.device)
        if poor.any():
            quantiles = torch.where(poor[:, None, None], _empirical(context, levels, poor)[:, :, None], quantiles)
        _, _, loc, scale = self._normalise(context)
        return Forecast(levels, ((quantiles - loc[:, :, None]) / scale[:, :, None]).float(), loc, scale)

    def save(self, folder: Path) -> None:
        """Upstream's layout: config.json and model.safetensors."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.module.state_dict(), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(self.config, indent=2), encoding="utf-8")

    def _normalise(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Min–max in float64, padded to the model's width: values and known ``[B, W]``, loc and scale ``[B, 1]``."""
        known = rows.isfinite()
        low = torch.where(known, rows, torch.inf).amin(dim=1, keepdim=True).double()
        high = torch.where(known, rows, -torch.inf).amax(dim=1, keepdim=True).double()
        loc = torch.where(low.isfinite(), low, 0.0)
        scale = torch.where(low.isfinite(), (high - low).clamp(min=NARROWEST), 1.0)
        values = torch.where(known, (rows - loc) / scale, 0.0).float()
        padding = (self.max_context - rows.shape[1], 0)
        return nn.functional.pad(values, padding), nn.functional.pad(known, padding), loc, scale


class FracastFamily(TeacherFamily):
    """Loads Fracast-0; ``--teacher fracast`` is the checkpoint in its wheel."""

    name = "fracast"

    def locate(self) -> str:
        """The weights in the installed wheel."""
        return str(files("fracast") / "weights")

    def recognises(self, config: dict[str, Any]) -> bool:
        """By the family that the model's part of the config names."""
        model = config.get("model")
        return isinstance(model, dict) and model.get("family") == self.name

    def load(self, folder: str, source: Source, **options: Any) -> FracastForecaster:
        """The full-precision checkpoint through upstream's loader; weights stay fp32, whatever ``dtype`` says."""
        if not Path(folder).is_dir():
            from huggingface_hub import snapshot_download

            names = ["config.json", "model.safetensors"]
            folder = snapshot_download(folder, allow_patterns=names, revision=options.get("revision"))
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        model = FracastModel.from_pretrained(folder, weights="fp32")
        return FracastForecaster(model, config, replace(source, licence=source.licence or "apache-2.0"))


def _empirical(context: Tensor, levels: Tensor, rows: Tensor) -> Tensor:
    """``[B, Q]`` quantiles of the known values of the rows asked for, zero elsewhere and where nothing is known."""
    found = context.new_zeros(len(context), len(levels), dtype=torch.float64)
    known = torch.where(context[rows].isfinite(), context[rows], torch.nan).double()
    found[rows] = known.nanquantile(levels.double(), dim=1).T.nan_to_num(0.0)
    return found
