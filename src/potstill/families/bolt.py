"""Chronos-Bolt (Amazon) through chronos-forecasting's own classes: a teacher.

A T5 encoder over patches and one decoder step that gives all quantiles of all steps at once. Weights, names and files
stay upstream's.

Shapes: B windows, C context, Q levels, H steps.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from chronos.chronos_bolt import ChronosBoltModelForForecasting as UpstreamModel
from chronos.chronos_bolt import ChronosBoltPipeline
from torch import Tensor

from potstill.errors import UserError
from potstill.families.base import Forecaster, Source, TeacherFamily
from potstill.types import Forecast, Output, Windows

ARCHITECTURE = "ChronosBoltModelForForecasting"


class ChronosBoltModelForForecasting(UpstreamModel):
    """Upstream's model, which passes over patch embeddings that a checkpoint lacks and draws them at random."""

    _keys_to_ignore_on_load_missing = None


class BoltForecaster(Forecaster):
    """A Chronos-Bolt model of any size; see :class:`Forecaster`. ``patch`` is that of the context: H has none."""

    family = "bolt"
    module: Any  # a Chronos-Bolt model; as such, each of its submodules would need a cast

    def __init__(self, module: UpstreamModel, source: Source):
        self.module = module
        self.source = source
        bolt = module.chronos_config
        self.levels = torch.tensor(bolt.quantiles, dtype=torch.float32)
        self.horizon_multiple = bolt.input_patch_size
        self.max_context = bolt.context_length
        self.max_horizon = bolt.prediction_length

    def forward(
        self, windows: Windows, horizon: int, hidden: tuple[int, ...] = (), attention: tuple[int, ...] = ()
    ) -> Output:
        """Quantiles in instance-normalised space; of ``hidden`` and ``attention`` it gives none."""
        context = windows.context[:, -self.max_context :]
        states, (loc, scale), embedded, mask = self.module.encode(context=context)
        decoded = self.module.decode(embedded, mask, states)
        values = self.module.output_patch_embedding(decoded).float().view(len(context), len(self.levels), -1)
        levels = self.levels.to(values.device)
        return Output(Forecast(levels, values[..., :horizon], loc.double(), scale.double()))

    def roll_out(self, context: Tensor, prediction_length: int) -> Forecast:
        """Upstream's: Q paths, each fed back with its own quantile, Q · Q forecasts reduced to Q, block after block."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # predict has said it
            quantiles = ChronosBoltPipeline(self.module).predict(context, prediction_length=prediction_length)
        _, (loc, scale) = self.module.instance_norm(context.cpu())
        loc, scale = loc.double(), scale.double()
        values = (quantiles.double() - loc[:, :, None]) / scale[:, :, None]
        return Forecast(self.levels, values.float(), loc, scale)

    def save(self, folder: Path) -> None:
        """Upstream's layout: config.json and model.safetensors."""
        self.module.save_pretrained(folder)


class BoltFamily(TeacherFamily):
    """Loads Chronos-Bolt models."""

    name = "bolt"

    def recognises(self, config: dict[str, Any]) -> bool:
        """By the architecture name."""
        return config.get("architectures") == [ARCHITECTURE]

    def load(self, folder: str, source: Source, **hub_options: Any) -> BoltForecaster:
        """Through ``from_pretrained``; safetensors only.

        Raises
        ------
        UserError
            Where the checkpoint lacks weights or they do not fit its config.json.
        """
        loaded: Any = ChronosBoltModelForForecasting.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **hub_options
        )
        module, found = loaded
        # transformers would go on with random numbers in the place of either
        wrong = [*sorted(found["missing_keys"]), *sorted(key[0] for key in found["mismatched_keys"])]
        if wrong:
            raise UserError(
                f"{folder}: {len(wrong)} of the model's weights are missing or of other shapes than config.json says,"
                f" for example {wrong[0]}; fetch or make it again."
            )
        return BoltForecaster(module, source)
