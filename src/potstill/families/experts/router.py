"""The router: a small network from a context's features to the weights of the experts.

Shapes: B windows, C context, F features, N experts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from potstill.families.experts.features import FEATURE_NAMES, series_features
from potstill.families.experts.routing import gumbel_noise, gumbel_softmax, smallest_mass, top_k
from potstill.types import Windows

_LARGEST = 5.0  # standardised feature: what no training window had must not decide alone
_SEED_STRIDE = 1_000_003  # between the noise of seeds, in steps
_SMALLEST_SPREAD = 1e-3  # of a feature that is nearly the same for all windows


@dataclass
class RouterSettings:
    """How experts are chosen.

    Attributes
    ----------
    routing
        ``top_k``: the k most probable experts. ``mass``: the fewest experts that have the probability ``mass``, at most
        ``top_k``. Both are trained with the k experts of the largest logits with noise, weighted without it.
        ``gumbel``: trained with a Gumbel-softmax over all experts, then as ``top_k``.
    top_k
        Experts per window.
    mass
        See ``routing``.
    hidden, dropout
        Width of the network, and its dropout in training.
    gate
        Below this probability of the most probable expert, a window is forecast by the mean of all experts; 0: never.
    context
        Newest steps of a context that the features are computed from.
    anneal
        Training steps over which the temperature of the noise falls from ``temperatures[0]`` to ``temperatures[1]``.
    temperatures
        See ``anneal``.
    """

    routing: str = "top_k"
    top_k: int = 2
    mass: float = 0.8
    hidden: int = 128
    dropout: float = 0.1
    gate: float = 0.0
    context: int = 512
    anneal: int = 1
    temperatures: tuple[float, float] = (1.0, 0.2)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return {**asdict(self), "temperatures": list(self.temperatures)}


class Router(nn.Module):
    """Weights of N experts for each window.

    Parameters
    ----------
    experts
        N.
    settings
        Sizes and the rule of choice.
    """

    centre: Tensor
    spread: Tensor
    steps: Tensor

    def __init__(self, experts: int, settings: RouterSettings):
        super().__init__()
        self.settings = settings
        features = len(FEATURE_NAMES)
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))  # a buffer, so that it is checkpointed
        self.network = nn.Sequential(
            nn.Linear(features, settings.hidden),
            nn.GELU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.hidden, experts),
        )
        last: Any = self.network[-1]
        nn.init.zeros_(last.weight)  # training begins with equal weights
        nn.init.zeros_(last.bias)

    @property
    def temperature(self) -> float:
        """Temperature of the noise at the current training step, which falls exponentially."""
        first, last = self.settings.temperatures
        return first * (last / first) ** min(1.0, self.steps.item() / max(1, self.settings.anneal))

    def fit_scale(self, contexts: Tensor) -> None:
        """Standardise features by their mean and spread over contexts ``[B, C]``."""
        features = self.features(contexts)
        self.centre.copy_(features.mean(dim=0))
        spread = features.std(dim=0, correction=0)
        # a feature that is the same for all windows is ignored: its weights would not be trained
        self.spread.copy_(torch.where(spread < _SMALLEST_SPREAD, torch.inf, spread))

    def features(self, contexts: Tensor) -> Tensor:
        """``[B, F]`` of contexts ``[B, C]``, all at one length: padding to that of a batch must not change them."""
        missing = self.settings.context - contexts.shape[1]
        # a negative number of steps is cut off
        return series_features(nn.functional.pad(contexts, (missing, 0), value=torch.nan))

    def logits(self, windows: Windows) -> Tensor:
        """``[B, N]``; windows of one group have the same, the mean of theirs, because they are forecast together."""
        features = self.features(windows.context)
        standardised = ((features - self.centre) / self.spread).clamp(-_LARGEST, _LARGEST)
        logits = self.network(standardised.float())
        if windows.group is None:
            return logits
        _, member = windows.group.unique(return_inverse=True)
        groups = int(member.max()) + 1
        total = logits.new_zeros(groups, logits.shape[1]).index_add(0, member, logits)
        return (total / member.bincount(minlength=groups)[:, None])[member]

    def forward(self, windows: Windows) -> tuple[Tensor, Tensor]:
        """Probabilities before, and weights after experts are left out, both ``[B, N]`` float32; rows sum to 1."""
        with torch.autocast(windows.context.device.type, enabled=False):  # bf16 would round the weights
            return self._routed(windows)

    def _routed(self, windows: Windows) -> tuple[Tensor, Tensor]:
        logits = self.logits(windows)
        probabilities, settings = logits.softmax(dim=1), self.settings
        if self.training:
            return probabilities, self._explored(logits, probabilities, windows.ids)
        if settings.routing == "mass":
            weights = smallest_mass(probabilities, settings.mass, settings.top_k)
        else:
            weights = top_k(probabilities, settings.top_k)
        if settings.gate:
            uncertain = probabilities.amax(dim=1, keepdim=True) < settings.gate
            weights = torch.where(uncertain, 1 / weights.shape[1], weights)
        return probabilities, weights

    def _explored(self, logits: Tensor, probabilities: Tensor, ids: Tensor) -> Tensor:
        """Weights in training: noise that becomes smaller lets all experts be tried, and be compared."""
        temperature = self.temperature
        self.steps += 1
        noise = gumbel_noise(ids, logits.shape[1], self.steps + torch.initial_seed() * _SEED_STRIDE % 2**62)
        if self.settings.routing == "gumbel":
            return gumbel_softmax(logits, noise, temperature)
        # the weight of a single expert is 1, without a gradient: two are compared
        k = max(2, self.settings.top_k)
        return top_k(probabilities, k, logits.detach() + temperature * noise)
