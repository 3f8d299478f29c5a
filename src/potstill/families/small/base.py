"""What Potstill's own small students share: config, files, the scale of a context, the pass and the long roll-out.

Their modules are plain ``transformers.PreTrainedModel`` with a config.json and a model.safetensors. They read one
series each, in units of its own spread, and give all levels of all steps in one pass.

Shapes: B windows, C context, H horizon, Q levels, P quantile paths.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from potstill.families.base import Forecaster, Source, bare_windows
from potstill.types import Forecast, Output, Windows

NINE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FLAT = 1e-6  # of a context's level: what float32 rounding alone makes of a constant
SMALLEST = 1e-30  # below it float32 divides by zero
SCALE_OF_ZEROS = 1e-5  # of a context that is zero throughout; as Chronos-2 has it


class SmallStudentConfig(PretrainedConfig):
    """Lengths and levels of a small student; a family adds its sizes.

    Parameters
    ----------
    context_length, prediction_length
        Steps it reads and forecasts; those it is trained for.
    levels
        Quantile levels, ascending, in (0, 1).
    dropout_rate
        Share of activations dropped in training.
    """

    def __init__(
        self,
        context_length: int = 512,
        prediction_length: int = 96,
        levels: list[float] | tuple[float, ...] = NINE,
        dropout_rate: float = 0.0,
        **rest: Any,
    ):
        self.context_length = context_length
        self.prediction_length = prediction_length
        self.levels = list(levels)
        self.dropout_rate = dropout_rate
        super().__init__(**rest)


class SmallStudentModel(PreTrainedModel):
    """A small student's weights. Every one is born by the family's rule in the constructor.

    A subclass implements ``forward(scaled, known, hidden, attention)``, from :func:`standardise`'s ``[B, C]`` of the
    trained length to ``values [B, Q, H]`` in the same space, and the states and maps asked for, by layer.
    """

    main_input_name = "scaled"

    def __init__(self, config: SmallStudentConfig):
        super().__init__(config)
        levels: list[float] = config.levels
        # place of the median, or of the level nearest to it
        self.middle = min(range(len(levels)), key=lambda q: abs(levels[q] - 0.5))

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing is left to do: transformers' generic rule must not overwrite what the constructor chose."""


class SmallStudentForecaster(Forecaster):
    """One of Potstill's own students; see :class:`Forecaster`."""

    module: Any  # an SmallStudentModel; as such, each call of it would need a cast

    def __init__(self, family: str, module: SmallStudentModel, source: Source):
        self.family = family
        self.module = module
        self.source = source
        config: Any = module.config
        self.levels = torch.tensor(config.levels, dtype=torch.float32)
        self.max_context = config.context_length
        self.max_horizon = config.prediction_length
        self.horizon_multiple = min(getattr(config, "patch_size", 1), self.max_horizon)

    def forward(
        self, windows: Windows, horizon: int, hidden: tuple[int, ...] = (), attention: tuple[int, ...] = ()
    ) -> Output:
        """Quantiles in instance-normalised arcsinh space; a shorter horizon is the beginning of the whole one."""
        if horizon > self.max_horizon:
            raise ValueError(f"one pass forecasts at most {self.max_horizon} steps, not {horizon}")
        scaled, known, loc, scale = standardise(_fit(windows.context, self.max_context))
        values, states, maps = self.module(scaled, known, hidden, attention)
        forecast = Forecast(self.levels.to(values.device), values[..., :horizon], loc, scale, arcsinh=True)
        return Output(forecast, hidden=states, attention=maps)

    def roll_out(self, context: Tensor, prediction_length: int) -> Forecast:
        """Forecast block by block, feeding every quantile path back, so that intervals grow.

        Each level's path extends a context of its own and stands for its share of probability; the quantiles of the
        next block are those of the mixture of what follows the paths. A path stays at its level throughout a block, as
        in Chronos-2's rule. Paths are smoother than the data they follow, which shrinks the scale of the contexts they
        fill: a block that came out narrower than the one before it is therefore stretched to its mean width.
        """
        first = self._block(context)
        blocks = [_raw(first)]
        paths = context[:, None].expand(-1, len(self.levels), -1)
        while sum(block.shape[2] for block in blocks) < prediction_length:
            paths = torch.cat([paths, blocks[-1].to(paths.dtype)], dim=2)[..., -self.max_context :]
            followed = _raw(self._block(paths.flatten(0, 1)))
            mixed = mix_paths(followed.unflatten(0, paths.shape[:2]), self.levels.to(followed))
            blocks.append(_at_least_as_wide(mixed, blocks[-1], self.module.middle))
        later = torch.cat(blocks[1:], dim=2)
        later = ((later - first.loc[:, :, None]) / first.scale[:, :, None]).asinh().float()
        return replace(first, values=torch.cat([first.values.float(), later], dim=2)[..., :prediction_length])

    def _block(self, context: Tensor) -> Forecast:
        return self.forward(bare_windows(context, self.max_horizon), self.max_horizon).forecast

    def save(self, folder: Path) -> None:
        """config.json and model.safetensors."""
        self.module.save_pretrained(folder)


def standardise(context: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Contexts in units of their own spread, then arcsinh.

    Parameters
    ----------
    context
        ``[B, C]`` in input units, NaN where missing.

    Returns
    -------
    tuple
        ``scaled [B, C]`` float32 with 0 where missing, ``known [B, C]`` bool, and mean and standard deviation
        ``[B, 1]`` float64. A constant context gets a scale as small as its rounding, so that its forecast stays near
        the constant; one that is missing throughout gets mean 0 and scale 1.
    """
    known = ~context.isnan()
    seen = known.sum(dim=1, keepdim=True)
    count = seen.clamp(min=1)
    # the sum alone needs float64; its rounding to float32 shifts loc by a step of x's own, the same for all users of it
    loc = (context.nan_to_num(0.0).sum(dim=1, keepdim=True, dtype=torch.float64) / count).float()
    centred = (context.float() - loc).nan_to_num(0.0)
    spread = torch.linalg.vector_norm(centred, dim=1, keepdim=True, dtype=torch.float64) / count.sqrt()
    scale = torch.maximum(spread, FLAT * loc.abs().double())
    scale = torch.where(scale < SMALLEST, SCALE_OF_ZEROS, scale)
    scale = torch.where(seen == 0, 1.0, scale)
    x = centred / scale.float()  # at most sqrt(C) in size, so that its square is harmless
    arcsinh = (x.abs() + (x.square() + 1).sqrt()).log().copysign(x)  # torch's own takes three times as long on a CPU
    return arcsinh, known, loc.double(), scale


def mix_paths(followed: Tensor, levels: Tensor) -> Tensor:
    """Quantiles of the mixture of what follows each path.

    Every level stands for the cell of probability that reaches halfway to its neighbours, as path and as quantile.

    Parameters
    ----------
    followed
        ``[B, P, Q, H]``: quantiles of the block after each of P = Q paths.
    levels
        ``[Q]``.

    Returns
    -------
    Tensor
        ``[B, Q, H]``; what all paths agree on comes back unchanged.
    """
    if len(levels) == 1:
        return followed[:, 0]
    edges = torch.cat([levels.new_zeros(1), (levels[1:] + levels[:-1]) / 2, levels.new_ones(1)])
    mass = edges.diff()
    within = (levels - edges[:-1]) / mass  # where in its cell a level lies
    weight = (mass[:, None] * mass).flatten()
    values, order = followed.flatten(1, 2).transpose(1, 2).sort(dim=2)  # [B, H, P·Q]
    weights = weight[order]
    position = weights.cumsum(2) - weights * (1 - within.expand(len(levels), -1).flatten()[order])
    # two neighbours may stand in the wrong order by a part of a cell
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
    """``[B, length]``: a longer context is cut, before a shorter one its steps are missing."""
    short = length - context.shape[1]
    return nn.functional.pad(context, (short, 0), value=torch.nan) if short > 0 else context[:, -length:]


def _raw(forecast: Forecast) -> Tensor:
    """``[B, Q, H]`` float64 in input units, where the model is."""
    return forecast.values.double().sinh() * forecast.scale[:, :, None] + forecast.loc[:, :, None]
