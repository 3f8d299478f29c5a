"""What sharded weights exclude, which parts of a model are blocks, and how a model is made whole again.

Training with sharded weights is in ``test_same_losses.py``.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from usage_errors import usage_error

from potstill.families.blocks import open_block, through
from potstill.recipe import ForecastTraining, RolloutConfig, TrainingConfig
from potstill.training import sharding


@pytest.fixture(autouse=True)
def _two_processes(monkeypatch):
    monkeypatch.setattr(sharding, "world_size", lambda: 2)


def student(passes_vary: bool = False) -> Any:
    return SimpleNamespace(family="mixture", passes_vary=passes_vary)


@pytest.mark.parametrize(
    ("changes", "passes_vary", "freezes", "fact"),
    [
        ({"ema": 0.9}, False, False, "training.ema"),
        ({"rollout": RolloutConfig(share=0.5)}, False, False, "training.rollout"),
        ({}, True, False, "a mixture student"),
        ({}, False, True, "frozen"),
    ],
    ids=["ema", "rollout", "mixture", "frozen"],
)
def test_what_sharding_excludes(changes, passes_vary, freezes, fact):
    config = ForecastTraining(arguments={"fsdp": True}, **changes)
    with usage_error("training.not_with_fsdp", fact):
        sharding.check_sharding(config, student(passes_vary), freezes)
    sharding.check_sharding(config.model_copy(update={"arguments": {}}), student(passes_vary), freezes)


def test_gkd_is_not_sharded():
    config = TrainingConfig(algorithm="gkd", arguments={"fsdp": True})
    with usage_error("training.not_with_fsdp", "gkd"):
        sharding.check_sharding(config, student(), False)


@pytest.mark.parametrize("options", [{"version": 2, "min_num_params": 7}, {"version": 1}, "fsdp.json"], ids=str)
def test_there_is_nothing_to_choose(options):
    config = TrainingConfig(arguments={"fsdp": True, "fsdp_config": options})
    with usage_error("training.fsdp_without_options", "fsdp_config"):
        sharding.check_sharding(config, student(), False)


def test_one_process_shards_nothing(monkeypatch):
    monkeypatch.setattr(sharding, "world_size", lambda: 1)
    assert not sharding.is_requested(TrainingConfig(arguments={"fsdp": True}))


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.parts[1](self.parts[0](x))


class Layered(nn.Module):
    """Three blocks, of which one shares its weights with the head, and one has an inner list."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(4, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), Inner(), nn.Linear(4, 4)])
        self.head = nn.Linear(4, 4)
        self.head.weight = self.blocks[2].weight  # type: ignore[assignment]
        self.register_buffer("mean", torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x) + self.mean


def test_blocks_are_the_outer_layers_that_share_no_weight():
    module = Layered()
    assert sharding._blocks(module) == list(module.blocks[:2])
    assert sharding.block_bytes(module) == 4 * 3 * (16 + 4)


def test_a_model_is_whole_after_its_weights_were_sharded(monkeypatch):
    monkeypatch.setattr(sharding, "shard_blocks", lambda _: None)  # needs several processes
    model: Any = SimpleNamespace(module=Layered().requires_grad_(False), passes_vary=False)
    before, x = model.module, torch.randn(3, 4)
    with sharding.sharded_blocks([model]):
        assert model.module is before
    assert model.module is not before
    torch.testing.assert_close(model.module(x), before(x), rtol=0, atol=0)
    assert model.module.head.weight is model.module.blocks[2].weight
    assert not any(weight.requires_grad or weight.is_meta for weight in model.module.parameters())


def test_models_whose_passes_vary_stay_as_they_are():
    model: Any = SimpleNamespace(module=Layered(), passes_vary=True)
    before = model.module
    with sharding.sharded_blocks([model]):
        pass
    assert model.module is before


def test_parts_of_a_block_run_within_its_hooks():
    block, seen = nn.Linear(2, 2), []
    block.register_forward_pre_hook(lambda *_: seen.append("before"))
    twice = through(block, lambda own, x, factor: own.weight * x * factor, torch.ones(2, 2), 2)
    assert not seen
    open_block(block)
    torch.testing.assert_close(
        through(block, lambda own, x, factor: own.weight * x * factor, torch.ones(2, 2), 2), twice
    )
    assert seen == ["before"]
    block(torch.ones(2))  # its own forward pass still works
