"""The options of a model's forward pass, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from potstill.types.model import LAYER_SIGNALS
from potstill.types.moving import on_device, pinned

if TYPE_CHECKING:
    from torch import Tensor

    from potstill.types.forecast import Forecast
    from potstill.types.logits import Logits, TopLogits

ENSEMBLE = "ensemble"  # name of the teachers' average among the outputs by teacher

#: see ``Output.token_spans``
Spans = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class Request:
    """The outputs that a forward pass should return.

    Attributes
    ----------
    horizon
        Steps of the forecast; 0 for language models.
    hidden, attention, qkv
        Layers, counted from 0, whose states, attention maps, or queries, keys and values are to be returned.
    backtest
        Steps of the backtest that a provider of teachers' outputs adds; 0: none. Models ignore it.
    without_covariates
        Whether the windows are also forecast without their covariates and groups, by a second pass of the provider or
        of the training step. Models ignore it.
    """

    horizon: int = 0
    hidden: tuple[int, ...] = ()
    attention: tuple[int, ...] = ()
    qkv: tuple[int, ...] = ()
    backtest: int = 0
    without_covariates: bool = False

    @property
    def layers(self) -> dict[str, tuple[int, ...]]:
        """The requested layers by signal; signals that are not requested are left out."""
        return {name: layers for name in LAYER_SIGNALS if (layers := getattr(self, name))}

    def __or__(self, other: Request) -> Request:
        """A request that includes both: the longer horizon, and the layers of either."""
        layers = {name: tuple(sorted({*getattr(self, name), *getattr(other, name)})) for name in LAYER_SIGNALS}
        return Request(
            max(self.horizon, other.horizon),
            **layers,
            backtest=max(self.backtest, other.backtest),
            without_covariates=self.without_covariates or other.without_covariates,
        )


@dataclass(frozen=True)
class Qkv:
    """Queries, keys and values of one attention layer, each ``[B, heads, T, head_width]``.

    Queries and keys are those before rotary positions (after a norm of queries and keys that the module applies before
    them). Heads that share keys and values each have their copy.
    """

    query: Tensor
    key: Tensor
    value: Tensor


@dataclass
class Output:
    """The result of a forward pass.

    Attributes
    ----------
    answer
        A Forecast, or the Logits of the answer tokens.
    hidden
        ``[B, T, d_model]`` by layer: the residual stream after the layer.
    attention
        ``[B, heads, T, T]`` by layer: the weights of the attention along time (for text: along the tokens).
    token_mask
        ``[B, T]`` bool: False for padded patches or tokens in ``hidden``, ``attention`` and ``qkv``. Their states carry
        no information, and in some models depend on the other windows of the batch. None: no token is padded.
    auxiliary
        Additional losses that the model computes, such as the load balance of a mixture of experts: scalars by name.
    qkv
        Queries, keys and values by layer, of the attention along time (for text: along the tokens).
    token_spans
        For each of the T tokens its first step and the step after its last, relative to the forecast origin (step 0 is
        the first of the future, −1 the last of the context); None for a token that covers no steps, such as a register
        token. The same for all windows, so a tuple. For text None: the tokens are those of the batch.
    labelled
        ``[B]`` bool: False for windows that the teachers do not label, whose other entries have no meaning. None: all
        are labelled.
    backtest
        ``[B]``: error of a teacher on the last steps of each context, forecast from what came before them, divided by
        the error of a seasonal naive forecast; NaN where too few of the steps are known. None: not requested.
    statistics
        Figures for the log of a training, such as the use of experts: scalars without gradient, by name.
    without_covariates
        The forecast of the same windows without their covariates and groups; None: not requested, or they have none.
    """

    answer: Forecast | Logits | TopLogits
    hidden: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)
    token_mask: Tensor | None = None
    auxiliary: dict[str, Tensor] = field(default_factory=dict)
    qkv: dict[int, Qkv] = field(default_factory=dict)
    token_spans: Spans | None = None
    labelled: Tensor | None = None
    backtest: Tensor | None = None
    statistics: dict[str, Tensor] = field(default_factory=dict)
    without_covariates: Forecast | None = None

    @property
    def forecast(self) -> Forecast:
        """The forecast of a forecaster."""
        from potstill.types.forecast import Forecast

        assert isinstance(self.answer, Forecast)
        return self.answer

    @property
    def logits(self) -> Logits | TopLogits:
        """The logits of a language model."""
        from potstill.types.forecast import Forecast

        assert not isinstance(self.answer, Forecast)
        return self.answer

    def take(self, rows: Tensor) -> Output:
        """The output of some windows, by index; only of a forecaster."""
        layers = {name: {i: t[rows] for i, t in getattr(self, name).items()} for name in ("hidden", "attention")}
        tensors = {name: getattr(self, name) for name in ("token_mask", "labelled", "backtest")}
        parts = {name: tensor[rows] for name, tensor in tensors.items() if tensor is not None}
        qkv = {i: Qkv(x.query[rows], x.key[rows], x.value[rows]) for i, x in self.qkv.items()}
        alone = self.without_covariates and self.without_covariates.take(rows)
        return replace(self, answer=self.forecast.take(rows), qkv=qkv, without_covariates=alone, **layers, **parts)

    def first_steps(self, horizon: int) -> Output:
        """The same output with only the first ``horizon`` steps of the forecast; logits are unchanged."""
        from potstill.types.forecast import Forecast

        if not isinstance(self.answer, Forecast):
            return self
        alone = self.without_covariates and self.without_covariates.first_steps(horizon)
        return replace(self, answer=self.answer.first_steps(horizon), without_covariates=alone)

    def to(self, device: Any, non_blocking: bool = True) -> Output:
        """Move every tensor to ``device``, by default without waiting for copies from pinned memory."""
        return on_device(self, device, non_blocking)

    def pin_memory(self) -> Output:
        """The same output in page-locked memory; the data loader calls this."""
        return pinned(self)
