"""Small mixtures of small experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from potstill.families.base import Forecaster, ModelSource
from potstill.families.experts.model import Mixture
from potstill.families.experts.router import RouterSettings
from potstill.families.registry import family

SIZES: dict[str, dict[str, Any]] = {
    "linear": {},
    "mixer": {"d_model": 16, "num_layers": 1, "patch_size": 16},
    "patch_transformer": {"d_model": 16, "num_layers": 1, "num_heads": 2, "patch_size": 16},
}


def expert(name: str, seed: int, context: int = 64, horizon: int = 32, **overrides: Any) -> Forecaster:
    """An untrained small student with noise on its weights, so that experts differ."""
    torch.manual_seed(seed)
    one = family(name)
    student = one.build(one.design(None, {**SIZES[name], **overrides}, context, horizon), 0.0)
    with torch.no_grad():
        for weight in student.module.parameters():
            weight += 0.1 * torch.randn_like(weight)
    student.module.eval()
    return student


@pytest.fixture
def make_expert() -> Callable[..., Forecaster]:
    return expert


@pytest.fixture
def experts() -> dict[str, Forecaster]:
    return {name: expert(name, seed) for seed, name in enumerate(SIZES)}


@pytest.fixture
def mix(contexts: torch.Tensor) -> Callable[..., Mixture]:
    """Makes a mixture whose router has random weights, so that windows have different experts."""

    def make(experts: dict[str, Forecaster], spread: float = 1.0, **settings: Any) -> Mixture:
        torch.manual_seed(5)
        mixture = Mixture(experts, RouterSettings(**settings), ModelSource("mixture", "made"), spread=spread)
        with torch.no_grad():
            torch.nn.init.normal_(mixture.router.network[-1].weight)  # pyright: ignore[reportArgumentType]
        mixture.router.fit_scale(contexts)
        mixture.module.eval()
        return mixture

    return make
