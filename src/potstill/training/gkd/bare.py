"""Restore a model's own forward pass after TRL or accelerate replaced it."""

from __future__ import annotations

from typing import Any


def restore_forward(module: Any) -> None:
    """Remove wrappers of ``module.forward``: TRL's fused output layer, accelerate's mixed precision."""
    vars(module).pop("forward", None)
