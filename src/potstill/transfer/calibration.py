"""What a teacher's residual stream, heads and neurons do on calibration windows.

Shapes: R rows (tokens of a batch), D width of the stream, U units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from potstill.transfer.anatomy import Anatomy, Chosen, Units

MAX_ROWS = 2048  # rows of each norm and batch that enter the covariance; its cost grows with the rows


@dataclass
class Activity:
    """Measured on calibration windows.

    Attributes
    ----------
    covariance
        ``[D, D]`` float64: mean of x xᵀ / D over the streams x before every norm, each scaled to unit RMS.
    importance
        ``[U]`` float64 by name of the units: the size of what each of them writes to the stream.
    """

    covariance: Tensor
    importance: dict[str, Tensor]


@torch.no_grad()
def measure_activity(module: nn.Module, anatomy: Anatomy, batches: Sequence[Any]) -> Activity:
    """Run the model on calibration data and measure its stream and its units.

    A neuron's importance is mean |a| · ‖w‖ of its activation a and the column w of the matrix that writes it; a head's
    is the sum of mean a² · ‖w‖² over its columns.
    """
    width = anatomy.width
    total, rows = torch.zeros(width, width, dtype=torch.float64), 0
    sizes = {name: torch.zeros(0, dtype=torch.float64) for name in anatomy.units}

    def on_norm(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal rows
        x = inputs[0].detach().float().flatten(0, -2)
        x = x[:: -(-len(x) // MAX_ROWS)]
        x = x / x.square().mean(-1, keepdim=True).sqrt().clamp_min(torch.finfo(x.dtype).tiny)
        total.add_((x.T @ x).double().cpu())
        rows += len(x)

    def on_output(name: str, power: int) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            size = inputs[0].detach().float().flatten(0, -2).abs().pow(power).mean(0).double().cpu()
            sizes[name] = sizes[name] + size if len(sizes[name]) else size

        return hook

    handles = [module.get_submodule(name).register_forward_pre_hook(on_norm) for name in anatomy.norms]
    handles += [
        module.get_submodule(units.output).register_forward_pre_hook(on_output(name, _power(units)))
        for name, units in anatomy.units.items()
    ]
    try:
        for batch in batches:
            anatomy.run(batch)
    finally:
        for handle in handles:
            handle.remove()
    importance = {
        name: (sizes[name] / len(batches) * _column_norms(module, anatomy, name)).view(units.count, -1).sum(1)
        for name, units in anatomy.units.items()
    }
    return Activity(total / rows / width, importance)


def _power(units: Units) -> int:
    return 2 if units.kind == "heads" else 1


def _column_norms(module: nn.Module, anatomy: Anatomy, name: str) -> Tensor:
    """‖w‖ (of heads ‖w‖²) of every column of the matrix that writes the units' outputs."""
    units = anatomy.units[name]
    weight = f"{units.output}.weight"
    axis = next(i for i, kind in enumerate(anatomy.axes[weight]) if isinstance(kind, Chosen))
    matrix = module.get_parameter(weight).detach().double().cpu().movedim(axis, 0).flatten(1)
    return matrix.norm(dim=1).pow(_power(units))
