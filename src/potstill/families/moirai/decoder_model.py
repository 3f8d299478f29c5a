"""Moirai-MoE and Moirai-2 as teachers: decoders that forecast patch by patch.

Shapes: B windows, C context, H horizon, P steps per patch, Q levels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from potstill.families.base import ModelSource
from potstill.families.moirai.decoders import moe_quantiles, moirai2_quantiles
from potstill.families.moirai.mixture_distribution import mixture_of
from potstill.families.moirai.model import MoiraiModel, scaled
from potstill.families.moirai.pack import filled_by_mean, pack
from potstill.families.moirai.quantiles import mixture_quantiles
from potstill.families.moirai.routing import expert_layers, first_routing
from potstill.families.sparse import auxiliary_losses
from potstill.types import Forecast, Output, Request, Windows


class MoiraiDecoderForecaster(MoiraiModel):
    """Moirai-MoE or Moirai-2 as a teacher; it forecasts patch by patch, so the pass has no gradient."""

    def __init__(self, module: Any, source: ModelSource, config: dict[str, Any]):
        super().__init__(module, source, config)
        self.is_moirai2 = hasattr(module, "quantile_levels")
        self.auxiliary = ("balance",) if expert_layers(module) else ()
        self.horizon_multiple = module.patch_size if self.is_moirai2 else max(module.patch_sizes)
        if self.is_moirai2:
            from uni2ts.model.moirai2 import Moirai2Forecast

            self.levels = torch.tensor(module.quantile_levels, dtype=torch.float32)
            self._upstream = Moirai2Forecast(self.max_horizon, 1, 0, 0, self.max_context, module=module)

    @property
    def active_parameters(self) -> int:
        """Number of weights that one token passes through: of each layer's experts only those that the router picks."""
        total = self.parameters
        for part in expert_layers(self.module):
            held = sum(p.numel() for p in part.experts.parameters())
            total += held * part.num_experts_per_token // part.num_experts - held
        return total

    @torch.no_grad()
    def _forward(self, windows: Windows, request: Request) -> Output:
        """Forecast quantiles in the scale of the standardised context.

        A Moirai-MoE also gives the balance of its experts, over the tokens of the contexts.
        """
        self.check_windows(windows, request)
        horizon = request.horizon
        context = windows.context[:, -self.max_context :]
        filled = filled_by_mean(context)
        tokens = pack(context, horizon, self.horizon_multiple, filled)
        known = tokens.observed & ~tokens.future[..., None]
        loc, scale = (
            x[:, -1].double() for x in self.module.scaler(tokens.target, known, tokens.sample_id, tokens.variate_id)
        )
        levels = self.levels.to(context.device, non_blocking=True)
        if self.is_moirai2:
            quantiles = moirai2_quantiles(self._upstream.to(context.device), filled, context.isnan(), horizon)
            return Output(scaled(quantiles, levels, loc, scale))
        with first_routing(self.module, tokens.sample_id.bool() & ~tokens.future) as routings:
            quantiles = moe_quantiles(self.module, tokens, levels, horizon, self._quantiles_at)
        balance = {name: loss for name, loss in auxiliary_losses(routings).items() if name in self.auxiliary}
        return Output(scaled(quantiles, levels, loc, scale), auxiliary=balance)

    def _quantiles_at(self, distribution: Any, token: int) -> Tensor:
        rows = distribution.loc.shape[0]
        mixture = mixture_of(distribution.base_dist, lambda x: x[:, token, : self.horizon_multiple])
        quantiles = mixture_quantiles(mixture, self.levels.to(distribution.loc.device).double())
        quantiles = quantiles.view(-1, rows, self.horizon_multiple).transpose(0, 1)
        return (quantiles * distribution.scale[:, token, :, None] + distribution.loc[:, token, :, None]).float()

    def roll_out(self, windows: Windows, prediction_length: int) -> Forecast:
        """Forecast patch by patch, as for any horizon."""
        return self.forward(windows, Request(prediction_length)).forecast
