"""Moirai 1.0 and 1.1 as teacher or student: an encoder that forecasts one distribution per step.

Shapes: B windows, C context, H horizon, P steps per patch, Q levels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.families.base import ModelSource
from potstill.families.moirai.encode import encode_univariate
from potstill.families.moirai.mixture_distribution import mixture_of
from potstill.families.moirai.model import POTSTILL_KEY, MoiraiModel, scaled
from potstill.families.moirai.pack import pack
from potstill.families.moirai.quantiles import mixture_quantiles
from potstill.families.recorder import patch_spans
from potstill.types import LAYER_SIGNALS, Forecast, Output, Request, Windows

AUTO_PATCH = "auto"
DEFAULT_PATCH = 32  # if the module has this patch size


class MoiraiForecaster(MoiraiModel):
    """Moirai 1.0 or 1.1 of any size; see :class:`Forecaster`.

    Attributes
    ----------
    patch_size
        One of the module's patch sizes, or ``auto``: for each window, the one with the lowest loss on the window's last
        ``H`` steps, which needs ``H`` more steps of history.
    context_length
        Steps of history that a forecast is based on.
    levels
        May be any levels, because the quantiles are computed from the distribution.
    """

    settings = ("patch_size", "context_length")

    def __init__(self, module: Any, source: ModelSource, config: dict[str, Any]):
        super().__init__(module, source, config)
        attention = module.encoder.layers[0].self_attn
        self.heads, self.head_width = attention.num_heads, attention.head_dim
        self.trained_horizon = config.get(POTSTILL_KEY, {}).get("prediction_length")
        self.patch_size = config.get(POTSTILL_KEY, {}).get("patch_size", default_patch(module.patch_sizes))

    @property
    def patch_size(self) -> int | str:
        """Steps per patch, or ``auto``."""
        return self._patch_size

    @patch_size.setter
    def patch_size(self, value: int | str) -> None:
        known = list(self.module.patch_sizes)
        if value != AUTO_PATCH and value not in known:
            raise UserError(
                f"{self.source.name}: this Moirai does not have patch_size {value!r}; choose auto or one of {known}.",
                key="model.bad_setting",
            )
        self._patch_size = value
        self.horizon_multiple = 1 if isinstance(value, str) else value
        self._update_max_context()

    @property
    def context_length(self) -> int:
        """Steps of history that a forecast is based on; ``max_context`` is longer if the patch size is ``auto``."""
        return self._context_length

    @context_length.setter
    def context_length(self, value: int) -> None:
        longest = self.module.max_seq_len * max(self.module.patch_sizes)
        if type(value) is not int or not 1 <= value <= longest:
            raise UserError(
                f"{self.source.name}: context_length={value!r}; expected a whole number from 1 to {longest:,}.",
                key="model.bad_setting",
            )
        self._context_length = value
        self._update_max_context()

    def _update_max_context(self) -> None:
        automatic = getattr(self, "_patch_size", None) == AUTO_PATCH
        self.max_context = self._context_length + (self.max_horizon if automatic else 0)

    @property
    def signals(self) -> frozenset[str]:
        """What the pass returns; with ``auto`` only forecasts, because windows then have different tokens."""
        layers = () if self.patch_size == AUTO_PATCH else LAYER_SIGNALS
        return frozenset({"forecast", *layers})

    @property
    def passes_vary(self) -> bool:
        """With ``auto``, there is a pass for each patch size that windows need."""
        return self.patch_size == AUTO_PATCH

    def _forward(self, windows: Windows, request: Request) -> Output:
        """Forecast the mixture's quantiles, as arcsinh in the context's scale.

        ``hidden[i]`` is the stream after layer i, ``attention[i]`` the layer's attention map, ``qkv[i]`` its queries,
        keys and values. The tokens are the patches of the context, aligned to its end, and those of the horizon. After
        the last layer only those of the horizon are read.
        """
        if self.patch_size == AUTO_PATCH and request.layers:
            raise UserError(
                f"{self.source.name}: with patch_size auto, {', '.join(request.layers)} of layers are not available;"
                " choose a patch size.",
                key="model.cannot_return",
            )
        self.check_windows(windows, request)
        if self.patch_size == AUTO_PATCH:
            return Output(self._by_best_patch(windows.context, request.horizon))
        context = windows.context[:, -self.context_length :]
        return self._forward_patched(context, request, int(self.patch_size))

    def _forward_patched(self, context: Tensor, request: Request, patch: int) -> Output:
        horizon, tokens = request.horizon, pack(context, request.horizon, patch)
        encoded = encode_univariate(self.module, tokens, patch, request)
        rows, levels = len(context), self.levels.to(context.device, non_blocking=True)
        mixture = mixture_of(encoded.distribution, lambda x: x.reshape(rows, -1)[:, :horizon])
        values = mixture_quantiles(mixture, levels.double()).view(len(levels), rows, horizon).transpose(0, 1)
        # uni2ts scales a nearly constant context by a tiny number, so that its first change is in the hundreds; without
        # arcsinh one such window outweighs the rest of its batch (1 % of the windows caused 57 % of the loss)
        forecast = Forecast(levels, values.asinh().float(), encoded.loc, encoded.scale, arcsinh=True)
        if not request.layers:
            return Output(forecast)
        ahead = -(-horizon // patch)
        spans = patch_spans(tokens.target.shape[1] - ahead, ahead, patch)
        return encoded.recorded.output(forecast, tokens.observed.any(dim=2), spans)

    def _by_best_patch(self, context: Tensor, horizon: int) -> Forecast:
        needed = self.context_length + horizon
        history = torch.nn.functional.pad(context, (needed - context.shape[1], 0), value=torch.nan)
        losses = torch.stack([self._loss(history, horizon, patch) for patch in self.module.patch_sizes])
        best = losses.argmin(dim=0)
        parts, order = [], []
        for index, patch in enumerate(self.module.patch_sizes):
            chosen = (best == index).nonzero()[:, 0]
            if len(chosen):
                parts.append(self._forward_patched(history[chosen, horizon:], Request(horizon), patch).forecast)
                order.append(chosen)
        back = torch.cat(order).argsort()
        values, loc, scale = (torch.cat([getattr(p, k) for p in parts])[back] for k in ("values", "loc", "scale"))
        return Forecast(parts[0].levels, values, loc, scale, arcsinh=True)

    @torch.no_grad()
    def _loss(self, history: Tensor, horizon: int, patch: int) -> Tensor:
        """Mean negative log-likelihood ``[B]`` of the last ``horizon`` steps; upstream selects the patch size by it."""
        past, future = history[:, :-horizon], history[:, -horizon:]
        encoded = encode_univariate(self.module, pack(past, horizon, patch), patch)
        loc, scale = encoded.loc, encoded.scale
        known = ~future.isnan()
        scaled = (torch.nan_to_num(future) - loc.float()) / scale.float()
        spare = -horizon % patch
        patches = torch.nn.functional.pad(scaled, (0, spare)).view(len(history), -1, patch)
        with torch.random.fork_rng(enabled=not history.is_cuda):  # upstream draws samples and discards them
            likelihood = encoded.distribution.log_prob(patches).reshape(len(history), -1)[:, :horizon]
        losses = scale.float().log() - likelihood
        return torch.where(known, losses, 0.0).sum(1) / known.sum(1).clamp_min(1)

    def roll_out(self, windows: Windows, prediction_length: int) -> Forecast:
        """Upstream's models forecast any horizon in one pass; a student feeds back each quantile as a path."""
        if self.trained_horizon is None:
            return self.forward(windows, Request(prediction_length)).forecast
        context, step = windows.context, self.max_horizon
        first = self._block(context)
        paths, blocks = context[:, None], [first.quantiles.to(context)]
        while sum(part.shape[2] for part in blocks) < prediction_length:
            paths = torch.cat([paths.expand(-1, len(self.levels), -1), blocks[-1]], dim=2)[..., -self.max_context :]
            following = self._block(paths.flatten(0, 1)).quantiles.to(context)
            pooled = following.reshape(len(context), -1, step)
            blocks.append(torch.quantile(pooled, self.levels.to(context), dim=1).transpose(0, 1))
        quantiles = torch.cat(blocks, dim=2)[..., :prediction_length]
        return scaled(quantiles, first.levels, first.loc, first.scale)

    def _block(self, context: Tensor) -> Forecast:
        windows = Windows.of_context(context, self.max_horizon)
        return self.forward(windows, Request(self.max_horizon)).forecast


def default_patch(sizes: Any) -> int:
    """The patch size that is used by default."""
    return DEFAULT_PATCH if DEFAULT_PATCH in sizes else max(sizes)
