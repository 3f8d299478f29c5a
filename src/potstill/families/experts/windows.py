"""Windows together with the experts' forecasts of them, from which a router is trained without running an expert.

Shapes: B windows, N experts, Q levels, H steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from potstill.types import Windows

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class ForecastWindows(Windows):
    """Windows with the experts' forecasts.

    Attributes
    ----------
    experts
        ``[B, N, Q, H]`` float: values of the experts' forecasts, in the order of the mixture's experts, at its levels
        and in its common scale.
    """

    experts: Tensor | None = None

    def first_steps(self, horizon: int) -> Windows:
        """The same windows with futures and forecasts of at most ``horizon`` steps."""
        cut = super().first_steps(horizon)
        assert isinstance(cut, ForecastWindows)
        assert cut.experts is not None
        return replace(cut, experts=cut.experts[..., :horizon])
