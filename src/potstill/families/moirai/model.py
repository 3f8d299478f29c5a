"""What all kinds of Moirai share: lengths, levels, attention without dropout, and files.

Shapes: B windows, H horizon, Q levels.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.families.base import Forecaster, ModelSource, in_safe_units
from potstill.families.checkpoint import HORIZONS_KEY
from potstill.runtime.units import SMALLEST_OF_UNI2TS
from potstill.types import Forecast, Output, Request, Windows

DEFAULT_CONTEXT, DEFAULT_HORIZON = 720, 96
DEFAULT_LEVELS = tuple(k / 10 for k in range(1, 10))
POTSTILL_KEY = "potstill"  # Potstill's settings in config.json, which from_pretrained ignores


class MoiraiModel(Forecaster):
    """Base class of all kinds of Moirai; see :class:`Forecaster`."""

    family = "moirai"
    module: Any

    def __init__(self, module: Any, source: ModelSource, config: dict[str, Any]):
        self.module = module
        self.source = source
        self.config = config
        self.layers, self.width = module.num_layers, module.d_model
        for part in module.modules():
            if hasattr(part, "attn_dropout_p"):
                part.attn_dropout_p = 0.0  # upstream applies attention dropout in evaluation mode as well
        lengths = _saved_lengths(config, source)
        self.context_length = lengths.get("context_length", DEFAULT_CONTEXT)
        self.max_context = self.context_length
        self.max_horizon = lengths.get("prediction_length", DEFAULT_HORIZON)
        self.levels = torch.tensor(DEFAULT_LEVELS, dtype=torch.float32)

    def forward(self, windows: Windows, request: Request) -> Output:
        """Forecast contexts in units of which uni2ts's scaler keeps the range; see ``_forward``."""
        windows, units = in_safe_units(windows, SMALLEST_OF_UNI2TS)
        output = self._forward(windows, request)
        return output if units is None else replace(output, answer=units.to_input(output.forecast))

    @abstractmethod
    def _forward(self, windows: Windows, request: Request) -> Output:
        """The pass over windows in safe units."""

    def save(self, folder: Path) -> None:
        """Write upstream's layout; config.json also has Potstill's lengths."""
        card = Path(folder) / "README.md"
        had_card = card.exists()
        self.module.save_pretrained(folder, config={**self.config, HORIZONS_KEY: self.calibrate_horizons})
        if not had_card:
            card.unlink(missing_ok=True)  # upstream writes a card that says the model was pushed to the hub


def scaled(quantiles: Tensor, levels: Tensor, loc: Tensor, scale: Tensor) -> Forecast:
    """Convert ``quantiles [B, Q, H]`` in input units to a Forecast in the scale ``loc``, ``scale`` ``[B, 1]``."""
    values = (quantiles.double() - loc[:, :, None]) / scale[:, :, None]
    return Forecast(levels, values.float(), loc, scale)


def _saved_lengths(config: dict[str, Any], source: ModelSource) -> dict[str, Any]:
    lengths = config.get(POTSTILL_KEY, {})
    for key in ("context_length", "prediction_length"):
        if key in lengths and (type(lengths[key]) is not int or lengths[key] < 1):
            raise UserError(
                f"{source.location}: config.json: {POTSTILL_KEY}.{key}={lengths[key]!r}; expected a whole number.",
                key="model.bad_config",
            )
    return lengths
