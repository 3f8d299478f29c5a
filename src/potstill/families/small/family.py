"""How all small students are recognised, loaded, designed and built."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch

from potstill.errors import UserError
from potstill.families.base import Architecture, Family, Graph, Model, ModelSource, check_levels
from potstill.families.small.base import SmallStudentConfig, SmallStudentForecaster, SmallStudentModel
from potstill.families.small.graph import graph_of

MAX_SIZE = 16_384
MAX_SIZES = {"num_layers": 128}  # lower limits of particular sizes


class SmallStudentFamily(Family[SmallStudentForecaster]):
    """A family of small students; a subclass sets its config, its model and the sizes that a user may choose."""

    config: ClassVar[type[SmallStudentConfig]]
    model: ClassVar[type[SmallStudentModel]]
    #: whole numbers that ``--student`` may set
    sizes: ClassVar[tuple[str, ...]]

    def check(self, config: Any, where: str) -> None:
        """Raise UserError if the sizes do not fit together; ``where`` says where they are from."""

    def recognises(self, config: dict[str, Any]) -> bool:
        """Recognised by the model type or by the architecture's name."""
        named = config.get("architectures") == [self.model.__name__]
        return named or config.get("model_type") == self.config.model_type

    def load(self, folder: str, source: ModelSource, **hub_options: Any) -> SmallStudentForecaster:
        """Load with the model's ``from_pretrained``, from safetensors only.

        Raises
        ------
        UserError
            If a weight is missing, unknown or has another shape than in config.json.
        """
        loaded: Any = self.model.from_pretrained(
            folder,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **hub_options,
        )
        module, report = loaded
        # transformers would use random weights in the first two cases and ignore the third
        wrong = sorted(
            [*report["missing_keys"], *(key[0] for key in report["mismatched_keys"]), *report["unexpected_keys"]]
        )
        if wrong:
            raise UserError(
                f"{folder}: {len(wrong)} of the weights are missing, unknown or have another shape than in config.json,"
                f" for example {wrong[0]}; download or create the checkpoint again.",
                key="model.weights_mismatch",
            )
        self._check_config(module.config, f"{folder}/config.json")
        return SmallStudentForecaster(self.name, module.eval(), source)

    def _check_config(self, config: Any, where: str) -> None:
        """Check what shapes of weights do not show. Raises UserError."""
        for key in self.sizes:
            _check_size(key, getattr(config, key), where)
        check_levels("levels", config.levels, where)
        self.check(config, where)
        spread = config.spread
        if type(spread) not in (int, float) or not 0 < spread < float("inf"):
            raise UserError(f"{where}: spread={spread!r}; expected a number above 0.", key="student.bad_value")

    def design(self, teacher: Model | None, overrides: dict[str, Any], context: int, horizon: int) -> Architecture:
        """Derive the config from the overrides and the family's default sizes; the teacher does not matter.

        Raises
        ------
        UserError
            For a setting that the family does not have, or a value that it cannot be built with.
        """
        known = [*self.sizes, "levels"]
        for key, value in overrides.items():
            if key not in known:
                raise UserError(
                    f"--student: {key!r} is not a setting of {self.name}; known: {', '.join(known)}.",
                    key="student.unknown_setting",
                )
            if key == "levels":
                check_levels(key, value, "--student")
            else:
                _check_size(key, value, "--student")
        config = self.config(context_length=context, prediction_length=horizon, **overrides)
        self.check(config, "--student")
        with torch.device("meta"):
            module = self.model(copy.deepcopy(config))
        return Architecture(self.name, config, sum(p.numel() for p in module.parameters()))

    def graph(self, model: SmallStudentForecaster) -> Graph:
        """See :func:`potstill.families.small.graph.graph_of`."""
        return graph_of(model)

    def build(self, architecture: Architecture, dropout: float, teacher: Model | None = None) -> SmallStudentForecaster:
        """Build with fresh weights, which forecast about a normal distribution with the context's mean and spread."""
        config = copy.deepcopy(architecture.config)
        config.dropout_rate = dropout
        return SmallStudentForecaster(self.name, self.model(config), ModelSource("student", "built here"))


def _check_size(key: str, value: Any, where: str) -> None:
    most = MAX_SIZES.get(key, MAX_SIZE)
    if type(value) is not int or not 1 <= value <= most:
        raise UserError(
            f"{where}: {key}={value!r}; expected a whole number from 1 to {most:,}.", key="student.bad_value"
        )
