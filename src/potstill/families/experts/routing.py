"""From a router's logits to the weights of the experts.

Shapes: B windows, N experts.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from potstill.ranks import summed

ROUTINGS = ("top_k", "mass", "gumbel")
_GOLDEN, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15  # splitmix64's, as int64


def top_k(probabilities: Tensor, k: int, scores: Tensor | None = None) -> Tensor:
    """The ``k`` largest probabilities of each window, renormalised; the others are 0. ``[B, N]``.

    With ``scores [B, N]`` the experts with the largest scores are kept instead, with their own probabilities.
    """
    first = _before(probabilities if scores is None else scores)
    return _renormalised(probabilities * (first.sum(dim=2) < k))


def smallest_mass(probabilities: Tensor, mass: float, most: int) -> Tensor:
    """The fewest experts that together have the probability ``mass``, at most ``most``, renormalised. ``[B, N]``.

    References
    ----------
    Huang et al., "Harder Tasks Need More Experts: Dynamic Routing in MoE Models", 2024.
    """
    first = _before(probabilities)
    kept = (first * probabilities.detach()[:, None]).sum(dim=2) < mass
    return _renormalised(probabilities * (kept & (first.sum(dim=2) < most)))


def _before(scores: Tensor) -> Tensor:
    """``[B, N, N]`` bool: whether expert j comes before expert i, by its score; among equals by its number.

    Without a sort, which ONNX does not have in a stable form.
    """
    number = torch.arange(scores.shape[1], device=scores.device)
    mine, other = scores[:, :, None], scores[:, None]
    return (other > mine) | ((other == mine) & (number < number[:, None]))


def gumbel_softmax(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Softmax of logits with Gumbel noise; close to one expert per window at low temperatures. ``[B, N]``.

    References
    ----------
    Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017.
    """
    return ((logits + noise) / temperature).softmax(dim=1)


def gumbel_noise(ids: Tensor, experts: int, salt: Tensor) -> Tensor:
    """Gumbel noise ``[B, N]``: logits with it have their maximum at expert i with its probability.

    It is a hash of the windows' ids and of ``salt``, so that a window has the same in any batch and process.
    """
    x = ids[:, None] * experts + torch.arange(experts, device=ids.device)
    for constant in (salt, _GOLDEN):  # splitmix64's finaliser; int64 overflows as uint64 does
        x = x * _GOLDEN + constant
        for shift, factor in ((30, _FIRST), (27, _SECOND), (31, 1)):
            x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    uniform = (((x >> 41) & 0x7FFFFF).float() + 0.5) * 2.0**-23  # never 0 or 1
    return -(-uniform.log()).log()


def balance_losses(probabilities: Tensor, weights: Tensor) -> Mapping[str, Tensor]:
    """How far the experts' use in a batch is from equal, in two forms; 0 and 1 if it is equal.

    Parameters
    ----------
    probabilities
        ``[B, N]`` of the router, before experts are left out.
    weights
        ``[B, N]`` after that, 0 for experts that do not run.

    Returns
    -------
    Mapping
        ``usage_mse``: N times the sum of squares of (mean probability − 1/N). ``balance``: N · Σ fᵢ·Pᵢ with the share
        fᵢ of the chosen experts and the mean probability Pᵢ, as in Switch Transformers (Fedus et al., 2022).
    """
    count = probabilities.shape[1]
    mean = summed(probabilities.sum(dim=0)) / summed(probabilities.new_tensor(len(probabilities)))
    chosen = summed((weights.detach() > 0).to(probabilities).sum(dim=0))
    share = chosen / chosen.sum().clamp(min=1)
    return {"usage_mse": count * (mean - 1 / count).square().sum(), "balance": count * (share * mean).sum()}


def _renormalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=1, keepdim=True)
