"""How Potstill's own small students are recognised, loaded, sized and built: the same for each of them."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, ClassVar

import torch

from potstill.errors import UserError
from potstill.families.base import Architecture, Family, Forecaster, Source
from potstill.families.small.base import SmallStudentConfig, SmallStudentForecaster, SmallStudentModel

WIDEST = 16_384
LARGEST = {"num_layers": 128}


class SmallStudentFamily(Family):
    """A family of small students; a subclass names its config, its model and the sizes a user may choose."""

    config: ClassVar[type[SmallStudentConfig]]
    model: ClassVar[type[SmallStudentModel]]
    #: whole numbers that ``--student`` may set
    sizes: ClassVar[tuple[str, ...]]

    def check(self, config: Any) -> None:
        """Raise UserError, in one sentence, where sizes do not fit one another."""

    def recognises(self, config: dict[str, Any]) -> bool:
        """By the model type, or by the architecture's name."""
        named = config.get("architectures") == [self.model.__name__]
        return named or config.get("model_type") == self.config.model_type

    def load(self, folder: str, source: Source, **hub_options: Any) -> SmallStudentForecaster:
        """Through the model's ``from_pretrained``; safetensors only, every weight there and of its shape."""
        loaded: Any = self.model.from_pretrained(
            folder,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **hub_options,
        )
        module, found = loaded
        # transformers would go on with random numbers in the place of the first two, and without the last
        wrong = sorted(
            [*found["missing_keys"], *(key[0] for key in found["mismatched_keys"]), *found["unexpected_keys"]]
        )
        if wrong:
            raise UserError(
                f"{folder}: {len(wrong)} of the weights are missing, unknown or of another shape than config.json says,"
                f" for example {wrong[0]}; fetch or make the checkpoint again."
            )
        return SmallStudentForecaster(self.name, module.eval(), source)

    def design(self, teacher: Forecaster | None, overrides: dict[str, Any], context: int, horizon: int) -> Architecture:
        """The family's own sizes where none are given; a teacher, of whatever family, has no say in them.

        Raises
        ------
        UserError
            For a setting the family does not have, or a value it cannot be built with.
        """
        known = [*self.sizes, "levels"]
        for key, value in overrides.items():
            most = LARGEST.get(key, WIDEST)
            if key not in known:
                raise UserError(f"--student: {key!r} is no setting of {self.name}; known: {', '.join(known)}.")
            if key == "levels":
                _check_levels(value)
            elif type(value) is not int or not 1 <= value <= most:
                raise UserError(f"--student: {key}={value!r}; expected a whole number from 1 to {most:,}.")
        config = self.config(context_length=context, prediction_length=horizon, **overrides)
        self.check(config)
        with torch.device("meta"):
            module = self.model(copy.deepcopy(config))
        return Architecture(self.name, config, sum(p.numel() for p in module.parameters()))

    def build(self, architecture: Architecture, dropout: float) -> SmallStudentForecaster:
        """Fresh weights: the forecast begins near a normal with the context's mean and spread."""
        config = copy.deepcopy(architecture.config)
        config.dropout_rate = dropout
        return SmallStudentForecaster(self.name, self.model(config), Source("student", "built here"))


def _check_levels(levels: Any) -> None:
    listed = isinstance(levels, (list, tuple)) and len(levels) > 0 and all(isinstance(v, float) for v in levels)
    if not listed or not all(a < b for a, b in pairwise([0.0, *levels, 1.0])):
        raise UserError(
            f"--student: levels={levels!r}; expected a list of ascending numbers between 0 and 1, as [0.1, 0.5, 0.9]."
        )
