"""KL divergence between relations of queries, keys and values: attention for models whose heads or widths differ."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import Any

import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.objectives.base import Requests
from potstill.objectives.common_tokens import CommonTokens, ModelTokens
from potstill.objectives.layer_maps import DEFAULT_LAYERS
from potstill.objectives.layer_pairs import LayerPairTerm, chosen
from potstill.objectives.relations import kl_of_rows, scores
from potstill.types import ModelInfo, Qkv

PARTS = {"q": "query", "k": "key", "v": "value"}
RELATIONS = ("qk", "qq", "kk", "vv")


class AttentionRelations(LayerPairTerm):
    """KL(teacher ‖ student) between softmax(A Bᵀ / √w) of queries, keys and values, for layer pairs.

    The heads of a layer are concatenated and split again into the same number of relation heads in both models; w is
    the width of a relation head. So numbers and widths of heads may differ. Averaged over relations, relation heads and
    tokens. Queries and keys are those before rotary positions. For text, a token is compared with the tokens up to it.

    Parameters
    ----------
    layers
        See :mod:`potstill.objectives.layer_maps`. MiniLM compares one layer: the last, or in a deep teacher one at
        about seven eighths of the depth.
    relations
        Some of ``qq``, ``kk``, ``vv`` (all three by default, as in MiniLM v2) and ``qk``. MiniLM v1 is ``vv`` with the
        term ``attention_maps``, or with ``qk`` where heads differ.
    relation_heads
        Number of relation heads; a divisor of heads · head width in both models. Default: the teacher's heads if they
        are such a divisor, or the largest common divisor of both models' heads.

    Requirements
    ------------
    Student and teacher: ``qkv``. Batch: Windows or Tokens. Memory is quadratic in the tokens.

    References
    ----------
    Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
    NeurIPS 2020; Wang et al., "MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing Pretrained
    Transformers", ACL Findings 2021.

    Examples
    --------
    >>> from potstill.objectives.base import LossInputs
    >>> from potstill.types import Forecast, Output, Windows
    >>> model = ModelInfo("model", "toy", 1, 1, layers=1, width=1, heads=1, head_width=1)
    >>> term = AttentionRelations(relations=["vv"])
    >>> requests = term.bind(model, {"teacher": model})
    >>> forecast, zero = Forecast(*[torch.zeros(1, 1)] * 4), torch.zeros(1, 1, 2, 1)
    >>> value = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1)  # relations [[1, 0], [0, 0]]
    >>> student, teacher = (Output(forecast, qkv={0: Qkv(zero, zero, x)}) for x in (zero, value))
    >>> term(LossInputs(Windows.of_context(torch.zeros(1, 2), 1), student, {"teacher": teacher}))
    tensor([0.0555])
    >>> import math
    >>> p = 1 / (1 + math.exp(-1))  # softmax of [1, 0]
    >>> round((p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))) / 2, 4)
    0.0555
    """

    name = "attention_relations"
    requires = frozenset({"qkv"})
    signal = "qkv"

    def __init__(
        self,
        layers: Any = DEFAULT_LAYERS,
        relations: Any = ("qq", "kk", "vv"),
        relation_heads: int | None = None,
    ):
        super().__init__(layers)
        given = relations if isinstance(relations, (list, tuple)) and relations else [relations]
        self.relations = tuple(dict.fromkeys(chosen(self.name, "relations", one, RELATIONS) for one in given))
        if relation_heads is not None and (type(relation_heads) is not int or relation_heads < 1):
            raise UserError(
                f"objective.terms.{self.name}.relation_heads: {relation_heads!r}; expected a whole number of at least"
                " 1.",
                key="objective.bad_relation_heads",
            )
        self.relation_heads = relation_heads
        self.heads: list[int] = []

    def bind(self, student: ModelInfo, teachers: Mapping[str, ModelInfo]) -> Requests:
        """Choose the pairs of layers, and the number of relation heads for each teacher.

        Raises
        ------
        UserError
            If ``relation_heads`` does not divide the width of all heads of both models.
        """
        requests = super().bind(student, teachers)
        self.heads = [self._heads(student, teachers[name]) for name, pairs in self.pairs.items() for _ in pairs]
        return requests

    def _heads(self, student: ModelInfo, teacher: ModelInfo) -> int:
        own, theirs = (model.heads * model.head_width for model in (student, teacher))
        common = gcd(own, theirs)
        if self.relation_heads is None:
            return teacher.heads if common % teacher.heads == 0 else gcd(student.heads, teacher.heads)
        if common % self.relation_heads:
            raise UserError(
                f"objective.terms.{self.name}.relation_heads: {self.relation_heads} must divide the width of all heads"
                f" together, which is {own} in {student.name} and {theirs} in {teacher.name}; choose a divisor of"
                f" {common}.",
                key="objective.bad_relation_heads",
            )
        return self.relation_heads

    def compare(self, student: Qkv, teacher: Qkv, tokens: CommonTokens, place: int) -> Tensor:
        """``[B]`` from queries, keys and values ``[B, A, T, W]``."""
        needed, heads = {*"".join(self.relations)}, self.heads[place]
        own, theirs = (
            {part: _regrouped(side, getattr(qkv, PARTS[part]), heads) for part in needed}
            for side, qkv in ((tokens.student, student), (tokens.teacher, teacher))
        )
        rows = [
            kl_of_rows(*(scores(x[a], x[b], tokens.visible, x[a].shape[3] ** -0.5) for x in (theirs, own)))
            for a, b in self.relations
        ]
        return tokens.mean(torch.stack(rows).mean(dim=0))


def _regrouped(side: ModelTokens, x: Tensor, heads: int) -> Tensor:
    """``[B, A, T, W]`` on the common grid and with another number of heads R: ``[B, R, G, A · W / R]``."""
    x = side.pooled(x)
    return x if x.shape[1] == heads else x.transpose(1, 2).flatten(2).unflatten(2, (heads, -1)).transpose(1, 2)
