"""A small Chronos-2, a small GPT-2, and contexts with edge cases."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_gpt2 import save_gpt2
from torch import Tensor

from potstill.families.chronos2.family import Chronos2Family, Chronos2Forecaster

SIZES = {"num_layers": 2, "d_model": 32, "num_heads": 2, "d_kv": 16, "d_ff": 64}


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upstream folder with the GPT-2 of ``tiny_gpt2``."""
    return save_gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture
def family() -> Chronos2Family:
    return Chronos2Family()


@pytest.fixture
def small(family: Chronos2Family) -> Chronos2Forecaster:
    """Context 64, horizon 32, patches of 16; in evaluation mode."""
    torch.manual_seed(1)
    forecaster = family.build(family.design(None, SIZES, 64, 32), dropout=0.0)
    forecaster.module.eval()
    return forecaster


@pytest.fixture
def contexts() -> Tensor:
    """``[100, 64]``: gaps, left padding (also whole patches), constants, large and small means, and no values."""
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(100, 64, generator=generator).cumsum(dim=1)
    rows[:20][torch.rand(20, 64, generator=generator) < 0.3] = torch.nan
    for row in range(20, 40):
        rows[row, : 3 * (row - 19)] = torch.nan
    rows[40:45] = torch.tensor([0.0, 1.0, -7.5, 48_000.0, 1e-6])[:, None]
    rows[45:65] = 48_000 + 3 * rows[45:65] / rows[45:65].std(dim=1, keepdim=True)
    rows[65:75] *= 1e-4
    rows[75] = torch.nan
    rows[76, :-1] = torch.nan
    return rows
