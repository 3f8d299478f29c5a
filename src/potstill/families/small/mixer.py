"""A mixer student: patches of the context, mixed alternately along time and along features by small MLPs.

After TSMixer (Chen et al., TMLR 2023) and Tiny Time Mixers (Ekambaram et al., NeurIPS 2024), without the latter's
gates.

Shapes: B windows, C context, N patches, P steps per patch, D d_model, Q levels, H horizon.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from potstill.families.recorder import Recorder
from potstill.families.small.base import SmallStudentConfig, SmallStudentModel
from potstill.families.small.family import SmallStudentFamily
from potstill.families.small.layers import FlatHead, forward_fill, init_small, patched


class MixerConfig(SmallStudentConfig):
    """Sizes of a mixer.

    Parameters
    ----------
    d_model
        Features of a patch.
    num_layers
        Number of blocks, each of which mixes along time and along features.
    d_ff
        Hidden width of the feature MLP; default: twice ``d_model``.
    patch_size
        Steps of a patch.
    """

    model_type = "potstill_mixer"

    def __init__(
        self, d_model: int = 64, num_layers: int = 2, d_ff: int | None = None, patch_size: int = 32, **rest: Any
    ):
        self.d_model = d_model
        self.num_layers = num_layers
        self.d_ff = d_ff or 2 * d_model
        self.patch_size = patch_size
        super().__init__(**rest)


class Mixing(nn.Module):
    """Norm, then an MLP along one axis. The caller adds the result to the stream."""

    def __init__(self, width: int, size: int, hidden: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(size, hidden)
        self.narrow = nn.Linear(hidden, size)
        self.dropout = nn.Dropout(dropout)
        init_small(self.narrow)

    def forward(self, stream: Tensor, along_time: bool) -> Tensor:
        """``[B, N, D]`` to ``[B, N, D]``."""
        x = self.norm(stream)
        x = x.transpose(1, 2) if along_time else x
        x = self.narrow(self.dropout(nn.functional.gelu(self.widen(x))))
        return x.transpose(1, 2) if along_time else x


class MixerBlock(nn.Module):
    """Mixing along time, then along features."""

    def __init__(self, config: MixerConfig, patches: int):
        super().__init__()
        width, dropout = config.d_model, config.dropout_rate
        self.time = Mixing(width, patches, 2 * patches, dropout)
        self.features = Mixing(width, width, config.d_ff, dropout)

    def forward(self, stream: Tensor) -> Tensor:
        """``[B, N, D]`` to ``[B, N, D]``."""
        stream = stream + self.time(stream, along_time=True)
        return stream + self.features(stream, along_time=False)


class MixerModel(SmallStudentModel):
    """The model described in :mod:`potstill.families.small.mixer`."""

    config_class = MixerConfig
    signals = frozenset({"forecast", "hidden"})

    def __init__(self, config: MixerConfig):
        super().__init__(config)
        size, width, context = config.patch_size, config.d_model, config.context_length
        patches = -(-context // size)
        self.embed = nn.Linear(2 * size, width)
        self.blocks = nn.ModuleList(MixerBlock(config, patches) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(width)
        self.head = FlatHead(patches * width, width, context, config.prediction_length, config.levels, self.middle)
        self.post_init()

    def forward(self, scaled: Tensor, known: Tensor, recorder: Recorder | None = None) -> Tensor:
        """``values [B, Q, H]``; records the stream ``[B, N, D]`` after the requested blocks."""
        recorder = recorder or Recorder()
        size = self.config.patch_size
        x = forward_fill(scaled, known).to(self.dtype)
        stream = self.embed(torch.cat([patched(x, size), patched(known, size).to(x)], dim=2))
        for index, block in enumerate(self.blocks):
            stream = block(stream)
            recorder.record_state(index, stream)
        return self.head(self.norm(stream), x)


class MixerFamily(SmallStudentFamily):
    """Mixer students."""

    name = "mixer"
    config: ClassVar = MixerConfig
    model: ClassVar = MixerModel
    sizes = ("d_model", "num_layers", "d_ff", "patch_size")
