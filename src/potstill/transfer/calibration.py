"""What a teacher's residual stream, heads and neurons do on calibration windows.

Shapes: R rows (tokens of a batch), D width of the stream, E entries of units (heads times their width, or neurons).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from potstill.transfer.anatomy import Anatomy

MAX_ROWS = 2048  # rows of each norm, units and batch that enter the moments, whose cost grows with the rows


@dataclass
class Activity:
    """Measured on calibration windows.

    Attributes
    ----------
    covariance
        ``[D, D]`` float64: mean of x xᵀ / D over the streams x before every norm, each scaled to unit RMS.
    moments
        ``[E, E]`` float64 by name of units: mean of a aᵀ over their outputs a.
    """

    covariance: Tensor
    moments: dict[str, Tensor]


@torch.no_grad()
def measure_activity(module: nn.Module, anatomy: Anatomy, batches: Sequence[Any], units: Collection[str]) -> Activity:
    """Run the model on calibration data and measure its stream, and the outputs of the units with these names."""
    stream, outputs = _Moments(), {name: _Moments() for name in units}

    def on_norm(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows = _rows(inputs[0])
        stream.add(rows / rows.square().mean(-1, keepdim=True).sqrt().clamp_min(torch.finfo(rows.dtype).tiny))

    def on_output(name: str) -> Any:
        return lambda _module, inputs: outputs[name].add(_rows(inputs[0]))

    handles = [module.get_submodule(name).register_forward_pre_hook(on_norm) for name in anatomy.norms]
    for name in units:
        handles.append(module.get_submodule(anatomy.units[name].output).register_forward_pre_hook(on_output(name)))
    try:
        for batch in batches:
            anatomy.run(batch)
    finally:
        for handle in handles:
            handle.remove()
    return Activity(stream.mean() / anatomy.width, {name: found.mean() for name, found in outputs.items()})


class _Moments:
    """Mean of x xᵀ over rows x, summed in float64."""

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0
        self.rows = 0

    def add(self, rows: Tensor) -> None:
        self.total = self.total + (rows.T @ rows).double().cpu()
        self.rows += len(rows)

    def mean(self) -> Tensor:
        assert isinstance(self.total, Tensor)
        return self.total / self.rows


def _rows(x: Tensor) -> Tensor:
    """``[R, …]`` float: every row, or evenly spaced ones if there are more than ``MAX_ROWS``."""
    rows = x.detach().flatten(0, -2)
    rows = rows[:: -(-len(rows) // MAX_ROWS)]
    return rows if rows.dtype == torch.float64 else rows.float()
