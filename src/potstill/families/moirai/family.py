"""Moirai (Salesforce, arXiv:2402.02592) through uni2ts: Moirai 1.0 and 1.1, Moirai-MoE and Moirai-2.

uni2ts is imported when a model is loaded or built, not before: it is an extra, and slow to import.

Shapes: B windows, C context, H horizon, P steps per patch, Q levels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.families.base import Architecture, Family, Forecaster, Source, bare_windows
from potstill.families.moirai.checkpoint import fetched, kind_of, open_module, uni2ts_module, with_licence
from potstill.families.moirai.decoders import moe_quantiles, moirai2_quantiles
from potstill.families.moirai.design import MoiraiArchitecture, count, design_student
from potstill.families.moirai.encode import encode_univariate
from potstill.families.moirai.mixture_distribution import mixture_of
from potstill.families.moirai.pack import filled_by_mean, pack
from potstill.families.moirai.quantiles import mixture_quantiles
from potstill.types import Forecast, Output, Windows

CONTEXT, HORIZON, PATCH = 720, 96, 32
LEVELS = tuple(k / 10 for k in range(1, 10))
AUTO = "auto"
OWN = "potstill"  # the part of config.json that is ours; from_pretrained passes over it


class _Moirai(Forecaster):
    """What the three kinds share."""

    family = "moirai"
    module: Any

    def __init__(self, module: Any, source: Source, config: dict[str, Any]):
        self.module = module
        self.source = source
        self.config = config
        for part in module.modules():
            if hasattr(part, "attn_dropout_p"):
                part.attn_dropout_p = 0.0  # upstream's attention would drop out in evaluation mode as well
        own = _remembered(config, source)
        self.context_length = own.get("context_length", CONTEXT)
        self.max_context = self.context_length
        self.max_horizon = own.get("prediction_length", HORIZON)
        self.levels = torch.tensor(LEVELS, dtype=torch.float32)

    def save(self, folder: Path) -> None:
        """Upstream's layout, and in config.json our lengths beside upstream's settings."""
        card = Path(folder) / "README.md"
        carded = card.exists()
        self.module.save_pretrained(folder, config=self.config)
        if not carded:
            card.unlink(missing_ok=True)  # upstream's says that the model was pushed to the hub


class MoiraiForecaster(_Moirai):
    """A Moirai 1.0 or 1.1 of any size; see :class:`Forecaster`.

    Attributes
    ----------
    patch_size
        One of the module's, or ``auto``: the one with the least loss on each window's own last ``H`` steps, for which
        ``H`` more steps of history are read.
    context_length
        Steps of history that it reads.
    levels
        Any levels: the quantiles are computed from the distribution.
    """

    settings = ("patch_size", "context_length")

    def __init__(self, module: Any, source: Source, config: dict[str, Any]):
        super().__init__(module, source, config)
        self.trained_horizon = config.get(OWN, {}).get("prediction_length")
        self.patch_size = config.get(OWN, {}).get("patch_size", _usual_patch(module.patch_sizes))

    @property
    def patch_size(self) -> int | str:
        """Steps per patch, or ``auto``."""
        return self._patch_size

    @patch_size.setter
    def patch_size(self, value: int | str) -> None:
        known = list(self.module.patch_sizes)
        if value != AUTO and value not in known:
            raise UserError(
                f"{self.source.name}: patch_size {value!r} is none of this Moirai's; choose auto or one of {known}."
            )
        self._patch_size = value
        self.horizon_multiple = 1 if isinstance(value, str) else value
        self._measure()

    @property
    def context_length(self) -> int:
        """Steps of history that it reads; ``max_context`` is longer where the patch size is to be found."""
        return self._context_length

    @context_length.setter
    def context_length(self, value: int) -> None:
        longest = self.module.max_seq_len * max(self.module.patch_sizes)
        if type(value) is not int or not 1 <= value <= longest:
            raise UserError(
                f"{self.source.name}: context_length={value!r}; expected a whole number from 1 to {longest:,}."
            )
        self._context_length = value
        self._measure()

    def _measure(self) -> None:
        searching = getattr(self, "_patch_size", None) == AUTO
        self.max_context = self._context_length + (self.max_horizon if searching else 0)

    def forward(
        self, windows: Windows, horizon: int, hidden: tuple[int, ...] = (), attention: tuple[int, ...] = ()
    ) -> Output:
        """The mixture's quantiles, arcsinh in the context's scale; ``hidden[i]`` is the stream after layer ``i``."""
        if attention:
            raise UserError(f"{self.source.name}: uni2ts gives no attention maps; leave the attention terms out.")
        if self.patch_size != AUTO:
            context = windows.context[:, -self.context_length :]
            forecast, states = self._pass(context, horizon, int(self.patch_size), hidden)
            return Output(forecast, hidden=states)
        if hidden:
            raise UserError(f"{self.source.name}: patch_size auto has no common hidden states; choose a patch size.")
        return Output(self._by_best_patch(windows.context, horizon))

    def _pass(
        self, context: Tensor, horizon: int, patch: int, hidden: tuple[int, ...] = ()
    ) -> tuple[Forecast, dict[int, Tensor]]:
        distribution, loc, scale, states = encode_univariate(self.module, pack(context, horizon, patch), patch, hidden)
        rows, levels = len(context), self.levels.to(context.device)
        mixture = mixture_of(distribution, lambda x: x.reshape(rows, -1)[:, :horizon])
        values = mixture_quantiles(mixture, levels.double()).view(len(levels), rows, horizon).transpose(0, 1)
        # uni2ts gives a nearly constant context a scale of next to nothing: without arcsinh one such window, whose
        # first step away lies in the hundreds, outweighs its whole batch (1 % of the windows made 57 % of the loss)
        return Forecast(levels, values.asinh().float(), loc, scale, arcsinh=True), states

    def _by_best_patch(self, context: Tensor, horizon: int) -> Forecast:
        needed = self.context_length + horizon
        history = torch.nn.functional.pad(context, (needed - context.shape[1], 0), value=torch.nan)
        losses = torch.stack([self._loss(history, horizon, patch) for patch in self.module.patch_sizes])
        best = losses.argmin(dim=0)
        parts, order = [], []
        for index, patch in enumerate(self.module.patch_sizes):
            chosen = (best == index).nonzero()[:, 0]
            if len(chosen):
                parts.append(self._pass(history[chosen, horizon:], horizon, patch)[0])
                order.append(chosen)
        back = torch.cat(order).argsort()
        values, loc, scale = (torch.cat([getattr(p, k) for p in parts])[back] for k in ("values", "loc", "scale"))
        return Forecast(parts[0].levels, values, loc, scale, arcsinh=True)

    @torch.no_grad()
    def _loss(self, history: Tensor, horizon: int, patch: int) -> Tensor:
        """Mean negative log-likelihood ``[B]`` of the last ``horizon`` known steps, as upstream judges a patch size."""
        past, future = history[:, :-horizon], history[:, -horizon:]
        distribution, loc, scale, _ = encode_univariate(self.module, pack(past, horizon, patch), patch)
        seen = ~future.isnan()
        scaled = (torch.nan_to_num(future) - loc.float()) / scale.float()
        spare = -horizon % patch
        patches = torch.nn.functional.pad(scaled, (0, spare)).view(len(history), -1, patch)
        with torch.random.fork_rng(enabled=not history.is_cuda):  # upstream draws samples that it then discards
            likelihood = distribution.log_prob(patches).reshape(len(history), -1)[:, :horizon]
        losses = scale.float().log() - likelihood
        return torch.where(seen, losses, 0.0).sum(1) / seen.sum(1).clamp_min(1)

    def roll_out(self, context: Tensor, prediction_length: int) -> Forecast:
        """Upstream's models forecast any horizon in one pass; a student goes on from its quantiles, each as a path."""
        if self.trained_horizon is None:
            return self.forward(bare_windows(context, prediction_length), prediction_length).forecast
        step = self.max_horizon
        first = self.forward(bare_windows(context, step), step).forecast
        paths, found = context[:, None], [first.quantiles.to(context)]
        while sum(part.shape[2] for part in found) < prediction_length:
            paths = torch.cat([paths.expand(-1, len(self.levels), -1), found[-1]], dim=2)[..., -self.max_context :]
            following = self.forward(bare_windows(paths.flatten(0, 1), step), step).forecast.quantiles.to(context)
            pooled = following.reshape(len(context), -1, step)
            found.append(torch.quantile(pooled, self.levels.to(context), dim=1).transpose(0, 1))
        quantiles = torch.cat(found, dim=2)[..., :prediction_length]
        return _scaled(quantiles, first.levels, first.loc, first.scale)


class MoiraiDecoderForecaster(_Moirai):
    """A Moirai-MoE or Moirai-2, as a teacher: they write patch by patch, so there is no gradient through a pass."""

    def __init__(self, module: Any, source: Source, config: dict[str, Any]):
        super().__init__(module, source, config)
        self.two = hasattr(module, "quantile_levels")
        self.horizon_multiple = module.patch_size if self.two else max(module.patch_sizes)
        if self.two:
            from uni2ts.model.moirai2 import Moirai2Forecast

            self.levels = torch.tensor(module.quantile_levels, dtype=torch.float32)
            self._upstream = Moirai2Forecast(self.max_horizon, 1, 0, 0, self.max_context, module=module)

    @torch.no_grad()
    def forward(
        self, windows: Windows, horizon: int, hidden: tuple[int, ...] = (), attention: tuple[int, ...] = ()
    ) -> Output:
        """Quantiles in the standardised context's scale."""
        if hidden or attention:
            raise UserError(
                f"{self.source.name}: a Moirai that writes patch by patch gives neither hidden states nor attention;"
                " leave such terms out."
            )
        context = windows.context[:, -self.max_context :]
        filled = filled_by_mean(context)
        tokens = pack(context, horizon, self.horizon_multiple, filled)
        known = tokens.observed & ~tokens.future[..., None]
        loc, scale = (
            x[:, -1].double() for x in self.module.scaler(tokens.target, known, tokens.sample_id, tokens.variate_id)
        )
        levels = self.levels.to(context.device)
        if self.two:
            quantiles = moirai2_quantiles(self._upstream.to(context.device), filled, context.isnan(), horizon)
        else:
            quantiles = moe_quantiles(self.module, tokens, levels, horizon, self._quantiles_at)
        return Output(_scaled(quantiles, levels, loc, scale))

    def _quantiles_at(self, distribution: Any, token: int) -> Tensor:
        rows = distribution.loc.shape[0]
        mixture = mixture_of(distribution.base_dist, lambda x: x[:, token, : self.horizon_multiple])
        quantiles = mixture_quantiles(mixture, self.levels.to(distribution.loc.device).double())
        quantiles = quantiles.view(-1, rows, self.horizon_multiple).transpose(0, 1)
        return (quantiles * distribution.scale[:, token, :, None] + distribution.loc[:, token, :, None]).float()

    def roll_out(self, context: Tensor, prediction_length: int) -> Forecast:
        """As any horizon: patch by patch."""
        return self.forward(bare_windows(context, prediction_length), prediction_length).forecast


class MoiraiFamily(Family):
    """Loads Moirai models of three kinds; shapes and builds those of the first."""

    name = "moirai"

    def recognises(self, config: dict[str, Any]) -> bool:
        """By the settings that ``save_pretrained`` writes: uni2ts's configs name no architecture."""
        return kind_of(config) is not None

    def load(self, folder: str, source: Source, **hub_options: Any) -> _Moirai:
        """Through uni2ts's ``from_pretrained``; safetensors only, and no class but uni2ts's distributions."""
        where = fetched(folder, hub_options.get("revision"))
        config = json.loads((where / "config.json").read_text(encoding="utf-8"))
        kind, module = open_module(where, config, source)
        if hub_options.get("dtype") == torch.bfloat16:
            if kind != "moirai":
                raise UserError(f"{source.location}: precision bf16 is for Moirai 1.0 and 1.1; write precision: fp32.")
            module.encoder.to(torch.bfloat16)  # scaling and distribution need all 24 bits
        make = MoiraiForecaster if kind == "moirai" else MoiraiDecoderForecaster
        return make(module, with_licence(source), config)

    def design(self, teacher: Forecaster | None, overrides: dict[str, Any], context: int, horizon: int) -> Architecture:
        """Sizes as overridden; with none, about a tenth of a Moirai teacher's parameters, else a small default.

        Raises
        ------
        UserError
            For a key or value that a ``MoiraiModule`` cannot be built with.
        """
        uni2ts_module("uni2ts.model.moirai")
        own: dict[str, Any] = {}
        if isinstance(teacher, MoiraiForecaster):
            module = teacher.module
            own = {key: getattr(module, key) for key in ("d_model", "num_layers", "max_seq_len")}
            own["patch"] = _usual_patch(module.patch_sizes) if teacher.patch_size == AUTO else teacher.patch_size
        budget = teacher.parameters // 10 if isinstance(teacher, MoiraiForecaster) else None
        config = design_student(own, budget, overrides, context, horizon)
        return Architecture(self.name, config, count(config))

    def build(self, architecture: Architecture, dropout: float) -> MoiraiForecaster:
        """Fresh weights by uni2ts's own rule, which its layers apply when they are made."""
        sizes: MoiraiArchitecture = architecture.config
        module = sizes.module(dropout)
        lengths = {"context_length": sizes.context_length, "prediction_length": sizes.prediction_length}
        config = {**module._hub_mixin_config, OWN: {**lengths, "patch_size": sizes.patch}}
        return MoiraiForecaster(module, Source("student", "built here"), config)

    def start_from(self, student: Forecaster, teacher: Forecaster) -> list[str]:
        """The mask's embedding and evenly spaced layers, where shapes agree."""
        from potstill.transfer.layers import copy_layers

        if not isinstance(teacher, MoiraiForecaster):
            raise UserError("student.start: a Moirai starts only from a Moirai 1.0 or 1.1; write start: random.")
        return copy_layers(student.module, teacher.module, blocks="encoder.layers")


def _remembered(config: dict[str, Any], source: Source) -> dict[str, Any]:
    own = config.get(OWN, {})
    for key in ("context_length", "prediction_length"):
        if key in own and (type(own[key]) is not int or own[key] < 1):
            raise UserError(f"{source.location}: config.json: {OWN}.{key}={own[key]!r}; expected a whole number.")
    return own


def _usual_patch(sizes: Any) -> int:
    return PATCH if PATCH in sizes else max(sizes)


def _scaled(quantiles: Tensor, levels: Tensor, loc: Tensor, scale: Tensor) -> Forecast:
    values = (quantiles.double() - loc[:, :, None]) / scale[:, :, None]
    return Forecast(levels, values.float(), loc, scale)
