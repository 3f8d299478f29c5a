"""Where a result came from: enough to make it again."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from potstill.tasks.forecasting import Setup

PACKAGES = ("potstill", "torch", "transformers", "chronos-forecasting", "numpy")


def provenance(setup: Setup) -> dict[str, Any]:
    """Teachers, data, seed, versions, hardware, time and the command that ran."""
    return {
        "teachers": {
            name: {
                "source": teacher.source.location,
                "revision": teacher.source.revision,
                "licence": teacher.source.licence,
                "family": teacher.family,
                "fingerprint": teacher.fingerprint,
            }
            for name, teacher in setup.teachers.items()
        },
        "data": {"paths": setup.recipe.data.paths, "fingerprint": setup.store.fingerprint},
        "seed": setup.recipe.training.seed,
        **machine(),
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
    """Installed versions of what decides a result."""
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
