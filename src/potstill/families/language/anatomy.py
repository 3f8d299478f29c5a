"""What the weights of a causal language model mean, for cutting it to a smaller one: GPT-2 and Llama's kind.

Shapes: B examples, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from potstill.transfer.anatomy import Anatomy, Axis, Chosen, Fixed, Leading, OutputLayer, Reads, Units, Writes
from potstill.types import Tokens

MAX_POSITIONS = 256  # of a batch whose probabilities are computed: each is as long as the vocabulary
#: for each model type, the sizes that a student may reduce
GPT2_SIZES = ("n_layer", "n_embd", "n_head", "n_inner", "n_positions")
LLAMA_SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size")
SIZES = {"gpt2": GPT2_SIZES, **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), LLAMA_SIZES)}
#: settings that must be equal, where a config has them
EQUAL_KEYS = (
    "activation_function",
    "attention_bias",
    "hidden_act",
    "head_dim",
    "mlp_bias",
    "rope_parameters",
    "scale_attn_weights",
    "vocab_size",
)


def anatomy(module: Any) -> Anatomy:
    """Describe a model of a type in ``SIZES``."""
    describe: Callable[[Any], Anatomy] = _gpt2 if module.config.model_type == "gpt2" else _llama
    return describe(module)


def obstacle(student: Any, teacher: Any) -> str | None:
    """Why a student with this config cannot have the weights of a model with the teacher's; None if it can."""
    kind = teacher.model_type
    if student.model_type != kind:
        return f"the teacher's architecture is {kind}, the student's {student.model_type}"
    if kind not in SIZES:
        return f"{kind} models do not describe their weights ({', '.join(SIZES)} do)"
    if kind == "gpt2" and (teacher.add_cross_attention or teacher.scale_attn_by_inverse_layer_idx):
        return "the teacher has cross-attention, or attention that depends on the layer's number"
    own, its = _sizes(student), _sizes(teacher)
    for key in SIZES[kind]:
        if own[key] > its[key]:
            return f"{key}={own[key]} is larger than the teacher's {its[key]}"
    width, wide = own["head width"], its["head width"]
    if width > wide or (width != wide and kind != "gpt2"):  # rotary positions tie a head to its width
        return f"its heads are {width} wide, the teacher's {wide}"
    per_key, its_per_key = own["query heads per key head"], its["query heads per key head"]
    if per_key != its_per_key:
        return f"{per_key} of its query heads share a key head, in the teacher {its_per_key}"
    for key in EQUAL_KEYS:
        if getattr(student, key, None) != getattr(teacher, key, None):
            return f"{key}={getattr(student, key, None)!r} differs from the teacher's {getattr(teacher, key, None)!r}"
    if student.tie_word_embeddings and not teacher.tie_word_embeddings:
        return "it ties its embeddings and its output layer, the teacher does not (tie_word_embeddings=false)"
    return None


def with_own_output_layer(teacher: Any) -> nn.Module:
    """A copy of a model whose output layer is a matrix of its own, equal to the embeddings that it was tied to."""
    untied = copy.deepcopy(teacher)
    untied.config.tie_word_embeddings = False
    untied.lm_head.weight = nn.Parameter(teacher.lm_head.weight.detach().clone())
    return untied


def _sizes(config: Any) -> dict[str, Any]:
    if config.model_type == "gpt2":
        sizes = {key: getattr(config, key) for key in GPT2_SIZES}
        sizes["n_inner"] = config.n_inner or 4 * config.n_embd
        return {**sizes, "head width": config.n_embd // config.n_head, "query heads per key head": 1}
    sizes = {key: getattr(config, key) for key in LLAMA_SIZES}
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_key = config.num_attention_heads // config.num_key_value_heads
    return {**sizes, "head width": width, "query heads per key head": per_key}


def _gpt2(module: Any) -> Anatomy:
    """GPT-2: LayerNorms, learned positions, queries, keys and values in one matrix; matrices are ``[in, out]``."""
    sizes = _sizes(module.config)
    axes: dict[str, tuple[Axis, ...]] = {
        "transformer.wte.weight": (Fixed(), Writes()),
        "transformer.wpe.weight": (Leading(), Writes()),
    }
    norms, units = ["transformer.ln_f"], {}
    for block in range(len(module.transformer.h)):
        at = f"transformer.h.{block}"
        attention, feedforward = f"{at}.attn", f"{at}.mlp"
        norms += [f"{at}.ln_1", f"{at}.ln_2"]
        units[attention] = Units(
            "heads", sizes["n_head"], f"{attention}.c_proj", sizes["head width"], inputs=f"{attention}.c_attn"
        )
        units[feedforward] = Units("neurons", sizes["n_inner"], f"{feedforward}.c_proj")
        three = Chosen(attention, sizes["head width"], parts=3)
        axes[f"{attention}.c_attn.weight"] = (Reads(f"{at}.ln_1", f"{attention}.c_attn.bias"), three)
        axes[f"{attention}.c_attn.bias"] = (three,)
        axes[f"{attention}.c_proj.weight"] = (Chosen(attention, sizes["head width"]), Writes())
        axes[f"{feedforward}.c_fc.weight"] = (Reads(f"{at}.ln_2", f"{feedforward}.c_fc.bias"), Chosen(feedforward))
        axes[f"{feedforward}.c_fc.bias"] = (Chosen(feedforward),)
        axes[f"{feedforward}.c_proj.weight"] = (Chosen(feedforward), Writes())
        for part in (attention, feedforward):
            axes[f"{part}.c_proj.bias"] = (Writes(),)
    embeddings = "transformer.wte.weight"
    return _finished(module, axes, units, norms, "transformer.h", embeddings, width=sizes["n_embd"], centred=True)


def _llama(module: Any) -> Anatomy:
    """Llama's kind: RMS norms, rotary positions, gated feed-forward networks; query heads may share a key head.

    Heads that share keys and values are one unit. Norms of queries and keys (Qwen 3) act within a head.
    """
    sizes, fixed = _sizes(module.config), Fixed()
    axes: dict[str, tuple[Axis, ...]] = {"model.embed_tokens.weight": (fixed, Writes())}
    norms, units = ["model.norm"], {}
    present = dict(module.named_parameters())
    for block in range(len(module.model.layers)):
        at = f"model.layers.{block}"
        attention, feedforward = f"{at}.self_attn", f"{at}.mlp"
        norm1, norm2 = f"{at}.input_layernorm", f"{at}.post_attention_layernorm"
        norms += [norm1, norm2]
        units[attention] = Units("heads", sizes["num_key_value_heads"], f"{attention}.o_proj")
        units[feedforward] = Units("neurons", sizes["intermediate_size"], f"{feedforward}.down_proj")
        key_heads = Chosen(attention, sizes["head width"])
        query_heads = Chosen(attention, sizes["head width"] * sizes["query heads per key head"])
        for name, heads in (("q_proj", query_heads), ("k_proj", key_heads), ("v_proj", key_heads)):
            axes[f"{attention}.{name}.weight"] = (heads, Reads(norm1))
            axes[f"{attention}.{name}.bias"] = (heads,)
        for name in ("q_norm", "k_norm"):
            axes[f"{attention}.{name}.weight"] = (fixed,)
        axes[f"{attention}.o_proj.weight"] = (Writes(), query_heads)
        axes[f"{attention}.o_proj.bias"] = (Writes(),)
        for name in ("gate_proj", "up_proj"):
            axes[f"{feedforward}.{name}.weight"] = (Chosen(feedforward), Reads(norm2))
            axes[f"{feedforward}.{name}.bias"] = (Chosen(feedforward),)
        axes[f"{feedforward}.down_proj.weight"] = (Writes(), Chosen(feedforward))
        axes[f"{feedforward}.down_proj.bias"] = (Writes(),)
    axes = {name: axis for name, axis in axes.items() if name in present}
    embeddings = "model.embed_tokens.weight"
    return _finished(module, axes, units, norms, "model.layers", embeddings, width=sizes["hidden_size"], centred=False)


def _finished(
    module: Any,
    axes: dict[str, tuple[Axis, ...]],
    units: dict[str, Units],
    norms: list[str],
    blocks: str,
    embeddings: str,
    width: int,
    centred: bool,
) -> Anatomy:
    """The anatomy with the output layer, tied to the embeddings or not."""
    tied = module.lm_head.weight is module.get_input_embeddings().weight
    if not tied:
        axes["lm_head.weight"] = (Fixed(), Reads(norms[0]))
    output_layer = OutputLayer(embeddings if tied else "lm_head.weight", norms[0], tied)

    def run(tokens: Tokens) -> Tensor:
        return outputs(module, tokens)

    return Anatomy(width, blocks, tuple(norms), axes, units, run, centred, output_layer, _real)


def _real(tokens: Tokens) -> Tensor:
    """``[B, T]`` bool: texts differ in length, and half of a batch can be padding."""
    return tokens.attention


def outputs(module: Any, tokens: Tokens) -> Tensor:
    """``[N, V]``: probabilities of the next token before evenly spaced answer tokens, at most ``MAX_POSITIONS``."""
    states = module.base_model(input_ids=tokens.input_ids, attention_mask=tokens.attention.long(), use_cache=False)
    before = states.last_hidden_state[:, :-1][tokens.answer[:, 1:]]
    before = before[:: max(1, -(-len(before) // MAX_POSITIONS))]
    return module.lm_head(before).softmax(dim=-1, dtype=torch.float32)
