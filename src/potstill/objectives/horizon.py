"""Weights of the steps ahead, for the terms that are means over steps."""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.recipe import HorizonWeights


def step_weights(config: HorizonWeights, values: Tensor) -> Tensor | None:
    """Weights of the steps of a forecast; None if all steps count equally.

    Positions are relative to the horizon of this forecast, so that the first and the last step have the same ratio of
    weights whatever the horizon. ``LossInputs.mean_over_steps`` normalises the weights.

    Parameters
    ----------
    config
        The kind of weights and their sharpness.
    values
        A forecast's values ``[B, Q, H]``.

    Returns
    -------
    Tensor or None
        ``[H]``, above 0.

    Examples
    --------
    >>> step_weights(HorizonWeights(kind="linear"), torch.zeros(1, 1, 4))
    tensor([1.0000, 0.7500, 0.5000, 0.2500])
    """
    steps = values.shape[2]
    if config.kind == "uniform" or steps == 1:
        return None
    step = torch.arange(steps, device=values.device, dtype=values.dtype)
    return 1 - step / steps if config.kind == "linear" else (-config.tau * step / (steps - 1)).exp()
