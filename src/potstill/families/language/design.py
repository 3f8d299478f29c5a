"""The config of a language student: its architecture and sizes."""

from __future__ import annotations

import copy
from typing import Any

import torch

from potstill.errors import UserError
from potstill.families.base import Architecture
from potstill.families.language.layers import DEPTH_KEYS
from potstill.families.language.model import LANGUAGE_FAMILY, LanguageModel

SMALL_PRESET = "small"
SMALL_SIZES = {"n_layer": 6, "n_head": 8, "n_embd": 384}  # about 30 M parameters with a vocabulary of 50,000
MAX_PARAMETERS = 10**10
SPECIAL_TOKEN_KEYS = ("bos_token_id", "eos_token_id", "pad_token_id")
DROPOUT_KEYS = ("resid_pdrop", "embd_pdrop", "attn_pdrop", "attention_dropout", "hidden_dropout")
#: keys of a config that another part of the recipe, or the teacher, determines
FIXED_KEYS = {
    **dict.fromkeys(DROPOUT_KEYS, "training.dropout sets it"),
    **dict.fromkeys(("n_positions", "max_position_embeddings"), "data.max_length sets it"),
    **dict.fromkeys(SPECIAL_TOKEN_KEYS, "the teacher's tokenizer sets it"),
}


def design_language(
    teacher: LanguageModel, model_type: str | None, overrides: dict[str, Any], length: int
) -> Architecture:
    """Derive a student's config.

    Parameters
    ----------
    teacher
        The student gets its vocabulary and special tokens.
    model_type
        ``small``, or None without overrides: a GPT-2 of 6 layers, 8 heads and width 384. A transformers model type such
        as ``gpt2`` or ``llama``: that architecture. None with overrides: the teacher's architecture.
    overrides
        Keys of that architecture's config.
    length
        Longest example in tokens.

    Raises
    ------
    UserError
        For an unknown architecture or key, or sizes that do not fit.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    teacher_config = teacher.module.config
    if overrides.get("vocab_size", teacher.vocabulary) != teacher.vocabulary:
        raise UserError(
            f"--student: vocab_size={overrides['vocab_size']} differs from the {teacher.vocabulary:,} of the teacher"
            f" {teacher.source.name}, whose tokenizer the student uses; leave vocab_size out.",
            key="student.fixed_setting",
        )
    use_preset = model_type == SMALL_PRESET or (model_type is None and not overrides)
    if use_preset:
        model_type, overrides = "gpt2", {**SMALL_SIZES, **overrides}
    try:
        same_type = model_type is None or (model_type == teacher_config.model_type and not use_preset)
        config = copy.deepcopy(teacher_config) if same_type else AutoConfig.for_model(str(model_type))
    except ValueError:
        raise UserError(
            f"--student: {model_type!r} is neither small nor a model type of transformers; write for example"
            " gpt2:n_layer=6,n_embd=384.",
            key="student.unknown_architecture",
        ) from None
    for key in ("architectures", "dtype", "torch_dtype", "quantization_config", "_name_or_path"):
        if getattr(config, key, None) is not None:
            setattr(config, key, None)
    for key, value in overrides.items():
        if key in FIXED_KEYS:
            raise UserError(
                f"--student: {key} cannot be set here: {FIXED_KEYS[key]}; leave it out.", key="student.fixed_setting"
            )
        if type(value) is int and value < 1:
            raise UserError(
                f"--student: {key}={value}; expected a whole number of at least 1.", key="student.bad_value"
            )
        if not hasattr(config, key):
            raise UserError(
                f"--student: {key!r} is not a setting of {config.model_type}; see {type(config).__name__}.",
                key="student.unknown_setting",
            )
    try:
        for key, value in overrides.items():
            setattr(config, key, value)
        if overrides.keys() & set(DEPTH_KEYS) and getattr(config, "layer_types", None):
            config.layer_types = None  # a list with one entry per layer, which no longer fits
        _fit(config, teacher_config, teacher.vocabulary, length)
        config = type(config)(**config.to_dict())  # validates, and derives the sizes that depend on others
        with torch.device("meta"):
            count = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"--student: {config.model_type} cannot be built with these settings ({first}); change them.",
            key="student.cannot_be_built",
        ) from None
    if count > MAX_PARAMETERS:
        raise UserError(
            f"--student: {count:,} parameters; a student has at most {MAX_PARAMETERS:,}.", key="student.too_large"
        )
    return Architecture(LANGUAGE_FAMILY, config, count, kind=config.model_type)


def _fit(config: Any, teacher_config: Any, vocabulary: int, length: int) -> None:
    """Set the teacher's vocabulary and special tokens, and enough positions for the longest example."""
    config.vocab_size = vocabulary
    for key in SPECIAL_TOKEN_KEYS:
        setattr(config, key, getattr(teacher_config, key, None))
    config.max_position_embeddings = max(length, getattr(config, "max_position_embeddings", 0) or 0)
