"""The router of a sparse feed-forward layer: which experts a token passes through, and with what weights.

Shapes: S tokens, D width of the stream, N experts, K experts per token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

INITIAL_SCALE = 0.1  # of the router's logits: their variance at the start, as in Switch Transformer (arXiv:2101.03961)


@dataclass
class Routing:
    """What a router decided for a batch of tokens.

    Attributes
    ----------
    logits
        ``[S, N]`` float32.
    chosen
        ``[S, K]``: the experts of each token, the one with the highest logit first.
    weights
        ``[S, K]`` float32: the weights of their outputs, which sum to 1 for each token.
    counted
        ``[S]`` bool: tokens that count in the auxiliary losses; False for padding. None: all count.
    """

    logits: Tensor
    chosen: Tensor
    weights: Tensor
    counted: Tensor | None = None


class Router(nn.Module):
    """Picks the ``top_k`` experts with the highest logits for each token, independently of all other tokens.

    No expert has a capacity, so no token is dropped, and a forecast does not depend on its batch. The weights are the
    softmax over the picked experts. With ``top_k`` 1 that weight is 1 whatever the logits are; its gradient is then
    that of the logarithm of the expert's probability, so that the router learns.

    Parameters
    ----------
    width, experts, top_k
        D, N and K.
    """

    def __init__(self, width: int, experts: int, top_k: int):
        super().__init__()
        self.top_k = top_k
        self.weight = nn.Parameter(torch.randn(experts, width) * self.initial_std(width))

    @staticmethod
    def initial_std(width: int) -> float:
        """Standard deviation of fresh weights."""
        return (INITIAL_SCALE / width) ** 0.5

    def forward(self, tokens: Tensor) -> Routing:
        """Route tokens ``[S, D]``; computed in float32, because rounded logits make training unstable."""
        with torch.autocast(tokens.device.type, enabled=False):
            logits = tokens.float() @ self.weight.float().T
        kept, chosen = logits.softmax(dim=1).topk(self.top_k, dim=1)
        weights = kept / (kept.detach() if self.top_k == 1 else kept.sum(dim=1, keepdim=True))
        return Routing(logits, chosen, weights)
