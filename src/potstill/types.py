"""The nouns every part of the house shares: Windows and Forecast, Tokens and Logits, Output.

Imports nothing of Potstill's.

Shapes: B windows, C context steps, H horizon steps, Q quantile levels, L layers. Of text:
B examples, T tokens, N answer tokens of the whole batch (row by row), D width, V vocabulary, K logits kept of a token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Forecast:
    """What any forecaster returns: quantiles of each window's future.

    Attributes
    ----------
    levels
        ``[Q]`` float32, ascending, in (0, 1).
    values
        ``[B, Q, H]`` quantiles in the context's scale: ``(x - loc) / scale``, and the arcsinh of that where
        ``arcsinh`` is set. fp32 when computed, fp16 in stores.
    loc, scale
        ``[B, 1]`` float64, so that a level of 48,000 with a spread of 3 survives.
    arcsinh
        Whether ``values`` went through arcsinh after scaling (Chronos-2 does that).
    """

    levels: Tensor
    values: Tensor
    loc: Tensor
    scale: Tensor
    arcsinh: bool = False

    @property
    def quantiles(self) -> Tensor:
        """``[B, Q, H]`` float32 on the CPU, in input units, sorted along Q."""
        scaled = self.values.detach().double()
        scaled = scaled.sinh() if self.arcsinh else scaled
        found = (scaled * self.scale[:, :, None] + self.loc[:, :, None]).float().cpu()
        # sorting is most of this, and some students' heads cannot cross
        return found if bool((found[:, 1:] >= found[:, :-1]).all()) else found.sort(dim=1).values

    def at_levels(self, levels: Tensor) -> Forecast:
        """The same forecast at other levels: sorted, then linear in the level; flat beyond the outermost ones."""
        import torch

        own = self.levels.to(self.values.device, torch.float32)
        levels = levels.to(own)
        values = self.values.float().sort(dim=1).values
        if own.shape == levels.shape and torch.allclose(own, levels, atol=1e-6):
            return replace(self, values=values, levels=levels)
        if len(own) == 1:
            return replace(self, values=values.expand(-1, len(levels), -1), levels=levels)
        right = torch.searchsorted(own, levels).clamp(1, len(own) - 1)
        left = right - 1
        share = ((levels - own[left]) / (own[right] - own[left])).clamp(0, 1)[None, :, None]
        return replace(self, values=values[:, left] * (1 - share) + values[:, right] * share, levels=levels)

    def in_scale_of(self, other: Forecast) -> Forecast:
        """The same forecast expressed in another forecast's loc, scale and arcsinh (computed in float64)."""
        same = self.loc is other.loc and self.scale is other.scale and self.arcsinh == other.arcsinh
        if same:
            return self
        values = self.values.double()
        values = values.sinh() if self.arcsinh else values
        loc, scale = other.loc.to(values.device), other.scale.to(values.device)
        raw = values * self.scale.to(values.device)[:, :, None] + self.loc.to(values.device)[:, :, None]
        values = (raw - loc[:, :, None]) / scale[:, :, None]
        values = values.asinh() if other.arcsinh else values
        return replace(self, values=values.float(), loc=loc, scale=scale, arcsinh=other.arcsinh)

    def scaled(self, x: Tensor) -> Tensor:
        """Map ``x [B, H]`` from input units into the space of ``values``."""
        z = (x.double() - self.loc.to(x.device)) / self.scale.to(x.device)
        return (z.asinh() if self.arcsinh else z).float()


@dataclass
class Windows:
    """A batch of windows: contexts and the futures that followed them.

    Attributes
    ----------
    context
        ``[B, C]`` float32 in input units; NaN is missing (also left padding where history is short).
    future
        ``[B, H]`` float32; NaN is unknown.
    ids
        ``[B]`` int64 window ids within their source; the same id is the same window in every run.
    series, origin
        ``[B]`` int64: index of the series (-1: synthetic or mixed) and the position of the first future step.
    group
        ``[B]`` int64 ids of windows that belong together, or None where every window stands alone.
    past_covariates, future_covariates
        None until a source provides them.
    labels
        The teacher's stored Forecast for these windows, where they were read from a label store.
    """

    context: Tensor
    future: Tensor
    ids: Tensor
    series: Tensor
    origin: Tensor
    group: Tensor | None = None
    past_covariates: Tensor | None = None
    future_covariates: Tensor | None = None
    labels: Forecast | None = None

    def __len__(self) -> int:
        return self.context.shape[0]

    def to(self, device: Any) -> Windows:
        """Move every tensor to ``device``."""
        return _moved(self, device)


@dataclass
class Logits:
    """Logits of the next token at N places, not yet projected: they are made a few rows at a time.

    Attributes
    ----------
    states
        ``[N, D]``: what the output layer reads.
    head
        From states ``[n, D]`` to logits ``[n, V]``; an ``nn.Module`` where its weights are trained.
    precision
        Data type that the projection is to be made in, by autocast; None: the weights' own.
    """

    states: Tensor
    head: Callable[[Tensor], Tensor]
    precision: Any = None

    def __len__(self) -> int:
        return len(self.states)


LOGITS_OF_A_CHUNK = 2**23  # 32 MB in fp32, the most that malloc keeps for the next one


def chunks(count: int, vocabulary: int) -> Iterator[slice]:
    """Slices of ``count`` rows of logits such that none has many more than ``LOGITS_OF_A_CHUNK`` of them."""
    rows = max(16, LOGITS_OF_A_CHUNK // vocabulary)
    return (slice(first, first + rows) for first in range(0, count, rows))


@dataclass
class TopLogits:
    """The K largest logits of each of N places, as a label store keeps them.

    Attributes
    ----------
    indices
        ``[N, K]`` int64, tokens of the vocabulary.
    logits
        ``[N, K]`` float32.
    log_sum_exp
        ``[N]`` float32, of all V logits divided by ``temperature``: what the other V − K tokens share is then exact.
    temperature
        The one that ``log_sum_exp`` was taken at.
    """

    indices: Tensor
    logits: Tensor
    log_sum_exp: Tensor
    temperature: float

    def __len__(self) -> int:
        return len(self.indices)


@dataclass
class Tokens:
    """A batch of prompts and answers, tokenised; padded on the right.

    Attributes
    ----------
    input_ids
        ``[B, T]`` int64.
    attention
        ``[B, T]`` bool: False where padded.
    answer
        ``[B, T]`` bool: the tokens that the loss is about. Token ``t`` is predicted from the tokens before it.
    ids
        ``[B]`` int64 ids of the examples; the same id is the same example in every run.
    labels
        The teacher's logits at the N answer tokens, where there is a teacher.
    """

    input_ids: Tensor
    attention: Tensor
    answer: Tensor
    ids: Tensor
    labels: Logits | TopLogits | None = None

    def __len__(self) -> int:
        return self.input_ids.shape[0]

    @property
    def targets(self) -> Tensor:
        """``[N]``: the answer tokens, row by row."""
        return self.input_ids[self.answer]

    def to(self, device: Any) -> Tokens:
        """Move every tensor to ``device``."""
        return _moved(self, device)


@dataclass
class Output:
    """What a model's pass returns to the objective: a Forecast, or the Logits of the answer tokens.

    ``hidden`` and ``attention`` map a layer index to ``[B, tokens, d_model]`` and ``[B, heads, tokens, tokens]``;
    ``auxiliary`` holds losses of the model's own (a mixture's balance), by name.
    """

    answer: Forecast | Logits | TopLogits
    hidden: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)
    auxiliary: dict[str, Tensor] = field(default_factory=dict)

    @property
    def forecast(self) -> Forecast:
        """A forecaster's answer."""
        assert isinstance(self.answer, Forecast)
        return self.answer

    @property
    def logits(self) -> Logits | TopLogits:
        """A language model's answer."""
        assert not isinstance(self.answer, Forecast)
        return self.answer


def _moved(value: Any, device: Any) -> Any:
    """A dataclass with all tensors in it on ``device``."""
    if hasattr(value, "__dataclass_fields__"):
        return replace(value, **{f.name: _moved(getattr(value, f.name), device) for f in fields(value)})
    return value.to(device) if hasattr(value, "to") else value
