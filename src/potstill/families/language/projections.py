"""Where a language model's attention computes queries, keys and values, and how its outputs are split into heads.

Two layouts of transformers are known: separate ``q_proj``, ``k_proj``, ``v_proj`` (Llama and most others), where groups
of query heads may share a key and a value head; and one fused ``c_attn`` (GPT-2).

Shapes: B examples, T tokens, A heads, W width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from potstill.types import Qkv

SEPARATE = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}
FUSED = "c_attn"


@dataclass(frozen=True)
class Projections:
    """The projections of one attention layer.

    Attributes
    ----------
    modules
        One module each for ``query``, ``key`` and ``value``, or one for all three (``c_attn``).
    heads_of_keys
        Number of key heads, and of value heads: the query heads, or a divisor of that number.
    head_width
        Width W of a head.
    """

    modules: Mapping[str, nn.Module]
    heads_of_keys: int
    head_width: int

    def heads(self, outputs: Mapping[str, Tensor]) -> Qkv:
        """Queries, keys and values ``[B, A, T, W]`` from the modules' outputs; shared heads are repeated."""
        parts = outputs[FUSED].chunk(3, dim=-1) if FUSED in outputs else [outputs[name] for name in SEPARATE]
        query, key, value = (part.unflatten(-1, (-1, self.head_width)).transpose(1, 2) for part in parts)
        shared = query.shape[1] // self.heads_of_keys
        if shared > 1:
            key, value = (part.repeat_interleave(shared, dim=1) for part in (key, value))
        return Qkv(query, key, value)


def projections_of(attention: nn.Module | None, config: Any) -> Projections | None:
    """The projections of an attention layer; None if their layout is not known."""
    config = config.get_text_config()
    count, width = getattr(config, "num_attention_heads", 0), getattr(config, "hidden_size", 0)
    if attention is None or not count:
        return None
    head_width = getattr(config, "head_dim", None) or width // count
    fused = getattr(attention, FUSED, None)
    # other models have a linear layer of this name, with the heads in another order
    if isinstance(fused, Conv1D) and fused.nf == 3 * count * head_width:
        return Projections({FUSED: fused}, count, head_width)
    modules = {key: module for key, name in SEPARATE.items() if (module := getattr(attention, name, None)) is not None}
    widths = [getattr(module, "out_features", 0) for module in modules.values()]
    heads_of_keys = widths[1] // head_width if len(widths) == 3 else 0
    if not heads_of_keys or count % heads_of_keys:
        return None
    if widths != [head_width * heads for heads in (count, heads_of_keys, heads_of_keys)]:
        return None
    return Projections(modules, heads_of_keys, head_width)
