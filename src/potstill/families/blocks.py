"""Blocks whose parts are called one by one: within the hooks of the block, which FSDP needs to gather its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


def through(block: nn.Module, function: Callable[..., Tensor], *args: Any) -> Tensor:
    """``function(block, *args)``, within the block's hooks if :func:`open_block` opened it."""
    return block(*args, through=function) if getattr(block, "is_open", False) else function(block, *args)


def open_block(block: Any) -> None:
    """Let a call of the block run another function in place of its forward pass."""
    forward = block.forward

    def call(*args: Any, through: Callable[..., Tensor] | None = None, **options: Any) -> Any:
        return forward(*args, **options) if through is None else through(block, *args, **options)

    block.forward, block.is_open = call, True
