"""Small sources of windows that are made on the device; here the device is the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training_series import small_windows

from potstill.data.device.windows import DeviceSource
from potstill.recipe import SeriesData

SETTINGS = {"pool": 40, "refresh": False, "workers": 0}


def small_source(folder: Path, later: float | None = None, missing: float = 0.0, **data: Any) -> DeviceSource:
    """Contexts of 64 and horizons of 16 steps from three data sets of two columns; ``device`` holds settings."""
    given = {"synthetic": 0.4, "augmented": 0.4, **data, "device": {**SETTINGS, **data.get("device", {})}}
    windows = small_windows(folder, later, missing)
    return DeviceSource(windows, SeriesData(context_length=64, prediction_length=16, **given), 0, "cpu")
