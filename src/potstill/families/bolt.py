"""Chronos-Bolt (Amazon) through chronos-forecasting's own classes: a teacher.

A T5 encoder over patches and one decoder step that returns all quantiles of all steps at once. Weights, their names
and the file layout are upstream's.

Shapes: B windows, C context, Q levels, H steps.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from chronos.chronos_bolt import ChronosBoltModelForForecasting as UpstreamModel
from chronos.chronos_bolt import ChronosBoltPipeline

from potstill.errors import UserError
from potstill.families.base import Forecaster, ModelSource, TeacherFamily
from potstill.types import Forecast, Output, Request, Windows

BOLT_ARCHITECTURE = "ChronosBoltModelForForecasting"


class ChronosBoltModelForForecasting(UpstreamModel):
    """Upstream's model, except that patch embeddings missing from a checkpoint are reported, not drawn at random."""

    _keys_to_ignore_on_load_missing = None


class BoltForecaster(Forecaster):
    """A Chronos-Bolt model of any size; see :class:`Forecaster`.

    ``horizon_multiple`` is the patch size of the context; the horizon is not split into patches.
    """

    family = "bolt"
    module: Any  # a ChronosBoltModelForForecasting; with that type every use of a submodule would need a cast

    def __init__(self, module: UpstreamModel, source: ModelSource):
        self.module = module
        self.source = source
        bolt = module.chronos_config
        self.levels = torch.tensor(bolt.quantiles, dtype=torch.float32)
        self.horizon_multiple = bolt.input_patch_size
        self.max_context = bolt.context_length
        self.max_horizon = bolt.prediction_length

    def forward(self, windows: Windows, request: Request) -> Output:
        """Quantiles in instance-normalised space."""
        self.check_windows(windows, request)
        context = windows.context[:, -self.max_context :]
        states, (loc, scale), embedded, mask = self.module.encode(context=context)
        decoded = self.module.decode(embedded, mask, states)
        values = self.module.output_patch_embedding(decoded).float().view(len(context), len(self.levels), -1)
        levels = self.levels.to(values.device, non_blocking=True)
        return Output(Forecast(levels, values[..., : request.horizon], loc.double(), scale.double()))

    def roll_out(self, windows: Windows, prediction_length: int) -> Forecast:
        """Roll out as upstream does: per block, feed back Q quantile paths and reduce the Q · Q forecasts to Q."""
        context = windows.context
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # predict has already warned
            quantiles = ChronosBoltPipeline(self.module).predict(context, prediction_length=prediction_length)
        _, (loc, scale) = self.module.instance_norm(context.cpu())
        loc, scale = loc.double(), scale.double()
        values = (quantiles.double() - loc[:, :, None]) / scale[:, :, None]
        return Forecast(self.levels, values.float(), loc, scale)

    def save(self, folder: Path) -> None:
        """Write upstream's layout: config.json and model.safetensors."""
        self.module.save_pretrained(folder)


class BoltFamily(TeacherFamily[BoltForecaster]):
    """Loads Chronos-Bolt models."""

    name = "bolt"
    library = "chronos-forecasting"

    def recognises(self, config: dict[str, Any]) -> bool:
        """Recognised by the architecture name."""
        return config.get("architectures") == [BOLT_ARCHITECTURE]

    def load(self, folder: str, source: ModelSource, **hub_options: Any) -> BoltForecaster:
        """Load with ``from_pretrained``, from safetensors only.

        Raises
        ------
        UserError
            If weights are missing from the checkpoint or their shapes differ from its config.json.
        """
        loaded: Any = ChronosBoltModelForForecasting.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **hub_options
        )
        module, report = loaded
        # transformers would use random weights in both cases
        wrong = [*sorted(report["missing_keys"]), *sorted(key[0] for key in report["mismatched_keys"])]
        if wrong:
            raise UserError(
                f"{folder}: {len(wrong)} of the model's weights are missing or have other shapes than in config.json,"
                f" for example {wrong[0]}; download or create the checkpoint again.",
                key="model.weights_mismatch",
            )
        return BoltForecaster(module, source)
