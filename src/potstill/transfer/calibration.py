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
from potstill.types.exact import in_float64

MAX_ROWS = 2048  # rows of each norm, units and batch that enter the moments, whose cost grows with the rows


@dataclass
class Activity:
    """Measured on calibration windows.

    Attributes
    ----------
    covariance
        ``[D, D]`` float64: mean of x xᵀ / D over the streams x before every norm, each scaled to unit RMS.
    last
        Means ``[D]`` and ``[D, D]`` of x and of x xᵀ over the scaled streams before an output layer; None without one.
    moments
        ``[E, E]`` float64 by name of units: mean of a aᵀ over their outputs a.
    inputs
        The same of queries, keys and values, of heads that may be narrowed.
    """

    covariance: Tensor
    last: tuple[Tensor, Tensor] | None
    moments: dict[str, Tensor]
    inputs: dict[str, Tensor]


@torch.no_grad()
def measure_activity(module: nn.Module, anatomy: Anatomy, batches: Sequence[Any], units: Collection[str]) -> Activity:
    """Run the model on calibration data and measure its stream, and the outputs of the units with these names."""
    stream, last = _Moments(), _Moments()
    outputs, inputs = {name: _Moments() for name in units}, {name: _Moments() for name in units}
    output_norm = anatomy.output_layer.norm if anatomy.output_layer else None
    real: Tensor | None = None  # of the batch that runs

    def on_norm(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = _rows(inputs[0], real)
            rows = rows - rows.mean(-1, keepdim=True) if anatomy.centred else rows
            scaled = rows / rows.square().mean(-1, keepdim=True).sqrt().clamp_min(torch.finfo(rows.dtype).tiny)
            stream.add(scaled)
            if name == output_norm:
                last.add(scaled)

        return hook

    def on_output(name: str) -> Any:
        return lambda _module, inputs: outputs[name].add(_rows(inputs[0], real))

    def on_input(name: str) -> Any:
        return lambda _module, _inputs, output: inputs[name].add(_rows(output, real))

    handles = [module.get_submodule(name).register_forward_pre_hook(on_norm(name)) for name in anatomy.norms]
    for name in units:
        handles.append(module.get_submodule(anatomy.units[name].output).register_forward_pre_hook(on_output(name)))
        source = anatomy.units[name].inputs
        if source is not None:
            handles.append(module.get_submodule(source).register_forward_hook(on_input(name)))
    try:
        for batch in batches:
            real = anatomy.real(batch) if anatomy.real else None
            anatomy.run(batch)
    finally:
        for handle in handles:
            handle.remove()
    moments, of_inputs = (
        {name: found.second() for name, found in every.items() if found.rows} for every in (outputs, inputs)
    )
    return Activity(
        stream.second() / anatomy.width, (last.first(), last.second()) if output_norm else None, moments, of_inputs
    )


class _Moments:
    """Means of x and of x xᵀ over rows x, summed in float64."""

    def __init__(self) -> None:
        self.sum, self.products, self.rows = torch.zeros(()), torch.zeros(()), 0

    def add(self, rows: Tensor) -> None:
        self.sum = self.sum + in_float64(rows).sum(0).cpu()
        self.products = self.products + in_float64(rows.T @ rows).cpu()
        self.rows += len(rows)

    def first(self) -> Tensor:
        return self.sum / self.rows

    def second(self) -> Tensor:
        return self.products / self.rows


def _rows(x: Tensor, real: Tensor | None) -> Tensor:
    """``[R, …]`` float: every real row, or evenly spaced ones if there are more than ``MAX_ROWS``."""
    rows = x.detach().flatten(0, -2) if real is None else x.detach()[real]
    rows = rows[:: -(-len(rows) // MAX_ROWS)]
    return rows if rows.dtype == torch.float64 else rows.float()
