"""Root-mean-square norm as the families' passes call it: torch's own, fused."""

from __future__ import annotations

from torch import Tensor, nn


def rms_norm(x: Tensor, weight: Tensor, eps: float | None) -> Tensor:
    """``torch.nn.functional.rms_norm`` over the last axis, in the precision of ``x``.

    torch fuses it only where weight and input have one precision; under autocast they have not.
    """
    return nn.functional.rms_norm(x, weight.shape, weight.to(x.dtype), eps)


class RMSNorm(nn.RMSNorm):
    """``nn.RMSNorm``, fused under autocast too."""

    def forward(self, x: Tensor) -> Tensor:
        """``x`` normalised, in its precision."""
        return rms_norm(x, self.weight, self.eps)
