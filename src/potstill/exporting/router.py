"""The router of a mixture as a graph.

Shapes: B windows, C context, N experts.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from potstill.exporting import onnx_graph
from potstill.families.experts.model import Mixture
from potstill.types import Windows


class _RouterGraph(nn.Module):
    def __init__(self, mixture: Mixture):
        super().__init__()
        self.router = copy.deepcopy(mixture.router).float().eval()

    def forward(self, context: Tensor) -> Tensor:
        """The weights of the experts ``[B, N]``."""
        return self.router(Windows.of_context(context, 1))[1]


def write_router(mixture: Mixture, path: Path) -> None:
    """Write the router as an ONNX graph of contexts ``[B, C]`` with the length that it reads, NaN where missing."""
    context = torch.randn(3, mixture.router.settings.context)
    context[0, :20] = torch.nan
    dynamic = {"context": {0: torch.export.Dim.DYNAMIC}}
    onnx_graph.write(_RouterGraph(mixture), {"context": context}, dynamic, path, mixture.source.name)
