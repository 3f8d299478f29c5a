"""A sparse feed-forward network: several experts of one shape, of which each token passes through a few.

Shapes: B windows, T tokens, D width of the stream, F neurons of an expert, N experts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from potstill.families.sparse.dispatch import dispatch, grouped_linear
from potstill.families.sparse.routing import Router, Routing


class SparseMLP(nn.Module):
    """N experts of two matrices each, without biases, behind a router; stands in for a dense network of that kind.

    The matrices of all experts are one weight, so that a step in which an expert has no token gives it a gradient of 0
    and not none.

    Parameters
    ----------
    width, hidden
        D and F.
    experts, top_k
        N, and the experts that each token passes through.
    activation
        Between the two matrices.
    dropout
        Share of neurons dropped in training.

    Attributes
    ----------
    wi, wo
        ``[N, F, D]`` and ``[N, D, F]``.
    """

    def __init__(self, width: int, hidden: int, experts: int, top_k: int, activation: nn.Module, dropout: float):
        super().__init__()
        self.router = Router(width, experts, top_k)
        self.wi = nn.Parameter(torch.randn(experts, hidden, width) * width**-0.5)
        self.wo = nn.Parameter(torch.randn(experts, width, hidden) * hidden**-0.5)
        self.act = activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, T, D]``, as of the dense network."""
        return self.routed(x)[0]

    def routed(self, x: Tensor) -> tuple[Tensor, Routing]:
        """The output ``[B, T, D]`` and what the router decided for the B · T tokens."""
        tokens = x.flatten(0, -2)
        routing = self.router(tokens)
        return dispatch(tokens, routing, self._experts).view_as(x), routing

    def _experts(self, rows: Tensor, load: Tensor) -> Tensor:
        hidden = self.dropout(self.act(grouped_linear(rows, self.wi, load)))
        return grouped_linear(hidden, self.wo, load)

    @property
    def inactive_parameters(self) -> int:
        """Number of the experts' weights that a token does not pass through."""
        experts = len(self.wi)
        return (self.wi.numel() + self.wo.numel()) * (experts - self.router.top_k) // experts


def sparse_layers(module: nn.Module) -> list[SparseMLP]:
    """The sparse layers of a model, in their order."""
    return [part for part in module.modules() if isinstance(part, SparseMLP)]
