"""Move all tensors of a dataclass to another device, or into pinned memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any


def on_device(value: Any, device: Any, non_blocking: bool = True) -> Any:
    """A copy with every tensor on ``device``, by default without waiting for copies from pinned memory."""
    return _mapped(value, lambda tensor: tensor.to(device, non_blocking=non_blocking))


def pinned(value: Any) -> Any:
    """A copy with every tensor in page-locked memory, from which copies to a GPU overlap with computation."""
    return _mapped(value, lambda tensor: tensor.pin_memory())


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return replace(value, **{f.name: _mapped(getattr(value, f.name), change) for f in fields(value) if f.init})
    if isinstance(value, Mapping):
        return {key: _mapped(item, change) for key, item in value.items()}
    return change(value) if hasattr(value, "pin_memory") else value
