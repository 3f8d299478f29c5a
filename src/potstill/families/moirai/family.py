"""The Moirai family (Salesforce, arXiv:2402.02592), with uni2ts: Moirai 1.0 and 1.1, Moirai-MoE and Moirai-2.

uni2ts is imported only when a model is loaded or built, because it is optional and slow to import.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn

from potstill.errors import UserError
from potstill.families.base import Architecture, Family, Graph, Model, ModelSource
from potstill.families.moirai.anatomy import anatomy, obstacle, with_one_patch
from potstill.families.moirai.checkpoint import download, kind_of, open_module, uni2ts_module, with_licence
from potstill.families.moirai.decoder_model import MoiraiDecoderForecaster
from potstill.families.moirai.design import MoiraiArchitecture, count, design_student
from potstill.families.moirai.encoder_model import AUTO_PATCH, MoiraiForecaster, default_patch
from potstill.families.moirai.graph import graph_of
from potstill.families.moirai.model import POTSTILL_KEY, MoiraiModel
from potstill.transfer.anatomy import Anatomy
from potstill.transfer.layers import copy_layers


class MoiraiFamily(Family[MoiraiModel]):
    """Loads all kinds of Moirai; designs and builds students of the Moirai 1 architecture."""

    name = "moirai"
    library = "uni2ts"

    def recognises(self, config: dict[str, Any]) -> bool:
        """Recognised by the settings that ``save_pretrained`` writes, because uni2ts's configs name no architecture."""
        return kind_of(config) is not None

    def load(self, folder: str, source: ModelSource, **hub_options: Any) -> MoiraiModel:
        """Load with uni2ts's ``from_pretrained``, from safetensors only; configs may use only known distributions."""
        local = download(folder, hub_options.get("revision"))
        config = json.loads((local / "config.json").read_text(encoding="utf-8"))
        kind, module = open_module(local, config, source)
        if hub_options.get("dtype") == torch.bfloat16:
            if kind != "moirai":
                raise UserError(
                    f"{source.location}: only Moirai 1.0 and 1.1 support precision bf16; write precision: fp32.",
                    key="model.precision_unsupported",
                )
            module.encoder.to(torch.bfloat16)  # scaling and distribution need the 24-bit mantissa of fp32
        forecaster = MoiraiForecaster if kind == "moirai" else MoiraiDecoderForecaster
        return forecaster(module, with_licence(source), config)

    def graph(self, model: MoiraiModel) -> Graph:
        """See :func:`potstill.families.moirai.graph.graph_of`."""
        return graph_of(model)

    def design(self, teacher: Model | None, overrides: dict[str, Any], context: int, horizon: int) -> Architecture:
        """Derive the sizes from the overrides; without any, at most a third of a Moirai teacher's parameters.

        With another teacher or none, the default sizes are used.

        Raises
        ------
        UserError
            For a key or value that a ``MoiraiModule`` cannot be built with.
        """
        uni2ts_module("uni2ts.model.moirai")
        teacher_sizes: dict[str, Any] = {}
        if isinstance(teacher, MoiraiForecaster):
            module = teacher.module
            teacher_sizes = {key: getattr(module, key) for key in ("d_model", "num_layers", "max_seq_len")}
            automatic = teacher.patch_size == AUTO_PATCH
            teacher_sizes["patch"] = default_patch(module.patch_sizes) if automatic else teacher.patch_size
        budget = teacher.parameters // 3 if isinstance(teacher, MoiraiForecaster) else None
        config = design_student(teacher_sizes, budget, overrides, context, horizon)
        return Architecture(self.name, config, count(config))

    def build(self, architecture: Architecture, dropout: float, teacher: Model | None = None) -> MoiraiForecaster:
        """Build with fresh weights by uni2ts's rule, which its layers apply in their constructors."""
        sizes: MoiraiArchitecture = architecture.config
        module = sizes.module(dropout)
        lengths = {"context_length": sizes.context_length, "prediction_length": sizes.prediction_length}
        config = {**module._hub_mixin_config, POTSTILL_KEY: {**lengths, "patch_size": sizes.patch}}
        return MoiraiForecaster(module, ModelSource("student", "built here"), config)

    def obstacle(self, architecture: Architecture, teacher: Model) -> str | None:
        """None if the teacher is a Moirai 1.0 or 1.1 with the student's patch size, head width and distributions."""
        if not isinstance(teacher, MoiraiForecaster):
            return f"the teacher is not a Moirai 1.0 or 1.1 ({teacher.source.name})"
        return obstacle(architecture.config, teacher.module)

    def matched(self, teacher: Model, architecture: Architecture) -> nn.Module:
        """A copy of the teacher with the student's one patch size and its distributions."""
        return with_one_patch(teacher.module, architecture.config)

    def anatomy(self, module: Any) -> Anatomy:
        """See :func:`potstill.families.moirai.anatomy.anatomy`."""
        return anatomy(module)

    def copy_from(self, student: MoiraiModel, teacher: Model) -> list[str]:
        """Copy the mask's embedding and evenly spaced layers whose shapes match."""
        if not isinstance(teacher, MoiraiForecaster):
            raise UserError(
                "student.start: a Moirai can start only from the weights of a Moirai 1.0 or 1.1; write start: random.",
                key="student.start_mismatch",
            )
        return copy_layers(student.module, teacher.module, blocks="encoder.layers")
