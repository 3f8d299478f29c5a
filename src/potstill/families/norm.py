"""Root-mean-square norm, used by all families: torch's fused kernel."""

from __future__ import annotations

from torch import Tensor, nn


def rms_norm(x: Tensor, weight: Tensor, eps: float | None) -> Tensor:
    """``torch.nn.functional.rms_norm`` over the last axis, in the precision of ``x``.

    torch uses its fused kernel only if weight and input have the same precision; under autocast they differ.
    """
    return nn.functional.rms_norm(x, weight.shape, weight.to(x.dtype), eps)


class RMSNorm(nn.RMSNorm):
    """``nn.RMSNorm`` that uses the fused kernel under autocast as well."""

    def forward(self, x: Tensor) -> Tensor:
        """``x`` normalised over its last axis, in the precision of ``x``."""
        return rms_norm(x, self.weight, self.eps)
