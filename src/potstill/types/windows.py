"""A batch of windows of time series.

Shapes: B windows, C context steps, H horizon steps, P past covariates, F known-future covariates.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from potstill.types.moving import on_device, pinned

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Windows:
    """Contexts and the futures that follow them; data only, without the teachers' outputs.

    Attributes
    ----------
    context
        ``[B, C]`` float32, in the units of the store or, without one, of the input; NaN is missing (also the padding
        at the start of a short history). ``Forecaster.predict`` also takes float64.
    future
        ``[B, H]`` float32; NaN is unknown.
    ids
        ``[B]`` int64 window ids within their source; an id refers to the same window in every run.
    series, origin
        ``[B]`` int64: index of the series (-1: synthetic or mixed) and the position of the first future step.
    dataset
        ``[B]`` int64: index of the window's data set (domain), -1 if it has none.
    group
        ``[B]`` int64: windows with the same id are forecast together; None: every window is forecast on its own.
    past_covariates
        ``[B, P, C]`` float32: other series over the same context whose future is unknown, or None. NaN is missing; a
        window with fewer covariates than others has rows of NaN.
    future_covariates
        ``[B, F, C + H]`` float32: series that are known over context and future, or None; NaN is missing.
    """

    context: Tensor
    future: Tensor
    ids: Tensor
    series: Tensor
    origin: Tensor
    dataset: Tensor | None = None
    group: Tensor | None = None
    past_covariates: Tensor | None = None
    future_covariates: Tensor | None = None

    @classmethod
    def of_context(cls, context: Tensor, horizon: int, **more: Tensor | None) -> Windows:
        """Windows of contexts ``[B, C]`` with an unknown future and no source, for forecasting."""
        import torch

        rows = torch.arange(len(context), device=context.device)
        future = context.new_full((len(context), horizon), torch.nan)
        return cls(context, future, rows, rows, torch.zeros_like(rows), **more)

    def __len__(self) -> int:
        return self.context.shape[0]

    @property
    def stands_alone(self) -> bool:
        """Whether every window is forecast only from its own context, without groups and covariates."""
        return self.group is None and self.past_covariates is None and self.future_covariates is None

    def alone(self) -> Windows:
        """The same windows without covariates and groups."""
        return replace(self, group=None, past_covariates=None, future_covariates=None)

    def take(self, rows: Any) -> Windows:
        """The windows of some rows: indices, a slice or a mask of ``[B]``."""
        return replace(self, **{name: value[rows] for name, value in self._present().items()})

    def first_steps(self, horizon: int) -> Windows:
        """The same windows with futures (and future covariates) of at most ``horizon`` steps."""
        if horizon >= self.future.shape[1]:
            return self
        known, end = self.future_covariates, self.context.shape[1] + horizon
        known = known if known is None else known[..., :end]
        return replace(self, future=self.future[:, :horizon], future_covariates=known)

    def newest(self, steps: int) -> Windows:
        """The same windows with only the last ``steps`` steps of the contexts (and covariates)."""
        removed = self.context.shape[1] - steps
        if removed <= 0:
            return self
        cut = {name: getattr(self, name) for name in ("past_covariates", "future_covariates")}
        cut = {name: value if value is None else value[..., removed:] for name, value in cut.items()}
        return replace(self, context=self.context[:, removed:], **cut)

    def earlier(self, steps: int) -> Windows:
        """The windows as they were ``steps`` earlier: the last steps of the contexts become the futures.

        The contexts keep their length; their first steps are NaN.
        """
        import torch

        unknown = torch.full_like(self.context[:, :steps], torch.nan)
        context, future = self.context.tensor_split([self.context.shape[1] - steps], dim=1)
        moved = {"context": torch.cat([unknown, context], dim=1), "future": future, "origin": self.origin - steps}
        for name in ("past_covariates", "future_covariates"):
            values = getattr(self, name)
            if values is not None:
                kept = values[..., : self.context.shape[1] - (steps if name == "past_covariates" else 0)]
                moved[name] = torch.nn.functional.pad(kept, (steps, 0), value=torch.nan)
        return replace(self, **moved)

    def to(self, device: Any, non_blocking: bool = True) -> Windows:
        """Move every tensor to ``device``, by default without waiting for copies from pinned memory."""
        return on_device(self, device, non_blocking)

    def pin_memory(self) -> Windows:
        """The same windows in page-locked memory; the data loader calls this."""
        return pinned(self)

    def _present(self) -> dict[str, Tensor]:
        every = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in every.items() if value is not None}
