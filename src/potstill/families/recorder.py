"""Records what a request asks of a model's layers during one forward pass; used by the forecasters with layers.

Shapes: B windows, T tokens, A heads, D width of the stream, W width of a head.
"""

from __future__ import annotations

from torch import Tensor, nn

from potstill.families.attention import attend, attention_map
from potstill.types import Forecast, Output, Qkv, Request, Spans


class Recorder:
    """The requested outputs of layers, by layer.

    A model shows it the output of every layer; only what was requested is kept.

    Attributes
    ----------
    hidden, attention, qkv
        See :class:`potstill.types.Output`.
    """

    def __init__(self, request: Request | None = None):
        self.request = request or Request()
        self.hidden: dict[int, Tensor] = {}
        self.attention: dict[int, Tensor] = {}
        self.qkv: dict[int, Qkv] = {}

    def needs_all_tokens(self, layer: int) -> bool:
        """Whether the layer must compute every token, also those that no later layer reads."""
        return layer in self.request.hidden or layer in self.request.attention

    def needs_qkv(self, layer: int) -> bool:
        """Whether the queries, keys and values of all tokens are requested."""
        return layer in self.request.qkv

    def record_state(self, layer: int, stream: Tensor) -> None:
        """Show the stream ``[B, T, D]`` after a layer."""
        if layer in self.request.hidden:
            self.hidden[layer] = stream

    def record_qkv(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Show queries, keys and values ``[B, A, T, W]`` of a layer, before rotary positions."""
        if layer in self.request.qkv:
            self.qkv[layer] = Qkv(query, key, value)

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        scale: float | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        """Attention as in :func:`potstill.families.attention.attend`, which computes no map unless it is requested."""
        if layer not in self.request.attention:
            return attend(query, key, value, mask, scale=scale, dropout_p=dropout_p)
        weights = self.attention[layer] = attention_map(query, key, mask, scale)
        return nn.functional.dropout(weights, dropout_p).to(value.dtype) @ value

    def first(self, rows: int) -> Recorder:
        """What was recorded of the first ``rows`` rows of the batch."""
        part = Recorder(self.request)
        part.hidden, part.attention = ({i: t[:rows] for i, t in x.items()} for x in (self.hidden, self.attention))
        part.qkv = {i: Qkv(x.query[:rows], x.key[:rows], x.value[:rows]) for i, x in self.qkv.items()}
        return part

    def output(self, forecast: Forecast, token_mask: Tensor, token_spans: Spans) -> Output:
        """The output of a pass for which layers were requested."""
        layers = {"hidden": self.hidden, "attention": self.attention, "qkv": self.qkv}
        return Output(forecast, **layers, token_mask=token_mask, token_spans=token_spans)


def patch_spans(context: int, future: int, size: int, registers: int = 0) -> Spans:
    """Spans of tokens that are patches of ``size`` steps, aligned to the forecast origin.

    ``context`` patches before the origin, then ``registers`` tokens that cover no steps, then ``future`` patches.

    >>> patch_spans(2, 1, 16, registers=1)
    ((-32, -16), (-16, 0), None, (0, 16))
    """

    def patches(first: int, end: int) -> Spans:
        return tuple((size * index, size * (index + 1)) for index in range(first, end))

    return patches(-context, 0) + (None,) * registers + patches(0, future)
