"""A language student before it has weights: which architecture, how large, and what it takes from its teacher."""

from __future__ import annotations

import copy
from typing import Any

import torch

from potstill.errors import UserError
from potstill.families.base import Architecture, Source
from potstill.families.language.model import FAMILY, LanguageModel

SMALL = "small"
SMALL_SIZES = {"n_layer": 6, "n_head": 8, "n_embd": 384}  # about 30 M parameters with a vocabulary of 50,000
MOST_PARAMETERS = 10**10
SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")
DROPOUT = ("resid_pdrop", "embd_pdrop", "attn_pdrop", "attention_dropout", "hidden_dropout")
#: keys of a config that another part of the recipe, or the teacher, decides
DECIDED = {
    **dict.fromkeys(DROPOUT, "training.dropout decides it"),
    **dict.fromkeys(("n_positions", "max_position_embeddings"), "data.max_length decides it"),
    **dict.fromkeys(SPECIAL, "the teacher's tokenizer decides it"),
}
DEPTH = ("num_hidden_layers", "n_layer")


def design_language(teacher: LanguageModel, family: str | None, overrides: dict[str, Any], length: int) -> Architecture:
    """A student's config.

    Parameters
    ----------
    teacher
        Whose vocabulary and special tokens the student has.
    family
        ``small`` or None without overrides: a GPT-2 of 6 layers, 8 heads and width 384; a transformers model type such
        as ``gpt2`` or ``llama``; None with overrides: the teacher's own.
    overrides
        Keys of that architecture's own config.
    length
        Tokens that the student must read.

    Raises
    ------
    UserError
        For an unknown architecture or key, or sizes that do not fit.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    own = teacher.module.config
    if overrides.get("vocab_size", teacher.vocabulary) != teacher.vocabulary:
        raise UserError(
            f"--student: vocab_size={overrides['vocab_size']} is not the {teacher.vocabulary:,} of the teacher"
            f" {teacher.source.name}; a student shares its teacher's tokenizer: leave vocab_size out."
        )
    fresh = family == SMALL or (family is None and not overrides)
    if fresh:
        family, overrides = "gpt2", {**SMALL_SIZES, **overrides}
    try:
        own_kind = family is None or (family == own.model_type and not fresh)
        config = copy.deepcopy(own) if own_kind else AutoConfig.for_model(str(family))
    except ValueError:
        raise UserError(
            f"--student: {family!r} is neither small nor a model type of transformers; write for example"
            " gpt2:n_layer=6,n_embd=384."
        ) from None
    for key in ("architectures", "dtype", "torch_dtype", "quantization_config", "_name_or_path"):
        if getattr(config, key, None) is not None:
            setattr(config, key, None)
    for key, value in overrides.items():
        if key in DECIDED:
            raise UserError(f"--student: {key} cannot be set here: {DECIDED[key]}; leave it out.")
        if type(value) is int and value < 1:
            raise UserError(f"--student: {key}={value}; expected a whole number of at least 1.")
        if not hasattr(config, key):
            raise UserError(f"--student: {key!r} is no setting of {config.model_type}; see {type(config).__name__}.")
    try:
        for key, value in overrides.items():
            setattr(config, key, value)
        if overrides.keys() & set(DEPTH) and getattr(config, "layer_types", None):
            config.layer_types = None  # a list as long as the model is deep
        _fit(config, own, teacher.vocabulary, length)
        config = type(config)(**config.to_dict())  # validates, and derives what follows from sizes
        with torch.device("meta"):
            count = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    except Exception as error:
        raise UserError(f"--student: {config.model_type} cannot be built with these settings ({error}).") from None
    if count > MOST_PARAMETERS:
        raise UserError(f"--student: {count:,} parameters; a student has at most {MOST_PARAMETERS:,}.")
    return Architecture(FAMILY, config, count)


def build_language(architecture: Architecture, teacher: LanguageModel, dropout: float) -> LanguageModel:
    """Fresh weights by upstream's rule, with the teacher's tokenizer (seed torch before)."""
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(architecture.config)
    for key in DROPOUT:
        if hasattr(config, key):
            setattr(config, key, dropout)
    module = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for key in SPECIAL:  # an instruct model's end of turn often stands in its generation config alone
        setattr(module.generation_config, key, getattr(teacher.module.generation_config, key, None))
    return LanguageModel(module, copy.deepcopy(teacher.tokenizer), Source("student", "built here"))


def start_from(student: LanguageModel, teacher: LanguageModel) -> list[str]:
    """Embeddings, and evenly spaced layers where student and teacher are of one architecture; all where shapes agree.

    Raises
    ------
    UserError
        Where nothing agrees.
    """
    from potstill.transfer.layers import copy_layers

    if type(student.module) is type(teacher.module):
        return copy_layers(student.module, teacher.module, _blocks(student))
    own, theirs = (model.module.get_input_embeddings().weight for model in (student, teacher))
    if own.shape != theirs.shape:
        raise UserError(
            f"student.start: the teacher's embeddings are {tuple(theirs.shape)}, the student's {tuple(own.shape)}, and"
            " its layers are another architecture's; choose the same width, or write start: random."
        )
    with torch.no_grad():
        own.copy_(theirs)
    return [f"the embeddings {tuple(own.shape)} start from the teacher, the rest fresh: another architecture's"]


def _blocks(model: LanguageModel) -> str:
    """Dotted name of the list of layers: the module list as long as the model is deep."""
    config = model.module.config.get_text_config()
    depth = next(getattr(config, key) for key in DEPTH if hasattr(config, key))
    for name, part in model.module.named_modules():
        if isinstance(part, torch.nn.ModuleList) and len(part) == depth:
            return name
    raise UserError(f"student.start: no list of {depth} layers in {type(model.module).__name__}; write start: random.")


def _fit(config: Any, own: Any, vocabulary: int, length: int) -> None:
    """The teacher's vocabulary and special tokens, and room for the longest example."""
    config.vocab_size = vocabulary
    for key in SPECIAL:
        setattr(config, key, getattr(own, key, None))
    config.max_position_embeddings = max(length, getattr(config, "max_position_embeddings", 0) or 0)
