"""What Potstill's own small students share: config, files, scaling of a context, forward pass and roll-out.

Their modules are plain ``transformers.PreTrainedModel`` with a config.json and a model.safetensors. They are
univariate: they read one series, standardised by its mean and standard deviation, and forecast all levels of all steps
in one pass.

Shapes: B windows, C context, H horizon, Q levels, P quantile paths.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from potstill.families.base import Forecaster, ModelSource
from potstill.families.checkpoint import HORIZONS_KEY
from potstill.families.recorder import Recorder, patch_spans
from potstill.families.small.layers import patched
from potstill.families.standardise import standardise
from potstill.types import Forecast, Output, Request, Windows

DEFAULT_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class SmallStudentConfig(PretrainedConfig):
    """Lengths and levels of a small student; each family adds its sizes.

    Parameters
    ----------
    context_length, prediction_length
        Steps that it reads and forecasts, the same as in training.
    levels
        Quantile levels, ascending, in (0, 1).
    dropout_rate
        Share of activations dropped in training.
    spread
        Factor of the quantiles' distances from the median, applied to the output.
    """

    def __init__(
        self,
        context_length: int = 512,
        prediction_length: int = 96,
        levels: list[float] | tuple[float, ...] = DEFAULT_LEVELS,
        dropout_rate: float = 0.0,
        spread: float = 1.0,
        **rest: Any,
    ):
        self.context_length = context_length
        self.prediction_length = prediction_length
        self.levels = list(levels)
        self.dropout_rate = dropout_rate
        self.spread = spread
        super().__init__(**rest)


class SmallStudentModel(PreTrainedModel):
    """The module of a small student; the constructor initialises all weights by the family's rule.

    A subclass implements ``forward(scaled, known, recorder)``. It maps the result of ``standardise``, ``[B, C]`` of
    the trained length, to ``values [B, Q, H]`` in the same space, and shows the outputs of its layers to the recorder,
    if there is one. ``signals`` names the outputs that it supports; a model with layers has a ``patch_size``, and its
    tokens are the patches of the context.
    """

    main_input_name = "scaled"
    signals: ClassVar[frozenset[str]] = frozenset({"forecast"})

    def __init__(self, config: SmallStudentConfig):
        super().__init__(config)
        levels: list[float] = config.levels
        # index of the median, or of the level nearest to it
        self.middle = min(range(len(levels)), key=lambda q: abs(levels[q] - 0.5))

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing, because transformers' generic rule must not overwrite the constructor's initialisation."""


class SmallStudentForecaster(Forecaster):
    """A small student as a forecaster; see :class:`Forecaster`."""

    module: Any  # a SmallStudentModel; with that type every call of it would need a cast

    def __init__(self, family: str, module: SmallStudentModel, source: ModelSource):
        self.family = family
        self.module = module
        self.source = source
        config: Any = module.config
        self.levels = torch.tensor(config.levels, dtype=torch.float32)
        self.max_context = config.context_length
        self.max_horizon = config.prediction_length
        self.horizon_multiple = min(getattr(config, "patch_size", 1), self.max_horizon)
        self.layers, self.width = getattr(config, "num_layers", 0), getattr(config, "d_model", 0)
        self.heads = getattr(config, "num_heads", 0)
        self.head_width = self.width // self.heads if self.heads else 0
        self.signals = module.signals
        self.spread = config.spread

    def forward(self, windows: Windows, request: Request) -> Output:
        """Forecast quantiles in instance-normalised arcsinh space; a shorter horizon is a prefix of the full one."""
        self.check_windows(windows, request)
        if request.horizon > self.max_horizon:
            raise ValueError(f"one pass forecasts at most {self.max_horizon} steps, not {request.horizon}")
        scaled, known, loc, scale = standardise(_fit(windows.context, self.max_context))
        recorder = Recorder(request)
        values = self.module(scaled, known, recorder)
        levels = self.levels.to(values.device, non_blocking=True)
        if self.spread != 1:
            values = torch.lerp(values[:, self.module.middle, None], values, self.spread)
        forecast = Forecast(levels, values[..., : request.horizon], loc, scale, arcsinh=True)
        if not request.layers:
            return Output(forecast)
        mask = patched(known, self.module.config.patch_size).any(dim=2)
        return recorder.output(forecast, mask, patch_spans(mask.shape[1], 0, self.module.config.patch_size))

    def roll_out(self, windows: Windows, prediction_length: int) -> Forecast:
        """Forecast block by block and feed every quantile path back, so that intervals grow.

        The path of each level extends a separate context and represents a share of the probability; the quantiles of
        the next block are those of the mixture of all paths' forecasts. Within a block a path stays at its level, as in
        Chronos-2's rule. Paths are smoother than data, which reduces the scale of the contexts that they extend. A
        block with narrower intervals than the block before it is therefore stretched to that block's mean width.
        """
        context = windows.context
        first = self._block(context)
        blocks = [_raw(first)]
        paths = context[:, None].expand(-1, len(self.levels), -1)
        while sum(block.shape[2] for block in blocks) < prediction_length:
            paths = torch.cat([paths, blocks[-1].to(paths.dtype)], dim=2)[..., -self.max_context :]
            forecasts = _raw(self._block(paths.flatten(0, 1)))
            mixed = mix_paths(forecasts.unflatten(0, paths.shape[:2]), self.levels.to(forecasts))
            blocks.append(_at_least_as_wide(mixed, blocks[-1], self.module.middle))
        later = torch.cat(blocks[1:], dim=2)
        later = ((later - first.loc[:, :, None]) / first.scale[:, :, None]).asinh().float()
        return replace(first, values=torch.cat([first.values.float(), later], dim=2)[..., :prediction_length])

    def _block(self, context: Tensor) -> Forecast:
        return self.forward(Windows.of_context(context, self.max_horizon), Request(self.max_horizon)).forecast

    def scale_spread(self, factor: float) -> bool:
        """Change the factor in the config, which the forward pass applies."""
        self.spread *= factor
        self.module.config.spread = self.spread
        return True

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        setattr(self.module.config, HORIZONS_KEY, self.calibrate_horizons)
        self.module.save_pretrained(folder)


def mix_paths(forecasts: Tensor, levels: Tensor) -> Tensor:
    """Quantiles of the equally long forecasts after each path, mixed by the paths' probabilities.

    Every level, as a path and as a quantile, represents the probability up to halfway to its neighbouring levels.

    Parameters
    ----------
    forecasts
        ``[B, P, Q, H]``: quantiles of the next block after each of P = Q paths.
    levels
        ``[Q]``.

    Returns
    -------
    Tensor
        ``[B, Q, H]``; unchanged if all paths have the same forecast.
    """
    if len(levels) == 1:
        return forecasts[:, 0]
    edges = torch.cat([levels.new_zeros(1), (levels[1:] + levels[:-1]) / 2, levels.new_ones(1)])
    mass = edges.diff()
    within = (levels - edges[:-1]) / mass  # position of a level within its cell of probability
    weight = (mass[:, None] * mass).flatten()
    values, order = forecasts.flatten(1, 2).transpose(1, 2).sort(dim=2)  # [B, H, P·Q]
    weights = weight[order]
    position = weights.cumsum(2) - weights * (1 - within.expand(len(levels), -1).flatten()[order])
    # neighbours can be out of order by a fraction of a cell
    position = position.cummax(2).values
    wanted = levels.expand(*values.shape[:2], -1).contiguous()
    right = torch.searchsorted(position, wanted).clamp(1, values.shape[2] - 1)
    left = right - 1
    start, end = position.gather(2, left), position.gather(2, right)
    share = ((wanted - start) / (end - start).clamp(min=1e-12)).clamp(0, 1)
    mixed = torch.lerp(values.gather(2, left), values.gather(2, right), share)
    return mixed.transpose(1, 2)


def _at_least_as_wide(block: Tensor, before: Tensor, middle: int) -> Tensor:
    """``block [B, Q, H]`` stretched about its middle level until its mean width is no less than ``before``'s."""
    own, earlier = ((q[:, -1] - q[:, 0]).mean(dim=1) for q in (block, before))
    factor = torch.where(own > 0, earlier / own, 1.0).clamp(min=1.0)[:, None, None]
    centre = block[:, middle : middle + 1]
    return centre + (block - centre) * factor


def _fit(context: Tensor, length: int) -> Tensor:
    """``[B, length]``: a longer context is cut to its newest steps, a shorter one is padded with NaN at the start."""
    short = length - context.shape[1]
    return nn.functional.pad(context, (short, 0), value=torch.nan) if short > 0 else context[:, -length:]


def _raw(forecast: Forecast) -> Tensor:
    """``[B, Q, H]`` float64 in input units, on the model's device."""
    return forecast.values.double().sinh() * forecast.scale[:, :, None] + forecast.loc[:, :, None]
