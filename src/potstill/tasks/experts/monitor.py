"""Validation of a mixture together with the use of its experts, and the gate of uncertain windows.

Shapes: B windows, N experts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from potstill.families.experts.model import Mixture
from potstill.reporting.phrases import percent

COLLAPSED = 0.95  # an expert with more of the weight makes the others superfluous
_LEAST_GAIN = 0.001  # relative; a gate that gains less is not worth running all experts
_THRESHOLDS = 10


class MixtureValidation:
    """The validation metrics of a mixture, with the mean weight of each expert and the entropy of the weights.

    Parameters
    ----------
    validation
        A ``Validation``; its other methods are those of this class.
    """

    def __init__(self, validation: Any):
        self.validation = validation

    def __getattr__(self, name: str) -> Any:
        return getattr(self.validation, name)

    def __call__(self, mixture: Mixture) -> dict[str, float]:
        """``sql`` and ``rel_naive``; ``usage_NAME`` by expert; ``evenness`` and ``entropy`` of the weights."""
        training = mixture.module.training
        mixture.module.eval()
        weights = mixture.weights(self.windows)[self.scored].cpu()
        mixture.module.train(training)
        usage = {f"usage_{name}": share for name, share in zip(mixture.experts, usage_of(weights), strict=True)}
        return {**self.validation(mixture), **usage, "evenness": evenness_of(weights), "entropy": entropy_of(weights)}


def usage_of(weights: Tensor) -> list[float]:
    """Mean weight of each expert over windows ``[B, N]``."""
    return weights.double().mean(dim=0).tolist()


def evenness_of(weights: Tensor) -> float:
    """How evenly the experts are used: entropy of the mean weights, from 0 (one expert) to 1 (all alike)."""
    return entropy_of(weights.mean(dim=0, keepdim=True))


def entropy_of(weights: Tensor) -> float:
    """Mean entropy of the weights of a window, from 0 (one expert each) to 1 (all alike); 1 for a single expert."""
    if weights.shape[1] == 1:
        return 1.0
    weights = weights.double()
    return float(-(weights * weights.clamp(min=1e-12).log()).sum(dim=1).mean() / np.log(weights.shape[1]))


def collapse(usage: dict[str, float]) -> str | None:
    """A sentence if the router uses one expert for nearly everything; None otherwise."""
    name, share = max(usage.items(), key=lambda item: item[1])
    if len(usage) == 1 or share < COLLAPSED:
        return None
    return (
        f"The router has collapsed: {name} has {percent(share)} of the weight; raise objective.auxiliary.usage_mse, or"
        f" use {name} alone."
    )


def set_gate(mixture: Mixture, validate: Any) -> tuple[float, float]:
    """Set the probability below which all experts are averaged to the one with the lowest validation loss.

    Returns
    -------
    tuple
        The share of the validation windows below it, and the relative change of the loss (negative: better).
    """
    settings = mixture.router.settings
    settings.gate = 0.0
    with torch.inference_mode():
        certainty = mixture.router(validate.windows.to(mixture.device))[0].amax(dim=1)
    best = without = validate(mixture)["sql"]
    chosen = 0.0
    for threshold in gate_thresholds(certainty).tolist():
        settings.gate = threshold + 1e-6
        loss = validate(mixture)["sql"]
        if loss < best and loss < (1 - _LEAST_GAIN) * without:
            best, chosen = loss, settings.gate
    settings.gate = chosen
    return float((certainty < chosen).float().mean()), best / without - 1


def gate_thresholds(certainty: Tensor) -> Tensor:
    """Probabilities that are tried: quantiles of those of windows ``[B]``, on the same device."""
    return certainty.quantile(torch.linspace(0.1, 1.0, _THRESHOLDS, device=certainty.device))
