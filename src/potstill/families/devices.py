"""The devices that torch can compute on, by name: cpu, cuda, cuda:N, xpu, xpu:N, mps."""

from __future__ import annotations

import torch

from potstill.errors import UserError
from potstill.ranks import world_size
from potstill.types.exact import has_float64

CPU = "cpu"
DEFAULT_ORDER = ("cuda", "xpu")  # the first that exists, else the CPU; mps only where it is asked for
PINNED = ("cuda", "xpu")  # copies to them from pinned memory overlap with computing
ALL_KINDS = (*DEFAULT_ORDER, "mps")


def kind_of(device: str | torch.device) -> str:
    """The kind of a device: ``cuda`` for ``cuda:1``."""
    return torch.device(device).type


def available_device(device: str | None) -> str:
    """The requested device; default: a GPU if there is one.

    Raises
    ------
    UserError
        If torch knows no such device or has none on this machine.
    """
    counts = device_counts()
    if device is None:
        return next((kind for kind in DEFAULT_ORDER if counts.get(kind)), CPU)
    try:
        one = torch.device(device)
    except RuntimeError:
        one = None
    if one is None or one.type not in (CPU, *ALL_KINDS):
        raise UserError(
            f"--device {device}: is not a device; write cpu, cuda, cuda:N, xpu, xpu:N or mps.", key="device.unknown"
        )
    if (one.index or 0) >= counts.get(one.type, 0):
        known = ", ".join(f"{kind}:{n}" for kind, count in counts.items() for n in range(count) if kind != CPU)
        raise UserError(
            f"--device {device}: torch finds no such device on this machine, only {known or 'the CPU'}; leave --device"
            " out to use the best one.",
            key="device.not_available",
        )
    if world_size() > 1 and one.index is not None and one.type != CPU:
        raise UserError(
            f"--device {device}: a launcher gives each process a device of its own; write --device {one.type}.",
            key="device.chosen_by_launcher",
        )
    return device


def forecasting_device(device: str | None) -> str:
    """As :func:`available_device`, for forecasters, which keep the level and the scale of a series in float64.

    Raises
    ------
    UserError
        Also if the device has no float64.
    """
    chosen = available_device(device)
    if not has_float64(chosen):
        raise UserError(
            f"--device {chosen}: forecasters keep the level of a series in float64, which this device does not have;"
            " use --device cpu.",
            key="device.no_float64",
        )
    return chosen


def device_counts() -> dict[str, int]:
    """The number of devices of each kind that this machine has."""
    counts = {"cuda": torch.cuda.device_count(), "xpu": torch.xpu.device_count(), "mps": torch.mps.device_count()}
    return {CPU: 1, **{kind: count for kind, count in counts.items() if count}}
