"""The description of a model, and the protocols of what can forecast and what has a size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from potstill.types.forecast import Forecast

#: the kinds of output of a forward pass that are requested by layer: states, attention maps, queries, keys and values
LAYER_SIGNALS = ("hidden", "attention", "qkv")
#: a provider's forecast of windows without their covariates and groups, besides the one with them
WITHOUT_COVARIATES = "without_covariates"
#: all kinds of output of a forward pass
SIGNALS = ("forecast", "logits", *LAYER_SIGNALS, WITHOUT_COVARIATES)
#: the family of a teacher known from stored labels alone
STORED_FAMILY = "stored"


@dataclass(frozen=True)
class ModelInfo:
    """A description of a model.

    Attributes
    ----------
    name
        The model's name in messages.
    family
        Name of the model's family.
    parameters, active_parameters
        Number of weights, and of those that one input passes through (fewer in a mixture of experts).
    layers, width, heads, head_width
        Number of layers (numbered from 0 in a ``Request``), width of the residual stream, number of attention heads and
        width of a head; 0 if the model has none.
    levels
        Quantile levels of a forecaster, ascending; empty for a language model.
    vocabulary
        Logits per token of a language model; 0 for a forecaster.
    max_context, max_horizon
        Longest context and horizon of one pass, in steps (for text: in tokens, and 0).
    signals
        The outputs that a pass can return, of ``SIGNALS``.
    group_signals
        The same for windows with groups or covariates; empty if the model cannot use them.
    auxiliary
        Names of the losses in ``Output.auxiliary``.
    """

    name: str
    family: str
    parameters: int
    active_parameters: int
    layers: int
    width: int
    heads: int
    levels: tuple[float, ...] = ()
    vocabulary: int = 0
    max_context: int = 0
    max_horizon: int = 0
    signals: frozenset[str] = frozenset({"forecast"})
    group_signals: frozenset[str] = frozenset()
    auxiliary: tuple[str, ...] = field(default=())
    head_width: int = 0


class Predictor(Protocol):
    """An object that forecasts: a model, an ensemble or an exported model; not necessarily a torch module."""

    levels: Tensor
    max_context: int
    max_horizon: int

    def predict(self, windows: Any, prediction_length: int) -> Forecast:
        """Forecast the next ``prediction_length`` steps of Windows, or of contexts ``[B, C]``."""
        ...


class Sized(Protocol):
    """An object with a number of parameters and a size in bytes, for reports."""

    @property
    def parameters(self) -> int:
        """Number of weights."""
        ...

    @property
    def bytes(self) -> int:
        """Size of the weights in memory, in bytes."""
        ...
