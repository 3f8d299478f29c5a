"""Which layers are kept, on a stack whose layers add known amounts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from potstill.transfer.depth import important_layers, only_layers


class Add(nn.Module):
    """Adds a constant; with ``unless``, only if the stream does not exceed it."""

    def __init__(self, amount: float, unless: float = 1e9):
        super().__init__()
        self.amount, self.unless = amount, unless

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > self.unless, x, x + self.amount)


def stack(*layers: Add) -> Any:
    model = nn.Module()
    model.inner = nn.ModuleDict({"block": nn.ModuleList(layers)})
    return model


def kept(model: Any, count: int) -> list[int]:
    def run(x: Tensor) -> Tensor:
        for layer in model.inner["block"]:
            x = layer(x)
        return x

    return important_layers(model, "inner.block", count, run, [torch.zeros(2), torch.zeros(3)])


@pytest.mark.parametrize(
    ("count", "expected"), [(4, [0, 1, 2, 3]), (3, [0, 2, 3]), (2, [0, 2]), (1, [0]), (9, [0, 1, 2, 3])]
)
def test_layers_with_the_smallest_effect_go_first_and_layer_0_stays(count, expected):
    assert kept(stack(Add(0.0), Add(1.0), Add(5.0), Add(-2.0)), count) == expected


def test_effects_are_measured_again_after_each_layer():
    """Layers 1 and 2 do the same: alone either is dispensable, but not both."""
    assert kept(stack(Add(0.0), Add(9.0, unless=5.0), Add(9.0, unless=5.0), Add(3.0)), 2) == [0, 2]


def test_the_layers_come_back_after_an_error():
    model = stack(Add(1.0), Add(2.0))

    def fail() -> None:
        with only_layers(model, "inner.block", [1]):
            assert [layer.amount for layer in model.inner["block"]] == [2.0]
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert [layer.amount for layer in model.inner["block"]] == [1.0, 2.0]
