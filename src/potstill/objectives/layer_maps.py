"""Which layers of student and teacher a feature term compares: the option ``layers`` of these terms.

| ``layers`` | teacher layers for a student of M layers and a teacher of N |
|---|---|
| ``uniform`` | evenly spaced: student layer i (from 1) and teacher layer i · N / M, rounded (TinyBERT) |
| ``skip`` | every k-th teacher layer from the first on, k = N // M (PKD-skip) |
| ``last`` | the last ones: student layer i and teacher layer N − M + i (PKD-last) |
| ``[[s, t], …]`` | these pairs, counted from 0 |

The three names leave out the student's last layer, as PKD does, unless it is the only one. Its output is what the soft
term compares, and a forecaster reads it only at the tokens of the horizon: of all other tokens it computes states, maps
and queries that nothing depends on.

References: Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", EMNLP Findings 2020; Sun et
al., "Patient Knowledge Distillation for BERT Model Compression", EMNLP 2019 (PKD).
"""

from __future__ import annotations

from typing import Any

from potstill.errors import UserError
from potstill.types import ModelInfo

Pairs = list[tuple[int, int]]
Layers = str | Pairs

NAMED_MAPS = ("uniform", "last", "skip")
DEFAULT_LAYERS = "uniform"


def checked_layers(term: str, layers: Any) -> Layers:
    """The option ``layers`` of a term: a name, or pairs of layers as tuples.

    Raises
    ------
    UserError
        If it is neither.
    """
    if isinstance(layers, str) and layers in NAMED_MAPS:
        return layers
    pairs: list[Any] = [tuple(pair) if _is_list(pair) else () for pair in layers] if _is_list(layers) else []
    if not pairs or not all(len(pair) == 2 and all(type(layer) is int for layer in pair) for pair in pairs):
        raise UserError(
            f"objective.terms.{term}.layers: {layers!r}; expected {', '.join(NAMED_MAPS)}, or pairs of a student and a"
            " teacher layer such as [[0, 1], [2, 3]].",
            key="objective.bad_layers",
        )
    if len({*pairs}) < len(pairs):
        raise UserError(
            f"objective.terms.{term}.layers: {layers!r} has a pair twice; give each pair once.",
            key="objective.bad_layers",
        )
    return pairs


def layer_pairs(term: str, layers: Layers, student: ModelInfo, teacher: ModelInfo) -> Pairs:
    """Pairs of a student and a teacher layer, counted from 0, for the option ``layers``; see the module.

    Raises
    ------
    UserError
        If ``skip`` or ``last`` is asked of a teacher with fewer layers than the student.

    Examples
    --------
    >>> def depth(layers):
    ...     return ModelInfo("model", "toy", 1, 1, layers=layers, width=1, heads=1)
    >>> layer_pairs("hidden_states", "uniform", depth(4), depth(12))
    [(0, 2), (1, 5), (2, 8)]
    >>> layer_pairs("hidden_states", "skip", depth(6), depth(12))
    [(0, 1), (1, 3), (2, 5), (3, 7), (4, 9)]
    >>> layer_pairs("hidden_states", "last", depth(6), depth(12))
    [(0, 6), (1, 7), (2, 8), (3, 9), (4, 10)]
    """
    if not isinstance(layers, str):
        return layers
    own, theirs = student.layers, teacher.layers
    if own > theirs and layers != "uniform":
        raise UserError(
            f"objective.terms.{term}.layers: {layers} needs a teacher with at least as many layers as the student, but"
            f" {teacher.name} has {theirs} and {student.name} {own}; write layers: uniform, or pairs.",
            key="objective.layers_do_not_fit",
        )
    compared = range(max(1, own - 1))
    if layers == "last":
        return [(layer, theirs - own + layer) for layer in compared]
    if layers == "skip":
        return [(layer, (layer + 1) * (theirs // own) - 1) for layer in compared]
    # half up, and at least the first layer
    return [(layer, max(1, (2 * (layer + 1) * theirs + own) // (2 * own)) - 1) for layer in compared]


def _is_list(layers: Any) -> bool:
    return isinstance(layers, (list, tuple))
