"""A mixture of forecasters: a router and its experts, as one forecaster."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from potstill.families.base import Forecaster, ModelSource
from potstill.families.checkpoint import EXPERTS_FOLDER, HORIZONS_KEY, config_fingerprint
from potstill.families.experts.fusion import common_scale, dispatch, fuse
from potstill.families.experts.router import Router, RouterSettings
from potstill.families.experts.routing import balance_losses
from potstill.families.experts.windows import ForecastWindows
from potstill.runs import write_atomically, write_json
from potstill.types import Forecast, Output, Request, Windows

MODEL_TYPE = "potstill_mixture"
ROUTER_FILE = "model.safetensors"


class MixtureModule(nn.Module):
    """The weights of router and experts."""

    def __init__(self, router: Router, experts: list[nn.Module]):
        super().__init__()
        self.router = router
        self.experts = nn.ModuleList(experts)


class Mixture(Forecaster):
    """A forecaster that forecasts each window by the experts that its router chooses.

    The forecasts of the chosen experts are averaged quantile by quantile. A mixture of one expert is that expert.
    Contexts and horizons are those of the expert that reads and forecasts most: shorter experts read the newest steps
    and roll out. A group is forecast by the same experts.

    Parameters
    ----------
    experts
        Forecasters by name.
    settings
        How experts are chosen.
    source
        Where the mixture comes from.
    cards
        The experts' model cards (README.md) by name; saved with them.
    spread
        Factor of the quantiles' distances from the median.

    Notes
    -----
    On ``ForecastWindows`` no expert runs: the forecasts that the windows bring are fused.
    """

    family = "mixture"
    module: Any  # a MixtureModule
    auxiliary = ("usage_mse", "balance")

    def __init__(
        self,
        experts: Mapping[str, Forecaster],
        settings: RouterSettings,
        source: ModelSource,
        cards: Mapping[str, str] | None = None,
        spread: float = 1.0,
    ):
        members = list(experts.values())
        self.experts, self.source, self.cards = dict(experts), source, dict(cards or {})
        self.module = MixtureModule(Router(len(members), settings), [expert.module for expert in members])
        self.levels = max((expert.levels for expert in members), key=len).cpu()
        self.max_context = max(expert.max_context for expert in members)
        self.max_horizon = max(expert.max_horizon for expert in members)
        self.horizon_multiple = max(expert.horizon_multiple for expert in members)
        self.group_signals = frozenset({"forecast"}).intersection(*(expert.group_signals for expert in members))
        self.spread = spread

    @property
    def router(self) -> Router:
        """The router."""
        return self.module.router

    @property
    def passes_vary(self) -> bool:
        """Only the experts run that are chosen."""
        return True

    @property
    def device(self) -> torch.device:
        """The device that the router is on; it has weights even where an expert has none."""
        return self.router.centre.device

    @property
    def active_parameters(self) -> int:
        """Weights of the router and of the k largest experts, the most that one window passes through."""
        largest = sorted((expert.active_parameters for expert in self.experts.values()), reverse=True)
        return sum(p.numel() for p in self.router.parameters()) + sum(largest[: self.router.settings.top_k])

    @property
    def fingerprint(self) -> str:
        """sha256 of the router's settings and weights and of the experts' fingerprints."""
        digest = hashlib.sha256(config_fingerprint(self.config).encode())
        for name, tensor in sorted(self.router.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        for expert in self.experts.values():
            digest.update(expert.fingerprint.encode())
        return digest.hexdigest()

    @property
    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        return {
            "model_type": MODEL_TYPE,
            "experts": list(self.experts),
            "router": self.router.settings.to_dict(),
            "spread": self.spread,
            HORIZONS_KEY: self.calibrate_horizons,
        }

    def forward(self, batch: Windows, request: Request) -> Output:
        """Route, run the chosen experts and fuse; in training with the auxiliary losses of the router."""
        self.check_windows(batch, request)
        if len(self.experts) == 1 and not isinstance(batch, ForecastWindows):
            forecast = next(iter(self.experts.values())).forward(batch, request).forecast
            return Output(self._spread_out(forecast))
        probabilities, weights = self.router(batch)
        auxiliary = dict(balance_losses(probabilities, weights)) if self.router.training else {}
        return Output(self._spread_out(self._forecast(batch, weights, request.horizon)), auxiliary=auxiliary)

    def roll_out(self, windows: Windows, prediction_length: int) -> Forecast:
        """Every chosen expert rolls out its own forecast; the choice is that of the observed context."""
        if len(self.experts) == 1:
            forecast = next(iter(self.experts.values())).roll_out(windows, prediction_length)
            return self._spread_out(forecast)
        _, weights = self.router(windows)
        return self._spread_out(self._forecast(windows, weights, prediction_length))

    def weights(self, windows: Windows) -> Tensor:
        """``[B, N]``: the weights with which the experts forecast these windows."""
        with torch.inference_mode():
            return self.router(windows.to(self.device))[1]

    def scale_spread(self, factor: float) -> bool:
        """Change the factor in the config, which the forward pass applies."""
        self.spread *= factor
        return True

    def save(self, folder: Path) -> None:
        """Write config.json, the router's weights, and a folder per expert with its own files and card."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", self.config)
        router = {name: tensor.detach().cpu().contiguous() for name, tensor in self.router.state_dict().items()}
        save_file(router, folder / ROUTER_FILE)
        for name, expert in self.experts.items():
            place = folder / EXPERTS_FOLDER / name
            place.mkdir(parents=True, exist_ok=True)
            expert.save(place)
            if name in self.cards:
                write_atomically(place / "README.md", self.cards[name])

    def _forecast(self, windows: Windows, weights: Tensor, horizon: int) -> Forecast:
        if isinstance(windows, ForecastWindows) and windows.experts is not None:
            common = common_scale(windows, self.levels)
            return fuse(common, windows.experts[..., :horizon], weights)
        return dispatch(list(self.experts.values()), weights, windows, horizon, self.levels)

    def _spread_out(self, forecast: Forecast) -> Forecast:
        if self.spread == 1:
            return forecast
        middle = int((forecast.levels - 0.5).abs().argmin())
        centre = forecast.values[:, middle, None]
        return Forecast(
            forecast.levels,
            torch.lerp(centre, forecast.values, self.spread),
            forecast.loc,
            forecast.scale,
            forecast.arcsinh,
        )
