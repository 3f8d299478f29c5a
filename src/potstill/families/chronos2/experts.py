"""The settings of a Chronos-2 with sparse feed-forward layers: which blocks have experts, how many, and where.

They are keys of its config.json, so that a checkpoint describes itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from potstill.errors import UserError

#: keys of the config, which are also overrides of a student
KEYS = ("experts", "expert_top_k", "expert_layers", "expert_insert")
DEFAULT_TOP_K = 2
INSERTS = ("ffn", "after")
MAX_EXPERTS = 256


@dataclass(frozen=True)
class ExpertSettings:
    """The sparse layers of a model.

    Attributes
    ----------
    experts, top_k
        Experts of each sparse layer, and how many of them a token passes through.
    layers
        The blocks that have one, counted from 0, ascending.
    insert
        ``ffn``: in place of the block's feed-forward network; ``after``: as a further layer after it, which starts as
        the identity.
    """

    experts: int
    top_k: int
    layers: tuple[int, ...]
    insert: str

    @classmethod
    def of(cls, config: Any) -> Self | None:
        """The settings in a ``Chronos2CoreConfig``; None for a dense model."""
        if getattr(config, "experts", None) is None:
            return None
        values = {key: getattr(config, key, None) for key in KEYS}
        return cls.checked(values, config.num_layers)

    @classmethod
    def checked(cls, values: dict[str, Any], num_layers: int) -> Self:
        """The settings from values by key of the config, with defaults, for a model of ``num_layers`` blocks.

        By default every second block is sparse, beginning with the second.

        Raises
        ------
        UserError
            For values with which no model can be built.
        """
        experts = _whole("experts", values.get("experts"), 2, MAX_EXPERTS)
        _, top_k, layers, insert = (values.get(key) for key in KEYS)
        top_k = min(DEFAULT_TOP_K, experts) if top_k is None else top_k
        if type(top_k) is not int or not 1 <= top_k <= experts:
            raise UserError(
                f"experts: top_k={top_k!r} with {experts} experts; a token passes through 1 to {experts} of them.",
                key="experts.bad_top_k",
            )
        if layers is None:
            layers = list(range(1, num_layers, 2)) or [0]
        whole = isinstance(layers, (list, tuple)) and all(type(layer) is int for layer in layers)
        if not whole or not layers or not all(0 <= layer < num_layers for layer in layers):
            raise UserError(
                f"experts: layers={layers!r}; expected a list of the model's {num_layers} layers, which are counted"
                f" from 0 to {num_layers - 1}.",
                key="experts.bad_layers",
            )
        insert = "ffn" if insert is None else insert
        if insert not in INSERTS:
            raise UserError(
                f"experts: insert={insert!r}; expected 'ffn' (in place of a block's feed-forward network) or 'after'.",
                key="experts.bad_insert",
            )
        return cls(experts, top_k, tuple(sorted(set(layers))), insert)

    def as_keys(self) -> dict[str, Any]:
        """The values by key of the config."""
        return dict(zip(KEYS, (self.experts, self.top_k, list(self.layers), self.insert), strict=True))

    def __str__(self) -> str:
        blocks = "block" if len(self.layers) == 1 else "blocks"
        return f"{self.experts} experts, {self.top_k} per token, in {blocks} {', '.join(map(str, self.layers))}"


def _whole(key: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise UserError(
            f"experts: {key}={value!r}; expected a whole number from {least} to {most}.", key="experts.bad_count"
        )
    return value
