"""Chronos-2 (Amazon, arXiv:2510.15821) as a forecaster, with the modules of chronos-forecasting.

Weights, their names and the file layout are upstream's; the forward pass is in ``encode.py``.

Shapes: B windows, C context, H horizon, N output patches, P steps per patch, Q levels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from chronos.chronos2 import Chronos2Model, Chronos2Pipeline
from torch import Tensor

from potstill.families.base import Forecaster, ModelSource
from potstill.families.checkpoint import HORIZONS_KEY
from potstill.families.chronos2.encode import Encoded, encode_groups, encode_univariate
from potstill.families.chronos2.rows import rows_of
from potstill.families.recorder import patch_spans
from potstill.families.sparse import AUXILIARY, auxiliary_losses, routing_statistics, sparse_layers
from potstill.runtime.forecast import Forecast as PathForecast
from potstill.runtime.rollout import roll_out_deciles
from potstill.types import Forecast, Output, Request, Windows

#: levels of the quantile paths that a roll-out feeds back: upstream's default
ROLLOUT_LEVELS = [round(0.1 * k, 1) for k in range(1, 10)]


ROLLOUT_ROWS = 512  # of one pass: more do not fit into the caches of a processor
SPREAD_KEY = "spread_factor"  # key of the config that upstream ignores: the weights contain the factor


class Chronos2Forecaster(Forecaster):
    """A Chronos-2 model of any size; see :class:`Forecaster`."""

    family = "chronos2"
    module: Any  # a Chronos2Model; with that type every use of a submodule would need a cast
    signals = frozenset({"forecast", "hidden", "attention", "qkv"})
    group_signals = signals

    def __init__(self, module: Chronos2Model, source: ModelSource):
        self.module = module
        self.source = source
        chronos, config = module.chronos_config, module.config
        self.levels = torch.tensor(chronos.quantiles, dtype=torch.float32)
        self.layers, self.width = config.num_layers, config.d_model
        self.heads, self.head_width = config.num_heads, config.d_kv
        self.horizon_multiple = chronos.output_patch_size
        self.max_context = chronos.context_length
        longest = chronos.max_output_patches * self.horizon_multiple
        self.max_horizon = min(longest, getattr(config, "prediction_length", longest))
        self.spread = getattr(config, SPREAD_KEY, 1.0)
        self.auxiliary = AUXILIARY if sparse_layers(module) else ()

    @property
    def active_parameters(self) -> int:
        """Number of weights that one token passes through."""
        return active_parameters(self.module)

    def forward(self, windows: Windows, request: Request) -> Output:
        """Forecast quantiles in instance-normalised arcsinh space.

        ``hidden[i]`` is the stream after block i, ``attention[i]`` and ``qkv[i]`` are of its attention along time, all
        of the windows without their covariates. The tokens are the patches of the context, the register token and the
        patches of the horizon. After the last block only those of the horizon are read.

        Sparse layers also give their auxiliary losses, over the tokens of windows and covariates.
        """
        self.check_windows(windows, request)
        return self._forward(windows.newest(self.max_context), request)

    def _forward(self, windows: Windows, request: Request) -> Output:
        patches = -(-request.horizon // self.horizon_multiple)
        encoded = self._encoded(windows, request, patches)
        loc, scale = instance_scale(windows.context, self.module.instance_norm.eps)
        values = self.module.output_patch_embedding(encoded.stream).float()
        rows, levels = len(values), len(self.levels)
        values = values.view(rows, patches, levels, self.horizon_multiple).transpose(1, 2).reshape(rows, levels, -1)
        arcsinh = self.module.chronos_config.use_arcsinh
        forecast = Forecast(
            self.levels.to(values.device, non_blocking=True), values[..., : request.horizon], loc, scale, arcsinh
        )
        output = Output(forecast)
        if request.layers:
            tokens, registers = encoded.mask.shape[1], int(self.module.chronos_config.use_reg_token)
            spans = patch_spans(tokens - registers - patches, patches, self.horizon_multiple, registers)
            output = encoded.recorded.output(forecast, encoded.mask, spans)
        output.auxiliary, output.statistics = auxiliary_losses(encoded.routings), routing_statistics(encoded.routings)
        return output

    def _encoded(self, windows: Windows, request: Request, patches: int) -> Encoded:
        if windows.stands_alone:
            return encode_univariate(self.module, windows.context, patches, request)
        encoded = encode_groups(self.module, rows_of(windows, request.horizon), patches, request)
        return encoded.first(len(windows))

    def roll_out(self, windows: Windows, prediction_length: int) -> Forecast:
        """Roll out as upstream does: several quantile paths are fed back, so that intervals keep growing.

        Known-future covariates are used as far as they are known. Upstream's code also computes the attention between
        all paths of single series, which makes it several times slower; here they are forecast without it.
        """
        windows = windows.newest(self.max_context)
        if windows.stands_alone:
            return self._roll_out_alone(windows, prediction_length)
        rows = rows_of(windows, prediction_length)
        future = rows.future
        if future is None:
            future = rows.context.new_full((len(rows.context), prediction_length), torch.nan)
        pipeline = Chronos2Pipeline(self.module)
        if not set(ROLLOUT_LEVELS) <= set(pipeline.quantiles):
            raise ValueError(f"a roll-out needs the levels {ROLLOUT_LEVELS}; this model has {pipeline.quantiles}")
        quantiles = pipeline._predict_batch(
            context=rows.context,
            group_ids=rows.group,
            future_covariates=future,
            unrolled_quantiles_tensor=torch.tensor(ROLLOUT_LEVELS),
            prediction_length=prediction_length,
            max_output_patches=pipeline.max_output_patches,
            target_idx_ranges=[(0, len(windows))],
        )[0].double()
        loc, scale = instance_scale(windows.context.cpu(), self.module.instance_norm.eps)
        values = (quantiles - loc[:, :, None]) / scale[:, :, None]
        return Forecast(self.levels, values.float(), loc, scale)

    @torch.no_grad()
    def _roll_out_alone(self, windows: Windows, prediction_length: int) -> Forecast:
        """As ``roll_out``, of windows without groups and covariates."""

        def block(contexts: np.ndarray, steps: int, done: int) -> PathForecast:
            rows = torch.from_numpy(contexts).float().to(self.device)
            parts = [Windows.of_context(part, steps) for part in rows.split(ROLLOUT_ROWS)]
            found = [self._forward(part, Request(steps)).forecast for part in parts]
            values, loc, scale = (
                torch.cat([getattr(one, name).cpu() for one in found]).numpy() for name in ("values", "loc", "scale")
            )
            return PathForecast(self.levels.numpy(), values, loc, scale, found[0].arcsinh)

        longest = self.module.chronos_config.max_output_patches * self.horizon_multiple
        contexts = windows.context.double().cpu().numpy()
        found = roll_out_deciles(block, contexts, prediction_length, longest, self.max_context)
        arrays = (torch.from_numpy(array) for array in (found.levels, found.values, found.loc, found.scale))
        return Forecast(*arrays, arcsinh=found.arcsinh)

    @torch.no_grad()
    def scale_spread(self, factor: float) -> bool:
        """Fold the factor into the weights of the output patches, so that upstream's pipeline applies it too."""
        middle = int((self.levels - 0.5).abs().argmin())
        block = self.module.output_patch_embedding
        for layer in (block.output_layer, block.residual_layer):
            for weight in (layer.weight, layer.bias):
                by_level = weight.view(len(self.levels), -1)  # rows are (level, step of the patch)
                by_level.copy_(torch.lerp(by_level[middle].clone(), by_level, factor))
        self.spread *= factor
        setattr(self.module.config, SPREAD_KEY, self.spread)
        return True

    def save(self, folder: Path) -> None:
        """Write upstream's layout: config.json and model.safetensors; a sparse model has further weights."""
        setattr(self.module.config, HORIZONS_KEY, self.calibrate_horizons)
        self.module.save_pretrained(folder)


def active_parameters(module: Any) -> int:
    """Number of a module's weights that one token passes through."""
    return sum(p.numel() for p in module.parameters()) - sum(x.inactive_parameters for x in sparse_layers(module))


def instance_scale(context: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each context as in upstream's InstanceNorm, ``[B, 1]`` float64."""
    x = context.float()
    loc = torch.nan_to_num(x.nanmean(dim=-1, keepdim=True), nan=0.0)
    scale = torch.nan_to_num((x - loc).square().nanmean(dim=-1, keepdim=True).sqrt(), nan=1.0)
    return loc.double(), torch.where(scale == 0, eps, scale).double()
