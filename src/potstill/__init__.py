"""Distil large pretrained forecasters and language models into small, fast ones.

The verbs are imported on first use, so that ``import potstill`` is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from potstill.families.load import load
    from potstill.recipe import Recipe
    from potstill.verbs import Run, distill, evaluate, export, forecast, generate, inspect, label, mix, report

__version__ = "0.1.0"
__all__ = [
    "Recipe",
    "Run",
    "__version__",
    "distill",
    "evaluate",
    "export",
    "forecast",
    "generate",
    "inspect",
    "label",
    "load",
    "mix",
    "report",
]

_LAZY_MODULES = {
    **dict.fromkeys(
        ("Run", "distill", "evaluate", "export", "forecast", "generate", "inspect", "label", "mix", "report"),
        "potstill.verbs",
    ),
    "load": "potstill.families.load",
    "Recipe": "potstill.recipe",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY_MODULES:
        raise AttributeError(f"module 'potstill' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
