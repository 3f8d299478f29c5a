"""The family of causal language models: load with ``AutoModelForCausalLM``, and design a student from its teacher."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from potstill.errors import UserError
from potstill.families.base import Architecture, Family, Model, ModelSource
from potstill.families.checkpoint import GGUF, is_causal
from potstill.families.language.anatomy import anatomy, obstacle, with_own_output_layer
from potstill.families.language.design import DROPOUT_KEYS, SPECIAL_TOKEN_KEYS, design_language
from potstill.families.language.layers import blocks_of
from potstill.families.language.model import LANGUAGE_FAMILY, LanguageModel
from potstill.transfer.anatomy import Anatomy
from potstill.transfer.layers import copy_layers

MODEL_TYPE_KEY = "model_type"


class LanguageFamily(Family[LanguageModel]):
    """Loads, designs and builds the causal language models of transformers."""

    name = LANGUAGE_FAMILY
    task = "language"
    library = "transformers"
    gkd = True

    def recognises(self, config: dict[str, Any]) -> bool:
        """Recognises every model that transformers can run as a causal language model."""
        return is_causal(config)

    def load(self, folder: str, source: ModelSource, **hub_options: Any) -> LanguageModel:
        """Load with ``AutoModelForCausalLM``, from safetensors or from the GGUF file that ``gguf_file`` names.

        Raises
        ------
        UserError
            If transformers cannot load the model or the tokenizer.
        """
        try:
            module, tokenizer = _load_pretrained(folder, hub_options)
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            offline = (
                " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") and not Path(folder).is_dir() else ""
            )
            raise UserError(
                f"{source.location}: cannot be loaded as a causal language model{offline} ({first}); check the id and"
                " the network, or give a folder with config.json, model.safetensors and the tokenizer's files.",
                key="model.cannot_load",
            ) from error
        licence = source.licence or _gguf_licence(Path(folder) / hub_options.get(GGUF, ""))
        return LanguageModel(module, tokenizer, replace(source, licence=licence))

    def design(self, teacher: Model | None, overrides: dict[str, Any], context: int, horizon: int) -> Architecture:
        """See ``design_language``; the override ``model_type`` is ``small`` or a model type of transformers.

        Raises
        ------
        UserError
            Without a teacher, because the student needs its tokenizer; for an unknown architecture or key, or sizes
            that do not fit.
        """
        sizes = {key: value for key, value in overrides.items() if key != MODEL_TYPE_KEY}
        return design_language(_teacher(teacher), overrides.get(MODEL_TYPE_KEY), sizes, context)

    def build(self, architecture: Architecture, dropout: float, teacher: Model | None = None) -> LanguageModel:
        """Build with fresh weights by upstream's rule and the teacher's tokenizer (seed torch first)."""
        from transformers import AutoModelForCausalLM

        shared = _teacher(teacher)
        config = copy.deepcopy(architecture.config)
        for key in DROPOUT_KEYS:
            if hasattr(config, key):
                setattr(config, key, dropout)
        module = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for key in SPECIAL_TOKEN_KEYS:  # an instruct model's end-of-turn token is often only in its generation config
            setattr(module.generation_config, key, getattr(shared.module.generation_config, key, None))
        return LanguageModel(module, copy.deepcopy(shared.tokenizer), ModelSource("student", "built here"))

    def obstacle(self, architecture: Architecture, teacher: Model) -> str | None:
        """None if the student is a GPT-2 or of Llama's kind like its teacher, with heads as wide and no size larger."""
        return obstacle(architecture.config, _teacher(teacher).module.config)

    def matched(self, teacher: Model, architecture: Architecture) -> nn.Module:
        """The teacher, with an output layer of its own if the student's is not tied to its embeddings."""
        module = _teacher(teacher).module
        tied = module.config.tie_word_embeddings and not architecture.config.tie_word_embeddings
        return with_own_output_layer(module) if tied else module

    def anatomy(self, module: Any) -> Anatomy:
        """See :func:`potstill.families.language.anatomy.anatomy`."""
        return anatomy(module)

    def copy_from(self, student: LanguageModel, teacher: Model) -> list[str]:
        """Copy embeddings and, if the architectures are the same, evenly spaced layers, where the shapes match.

        Raises
        ------
        UserError
            If the architectures differ and so do the embeddings' shapes.
        """
        if type(student.module) is type(teacher.module):
            name, _ = blocks_of(student.module)
            if not name:
                raise UserError(
                    f"student.start: {type(student.module).__name__} has no list of layers; write start: random.",
                    key="student.start_unsupported",
                )
            return copy_layers(student.module, teacher.module, name)
        embeddings, teachers = (model.module.get_input_embeddings().weight for model in (student, _teacher(teacher)))
        if embeddings.shape != teachers.shape:
            raise UserError(
                f"student.start: the teacher's embeddings are {tuple(teachers.shape)}, the student's"
                f" {tuple(embeddings.shape)}, and the architectures differ; choose the same width, or write"
                " start: random.",
                key="student.start_mismatch",
            )
        with torch.no_grad():
            embeddings.copy_(teachers)
        return [f"the embeddings {tuple(embeddings.shape)} start from the teacher; all other weights are fresh"]


def _teacher(teacher: Model | None) -> LanguageModel:
    if isinstance(teacher, LanguageModel):
        return teacher
    reason = "none was given" if teacher is None else f"{teacher.source.name} is a forecaster"
    raise UserError(
        f"--teacher: a language student needs a language model as its teacher, for its tokenizer, but {reason};"
        " give one.",
        key="student.needs_language_teacher",
    )


def _load_pretrained(folder: str, options: dict[str, Any]) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = {} if GGUF in options else {"use_safetensors": True}
    module: Any = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False, **weights, **options)
    if GGUF in options:  # the weights are dequantised, but transformers would still refuse to save them
        module.hf_quantizer, module.is_quantized = None, False
        if hasattr(module.config, "quantization_config"):
            del module.config.quantization_config
    tokenizer_options = {key: value for key, value in options.items() if key != "dtype"}
    return module, AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **tokenizer_options)


def _gguf_licence(path: Path) -> str | None:
    """The licence that a GGUF file on disk states; None if it states none."""
    if not path.is_file():
        return None
    from gguf import GGUFReader

    try:
        field = GGUFReader(path).get_field("general.license")
    except (ValueError, IndexError, OSError):
        return None
    return None if field is None else str(field.contents())
