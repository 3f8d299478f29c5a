"""The forward pass of Chronos-2: upstream's modules and weights, at a lower cost.

The differences from upstream's ``encode`` change the results only by rounding (tests check 1e-5): attention within a
group is computed group by group, and for a group of one series it is a linear map; the rotary angles are computed once
for all layers; after the last layer's keys and values only the tokens of the forecast are computed.

Shapes: R rows (windows, and covariates), C context, T tokens, N output patches, P steps per patch, A heads, D d_model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from potstill.families.blocks import through
from potstill.families.chronos2.groups import attend_in_groups, attend_to_self, members_by_size
from potstill.families.chronos2.rows import Rows
from potstill.families.chronos2.sparse import ExtendedFeedForward
from potstill.families.norm import rms_norm
from potstill.families.recorder import Recorder
from potstill.families.sparse import Routing, SparseMLP
from potstill.types import Request

#: maps a layer, the stream ``[R, T, D]`` and its mask ``[R, T]`` to the stream after attention within groups
GroupAttention = Callable[[Any, Tensor, Tensor], Tensor]


@dataclass
class Encoded:
    """What the encoder returns.

    Attributes
    ----------
    stream
        ``[R, N, D]``: the tokens of the forecast, after the final norm.
    mask
        ``[R, T]`` bool: False for patches of the context with no known value.
    recorded
        The streams ``[R, T, D]`` after the requested blocks, and what was requested of their attention along time.
    routings
        What the routers of sparse layers decided, of all rows.
    """

    stream: Tensor
    mask: Tensor
    recorded: Recorder
    routings: list[Routing]

    def first(self, rows: int) -> Encoded:
        """Only the first rows: the windows, without their covariates."""
        return replace(self, stream=self.stream[:rows], mask=self.mask[:rows], recorded=self.recorded.first(rows))


def encode_univariate(model: Any, context: Tensor, patches: int, request: Request | None = None) -> Encoded:
    """Run the encoder on windows without groups or covariates.

    Parameters
    ----------
    model
        A ``Chronos2Model``.
    context
        ``[R, C]`` in input units, NaN where missing.
    patches
        Number N of output patches to forecast.
    request
        The layers of which to record something; default: none.
    """
    stream, mask = _tokens(model, context, patches)
    return _encode(model, stream, mask, patches, Recorder(request), lambda layer, x, _: attend_single(layer, x))


def encode_groups(model: Any, rows: Rows, patches: int, request: Request | None = None) -> Encoded:
    """Run the encoder on rows that attend to their group's other rows; parameters as in :func:`encode_univariate`."""
    members = members_by_size(rows.group)
    size = model.chronos_config.output_patch_size
    future = rows.future
    if future is not None:
        short = patches * size - future.shape[1]
        future = nn.functional.pad(future, (0, short), value=torch.nan).unflatten(1, (patches, size))

    def attend_within(layer: Any, x: Tensor, visible: Tensor) -> Tensor:
        return attend_in_groups(layer, x, visible, members)

    return encode_rows(model, rows.context, patches, future, attend_within, Recorder(request))


def encode_rows(
    model: Any,
    context: Tensor,
    patches: int,
    future: Tensor | None,
    group_attention: GroupAttention,
    recorder: Recorder | None = None,
) -> Encoded:
    """Run the encoder on rows with ``future [R, N, P]``, NaN where unknown, and any form of attention within groups."""
    stream, mask = _tokens(model, context, patches, future)
    return _encode(model, stream, mask, patches, recorder or Recorder(None), group_attention)


def _encode(
    model: Any, stream: Tensor, mask: Tensor, patches: int, recorder: Recorder, group_attention: GroupAttention
) -> Encoded:
    encoder = model.encoder
    stream = encoder.dropout(stream)
    time_mask = encoder._expand_and_invert_time_attention_mask(mask, stream.dtype)
    positions = torch.arange(stream.shape[1], device=stream.device)[None]
    turn = encoder.block[0].layer[0].self_attention.rope_embed(stream, positions)
    routings: list[Routing] = []

    def one(block: Any, stream: Tensor, index: int) -> Tensor:
        time, group, feedforward = block.layer
        whole = index < len(encoder.block) - 1 or recorder.needs_all_tokens(index)
        kept = stream.shape[1] if whole else patches
        stream = _attend_in_time(time, stream, time_mask, turn, kept, recorder, index)
        present = mask[:, -stream.shape[1] :]
        stream = group_attention(group, stream, present)
        return _feed_forward(feedforward, stream, present, routings)

    for index, block in enumerate(encoder.block):
        stream = through(block, one, stream, index)
        recorder.record_state(index, stream)
    normed = encoder.dropout(encoder.final_layer_norm(stream[:, -patches:]))
    return Encoded(normed, mask, recorder, routings)


def _tokens(model: Any, context: Tensor, patches: int, future: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Embedded context, register and future tokens ``[R, T, D]`` and the mask ``[R, T]`` of tokens with a value."""
    patched, mask, loc_scale = model._prepare_patched_context(context=context)
    rows = context.shape[0]  # len would make the batch size a constant of an exported graph
    if future is not None:
        ahead = _patches_ahead(model, future, loc_scale)
    else:
        # without covariates the future tokens are the same for every window, unless dropout makes them differ
        per_row = model.training and model.config.dropout_rate > 0
        ahead, _ = model._prepare_patched_future(None, None, loc_scale, patches, rows if per_row else 1)
    tokens = [model.input_patch_embedding(patched)]
    if model.chronos_config.use_reg_token:
        tokens.append(model.shared.weight[model.config.reg_token_id].to(tokens[0].dtype).expand(rows, 1, -1))
    tokens.append(model.input_patch_embedding(ahead).expand(rows, -1, -1))
    stream = torch.cat(tokens, dim=1)
    return stream, torch.cat([mask, mask.new_ones(rows, stream.shape[1] - mask.shape[1])], dim=1)


def _patches_ahead(model: Any, future: Tensor, loc_scale: tuple[Tensor, Tensor]) -> Tensor:
    """Upstream's patches of times, values and masks ``[R, N, 3 · P]`` from values ahead ``[R, N, P]``.

    Without its check for NaN, which depends on the data, so that a graph cannot express it.
    """
    scaled, _ = model.instance_norm(future.flatten(1), loc_scale)
    scaled = scaled.to(model.dtype).view_as(future)
    known = scaled.isnan().logical_not()
    steps = torch.arange(future.shape[1] * future.shape[2], device=future.device, dtype=torch.float32)
    time = (steps / model.chronos_config.time_encoding_scale).to(model.dtype).view(1, *future.shape[1:])
    return torch.cat([time.expand_as(scaled), torch.where(known, scaled, 0.0), known.to(scaled.dtype)], dim=-1)


def _attend_in_time(
    layer: Any, stream: Tensor, mask: Tensor, turn: tuple[Tensor, Tensor], kept: int, recorder: Recorder, index: int
) -> Tensor:
    """Attention along time with rotary positions; like upstream's, it does not scale the scores.

    Returns the last ``kept`` tokens.
    """
    mha = layer.self_attention
    normed = _norm(layer, stream)

    def heads(projection: Any, x: Tensor) -> Tensor:
        return projection(x).unflatten(-1, (mha.n_heads, -1)).transpose(1, 2)

    queries = stream.shape[1] if recorder.needs_qkv(index) else kept
    query, key, value = heads(mha.q, normed[:, -queries:]), heads(mha.k, normed), heads(mha.v, normed)
    recorder.record_qkv(index, query, key, value)
    cosine, sine = turn
    query = _rotate(mha, query[:, :, -kept:], cosine[:, -kept:], sine[:, -kept:])
    key = _rotate(mha, key, cosine, sine)
    dropout = mha.dropout if mha.training else 0.0
    output = recorder.attend(index, query, key, value, mask, dropout_p=dropout, scale=1.0)
    return stream[:, -kept:] + layer.dropout(mha.o(output.transpose(1, 2).flatten(2)))


def attend_single(layer: Any, stream: Tensor) -> Tensor:
    """Group attention where every row is its own group, ``[R, T, D]``."""
    return stream + layer.dropout(layer.self_attention.o(attend_to_self(layer.self_attention, _norm(layer, stream))))


def _feed_forward(layer: Any, stream: Tensor, mask: Tensor, routings: list[Routing]) -> Tensor:
    """The stream ``[R, T, D]`` after a dense or sparse feed-forward layer; a router's decisions are added to the list.

    Tokens outside ``mask [R, T]`` do not count in the auxiliary losses.
    """
    normed = _norm(layer, stream)
    if isinstance(layer.mlp, SparseMLP):
        output, routing = layer.mlp.routed(normed)
        routings.append(replace(routing, counted=mask.flatten().bool()))
    else:
        output = layer.mlp(normed)
    stream = stream + layer.dropout(output)
    return _feed_forward(layer.inserted, stream, mask, routings) if isinstance(layer, ExtendedFeedForward) else stream


def _rotate(mha: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Upstream's rotary positions, applied to queries or keys only."""
    return x * cosine.to(x.dtype)[:, None] + mha.rope_embed.rotate_half(x) * sine.to(x.dtype)[:, None]


def _norm(layer: Any, stream: Tensor) -> Tensor:
    """A layer's norm in the stream's precision: torch's fused kernel, without a cast for each projection."""
    return rms_norm(stream, layer.layer_norm.weight, layer.layer_norm.variance_epsilon)
