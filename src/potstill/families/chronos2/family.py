"""The Chronos-2 family: load a checkpoint, and design, build and initialise a student."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from chronos.chronos2 import Chronos2Model
from chronos.chronos2.config import Chronos2CoreConfig
from torch import nn

from potstill.errors import UserError
from potstill.families.base import Architecture, Family, Graph, Model, ModelSource, evaluating
from potstill.families.checkpoint import config_of
from potstill.families.chronos2.anatomy import anatomy, obstacle
from potstill.families.chronos2.design import count_parameters, dense_config_of
from potstill.families.chronos2.experts import KEYS, ExpertSettings
from potstill.families.chronos2.graph import graph_of
from potstill.families.chronos2.model import SPREAD_KEY, Chronos2Forecaster, active_parameters
from potstill.families.chronos2.sparse import build_module, dense_config, fill_from_dense, module_class
from potstill.families.sparse import centre_routers
from potstill.transfer.anatomy import Anatomy
from potstill.transfer.layers import copy_layers
from potstill.types import Request, Windows


class Chronos2Family(Family[Chronos2Forecaster]):
    """Loads, designs and builds Chronos-2 models."""

    name = "chronos2"
    library = "chronos-forecasting"
    bf16 = True  # twice as fast, and labels move by 0.005 of the context's scale
    gkd = True
    presets: ClassVar = {"3x384": {"num_layers": 3, "d_model": 384, "d_ff": 1536, "num_heads": 6, "d_kv": 64}}

    def recognises(self, config: dict[str, Any]) -> bool:
        """Recognised by the architecture name, or by keys that only Chronos-2's config has."""
        chronos = config.get("chronos_config")
        named = config.get("architectures")
        return named in (["Chronos2Model"], ["SparseChronos2Model"]) or (
            not named and isinstance(chronos, dict) and "input_patch_stride" in chronos
        )

    def load(self, folder: str, source: ModelSource, **hub_options: Any) -> Chronos2Forecaster:
        """Load with ``Chronos2Model.from_pretrained``, from safetensors only.

        Raises
        ------
        UserError
            If weights are missing from the checkpoint or their shapes differ from its config.json.
        """
        kind = module_class(Chronos2CoreConfig.from_dict(config_of(folder, hub_options.get("revision"))))
        loaded: Any = kind.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **hub_options
        )
        module, report = loaded
        # transformers would use random weights in both cases
        for what, names in (
            ("lacks", sorted(report["missing_keys"])),
            ("has other shapes than its config.json for", sorted(key[0] for key in report["mismatched_keys"])),
        ):
            if names:
                raise UserError(
                    f"{folder}: the checkpoint {what} {len(names)} of the model's weights, for example {names[0]};"
                    " download or create it again.",
                    key="model.weights_mismatch",
                )
        return Chronos2Forecaster(module, source)

    def design(self, teacher: Model | None, overrides: dict[str, Any], context: int, horizon: int) -> Architecture:
        """Derive the config from the overrides; omitted sizes follow (d_ff 4 · d_model, heads d_model / d_kv).

        An omitted d_kv is that of a Chronos-2 teacher, else 64. Without any size, the student is the teacher made
        narrower to ``DEFAULT_SHARE`` of its parameters. Without a Chronos-2 teacher it has 2 layers of width 128.
        ``experts`` and the other keys of :class:`ExpertSettings` give it sparse layers; it is sized without them.

        Raises
        ------
        UserError
            For a key that Chronos-2 does not have, or a value that it cannot be built with.
        """
        config = dense_config_of(teacher, {k: v for k, v in overrides.items() if k not in KEYS}, context, horizon)
        sparse = {key: overrides[key] for key in KEYS if key in overrides}
        return self._sparse(config, sparse) if sparse else Architecture(self.name, config, count_parameters(config))

    def build(self, architecture: Architecture, dropout: float, teacher: Model | None = None) -> Chronos2Forecaster:
        """Build with fresh weights by upstream's rule, which transformers 5 skips: see :func:`initialise`."""
        config = copy.deepcopy(architecture.config)
        config.dropout_rate = dropout
        module = build_module(config)
        initialise(module)
        return Chronos2Forecaster(module, ModelSource("student", "built here"))

    def copy_from(self, student: Chronos2Forecaster, teacher: Model) -> list[str]:
        """Copy embeddings, heads and evenly spaced layers whose shapes match; a dense teacher's into each expert."""
        if teacher.auxiliary:
            return copy_layers(student.module, teacher.module, blocks="encoder.block")
        with self.dense(student) as module:
            return copy_layers(module, teacher.module, blocks="encoder.block")

    @contextmanager
    def dense(self, student: Chronos2Forecaster) -> Iterator[nn.Module]:
        """The student's module; of a sparse student a dense one with fresh weights, see :func:`fill_from_dense`."""
        if not student.auxiliary:
            yield student.module
            return
        with student.device:
            module = Chronos2Model(dense_config(student.module.config))
        initialise(module)
        yield module
        fill_from_dense(student.module, module)

    def balance_experts(self, student: Chronos2Forecaster, batches: Sequence[Windows]) -> None:
        """See :func:`centre_routers`; not for a dense student."""

        def run(windows: Windows) -> None:
            student.forward(windows.to(student.device), Request(min(windows.future.shape[1], student.max_horizon)))

        if student.auxiliary:
            with evaluating(student.module):
                centre_routers(student.module, run, batches)

    def grown(self, student: Chronos2Forecaster, experts: Mapping[str, Any]) -> Architecture:
        """The student's sizes with sparse layers."""
        if student.auxiliary:
            raise UserError(
                f"{student.source.name}: has sparse layers already; name a student without them.",
                key="grow.already_sparse",
            )
        settings = zip(KEYS, (experts.get(key) for key in ("experts", "top_k", "layers", "insert")), strict=True)
        config = copy.deepcopy(student.module.config)
        if hasattr(config, SPREAD_KEY):
            delattr(config, SPREAD_KEY)  # the weights contain the factor; the grown model is calibrated again
        return self._sparse(config, dict(settings))

    def _sparse(self, config: Chronos2CoreConfig, values: dict[str, Any]) -> Architecture:
        """A dense config with the experts that the values by key of the config ask for."""
        settings = ExpertSettings.checked(values, config.num_layers)
        config = copy.deepcopy(config)
        config.update(settings.as_keys())
        total, kind = count_parameters(config), f"{self.name} ({settings})"
        with torch.device("meta"):
            active = active_parameters(build_module(config))
        return Architecture(self.name, config, total, kind, active, library="potstill")

    def obstacle(self, architecture: Architecture, teacher: Model) -> str | None:
        """None if the teacher is a Chronos-2 with the same patches, levels and head width, and no smaller size."""
        if not isinstance(teacher, Chronos2Forecaster):
            return f"the teacher is not a Chronos-2 ({teacher.family})"
        if teacher.auxiliary:
            return "the teacher has sparse layers, which cannot be cut"
        return obstacle(architecture.config, teacher.module.config)

    def graph(self, model: Chronos2Forecaster) -> Graph:
        """See :func:`potstill.families.chronos2.graph.graph_of`."""
        return graph_of(model)

    def group_graph(self, model: Chronos2Forecaster) -> Graph:
        """See :func:`potstill.families.chronos2.graph.graph_of`."""
        return graph_of(model, groups=True)

    def anatomy(self, module: Any) -> Anatomy:
        """See :func:`potstill.families.chronos2.anatomy.anatomy`."""
        return anatomy(module)


def initialise(model: Chronos2Model) -> None:
    """Apply upstream's initialisation rule to every weight.

    transformers 5 applies its generic rule to the leaf modules first and marks their weights as initialised. The rule
    of Chronos-2 for the modules above them is then skipped, and every matrix gets std ``initializer_factor``. This
    function removes the marks and applies the rule again, leaf modules first, as upstream's chronos2/model.py does.
    """

    def initialise_again(module: nn.Module) -> None:
        for parameter in module.parameters():
            vars(parameter).pop("_is_hf_initialized", None)
        model._init_weights(module)

    with torch.no_grad():
        model.apply(initialise_again)
