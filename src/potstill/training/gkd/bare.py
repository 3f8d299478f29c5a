"""A model's own pass, where TRL or accelerate put one of theirs around it."""

from __future__ import annotations

from typing import Any


def bare(module: Any) -> None:
    """Take what was put around ``module.forward`` away: TRL's fused output layer, accelerate's precision."""
    vars(module).pop("forward", None)
