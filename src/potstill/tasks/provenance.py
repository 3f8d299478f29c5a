"""The provenance of a result: enough to reproduce it."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from potstill.families.base import Model

PACKAGES = ("potstill", "torch", "transformers", "chronos-forecasting", "numpy")


def provenance(recipe: Any, sources: Mapping[str, Mapping[str, Model]], fingerprint: str) -> dict[str, Any]:
    """The models by role (``teachers``), data, seed, versions, hardware, time and the command that ran."""
    return {
        **{role: {name: _origin(model) for name, model in models.items()} for role, models in sources.items()},
        "data": {"paths": recipe.data.paths, "fingerprint": fingerprint},
        "seed": recipe.training.seed,
        **machine(),
    }


def _origin(model: Model) -> dict[str, Any]:
    return {
        "source": model.source.location,
        "revision": model.source.revision,
        "licence": model.source.licence,
        "family": model.family,
        "fingerprint": model.fingerprint,
    }


def machine() -> dict[str, Any]:
    """Versions, hardware, time and command."""
    import torch

    return {
        "versions": {"python": platform.python_version(), **versions()},
        "hardware": {
            "machine": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": " ".join(["potstill", *sys.argv[1:]]),
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages that affect results."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
