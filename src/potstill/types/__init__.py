"""The data types that all parts of Potstill share; imports only the arithmetic of forecasts from Potstill.

Windows and Tokens are batches; models return a Forecast or Logits for them; Request and Output are the options and the
result of a forward pass; ModelInfo describes a model.
"""

from potstill.types.forecast import Forecast
from potstill.types.logits import LOGITS_OF_A_CHUNK, Logits, TopLogits, chunks, log_sum_exp_of_others
from potstill.types.model import (
    LAYER_SIGNALS,
    SIGNALS,
    STORED_FAMILY,
    WITHOUT_COVARIATES,
    ModelInfo,
    Predictor,
    Sized,
)
from potstill.types.moving import on_device
from potstill.types.output import ENSEMBLE, Output, Qkv, Request, Spans
from potstill.types.tokens import Tokens
from potstill.types.windows import Windows

__all__ = [
    "ENSEMBLE",
    "LAYER_SIGNALS",
    "LOGITS_OF_A_CHUNK",
    "SIGNALS",
    "STORED_FAMILY",
    "WITHOUT_COVARIATES",
    "Forecast",
    "Logits",
    "ModelInfo",
    "Output",
    "Predictor",
    "Qkv",
    "Request",
    "Sized",
    "Spans",
    "Tokens",
    "TopLogits",
    "Windows",
    "chunks",
    "log_sum_exp_of_others",
    "on_device",
]
