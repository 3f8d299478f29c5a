"""A small transformer encoder over patches, as a student for any teacher.

Tokens are patches of the context; each attends to all patches with a known value. Pre-norm blocks, rotary positions,
scaled dot-product attention; a narrow layer maps all tokens together to the quantiles.

Shapes: B windows, C context, T tokens, P steps per patch, A heads, D d_model, Q levels, H horizon.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from potstill.errors import UserError
from potstill.families.norm import RMSNorm
from potstill.families.recorder import Recorder
from potstill.families.small.base import SmallStudentConfig, SmallStudentModel
from potstill.families.small.family import SmallStudentFamily
from potstill.families.small.layers import FlatHead, forward_fill, patched

ROTARY_BASE = 10_000.0


class PatchTransformerConfig(SmallStudentConfig):
    """Sizes of a patch transformer.

    Parameters
    ----------
    d_model
        Width of a token.
    num_layers, num_heads
        Blocks, and attention heads in each.
    d_ff
        Hidden width of the feed-forward layers; default: four times ``d_model``.
    patch_size
        Steps of a patch.
    """

    model_type = "potstill_patch_transformer"

    def __init__(
        self,
        d_model: int = 128,
        num_layers: int = 4,
        num_heads: int = 8,
        d_ff: int | None = None,
        patch_size: int = 16,
        **rest: Any,
    ):
        self.d_model = d_model
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.d_ff = d_ff or 4 * d_model
        self.patch_size = patch_size
        super().__init__(**rest)


class Attention(nn.Module):
    """Self-attention with rotary positions."""

    def __init__(self, config: PatchTransformerConfig):
        super().__init__()
        self.heads, self.dropout = config.num_heads, config.dropout_rate
        self.project = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.out = _init_residual(nn.Linear(config.d_model, config.d_model, bias=False), config.num_layers)

    def forward(
        self, x: Tensor, visible: Tensor, turn: tuple[Tensor, Tensor], recorder: Recorder, index: int
    ) -> Tensor:
        """``[B, T, D]``; ``visible [B, 1, 1, T]``: tokens attended to; ``index``: the layer."""
        query, key, value = self.project(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        recorder.record_qkv(index, query, key, value)
        query, key = rotate(query, *turn), rotate(key, *turn)
        dropout = self.dropout if self.training else 0.0
        mixed = recorder.attend(index, query, key, value, visible, dropout_p=dropout)
        return self.out(mixed.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Attention and a feed-forward layer, each with a norm before it and added to the stream."""

    def __init__(self, config: PatchTransformerConfig):
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, eps=1e-6)
        self.attention = Attention(config)
        self.feedforward_norm = RMSNorm(config.d_model, eps=1e-6)
        self.widen = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.narrow = _init_residual(nn.Linear(config.d_ff, config.d_model, bias=False), config.num_layers)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(
        self, x: Tensor, visible: Tensor, turn: tuple[Tensor, Tensor], recorder: Recorder, index: int
    ) -> Tensor:
        """The stream ``[B, T, D]``; arguments as in :class:`Attention`."""
        x = x + self.dropout(self.attention(self.attention_norm(x), visible, turn, recorder, index))
        widened = nn.functional.gelu(self.widen(self.feedforward_norm(x)))
        return x + self.dropout(self.narrow(widened))


class PatchTransformerModel(SmallStudentModel):
    """The model described in :mod:`potstill.families.small.patch_transformer`."""

    config_class = PatchTransformerConfig
    signals = frozenset({"forecast", "hidden", "attention", "qkv"})

    def __init__(self, config: PatchTransformerConfig):
        super().__init__(config)
        size, width, context = config.patch_size, config.d_model, config.context_length
        self.embed = nn.Sequential(nn.Linear(2 * size, config.d_ff), nn.GELU(), nn.Linear(config.d_ff, width))
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(width, eps=1e-6)
        features = -(-context // size) * width
        self.head = FlatHead(features, width, context, config.prediction_length, config.levels, self.middle)
        self.post_init()

    def forward(self, scaled: Tensor, known: Tensor, recorder: Recorder | None = None) -> Tensor:
        """``values [B, Q, H]``; records the streams ``[B, T, D]`` and the attention of the requested blocks."""
        recorder, size = recorder or Recorder(), self.config.patch_size
        x = forward_fill(scaled, known).to(self.dtype)
        known_patches = patched(known, size)
        stream = self.embed(torch.cat([patched(x, size), known_patches.to(x)], dim=2))
        # patches without a known value are not attended to; if no patch has one, all are, to avoid NaN
        visible = known_patches.any(dim=2)
        visible = (visible | ~visible.any(dim=1, keepdim=True))[:, None, None]
        turn = angles(stream.shape[1], self.config.d_model // self.config.num_heads, stream.device)
        for index, block in enumerate(self.blocks):
            stream = block(stream, visible, turn, recorder, index)
            recorder.record_state(index, stream)
        return self.head(self.norm(stream), x)


def angles(tokens: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine ``[T, width / 2]`` of rotary positions."""
    rates = ROTARY_BASE ** (-torch.arange(0, width, 2, device=device) / width)
    turns = torch.arange(tokens, device=device)[:, None] * rates
    return turns.cos(), turns.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn pairs of ``[B, A, T, width]`` by their position's angles (Su et al., "RoFormer", 2021)."""
    cosine, sine = cosine.to(x.dtype), sine.to(x.dtype)
    first, second = x.chunk(2, dim=3)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=3)


def _init_residual(layer: nn.Linear, layers: int) -> nn.Linear:
    """Initialise with small weights, so that the size of the stream does not grow with depth."""
    nn.init.normal_(layer.weight, std=(2 * layers * layer.in_features) ** -0.5)
    return layer


class PatchTransformerFamily(SmallStudentFamily):
    """Patch transformer students."""

    name = "patch_transformer"
    config: ClassVar = PatchTransformerConfig
    model: ClassVar = PatchTransformerModel
    sizes = ("d_model", "num_layers", "num_heads", "d_ff", "patch_size")

    def check(self, config: PatchTransformerConfig, where: str) -> None:
        """Each head needs an even width, because rotary positions rotate pairs."""
        if config.d_model % (2 * config.num_heads):
            raise UserError(
                f"{where}: d_model={config.d_model} and num_heads={config.num_heads} do not fit; d_model must be a"
                " multiple of twice num_heads.",
                key="student.sizes_do_not_fit",
            )
