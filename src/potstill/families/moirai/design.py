"""Sizes of a Moirai student: what the user may set, what follows, and what does not go."""

from __future__ import annotations

import bisect
from dataclasses import asdict, dataclass
from typing import Any

import torch

from potstill.errors import UserError

KEYS = ("d_model", "num_layers", "patch_sizes", "max_seq_len", "negative_binomial")
FOLLOWS = {
    "d_ff": "d_ff follows d_model in uni2ts (8/3 of it)",
    "num_heads": "heads follow d_model in uni2ts (one per 64)",
    "patch_size": "write patch_sizes=16",
    "scaling": "a student reads standardised contexts",
}
SMALL = {"d_model": 128, "num_layers": 4}  # where the teacher says nothing about Moirai's sizes
WIDTH = 64  # of a head, and the step between widths


@dataclass(frozen=True)
class MoiraiArchitecture:
    """What builds a ``MoiraiModule``, and the lengths it is trained for."""

    d_model: int
    num_layers: int
    patch: int
    max_seq_len: int
    negative_binomial: bool
    context_length: int
    prediction_length: int

    def module(self, dropout: float) -> Any:
        """A ``MoiraiModule`` with fresh weights by upstream's rule.

        Upstream's attention drops out in evaluation mode as well, so it never does here. The negative binomial is left
        out unless asked for: its quantiles are whole numbers of standard deviations, and have no gradient there.
        """
        from uni2ts.distribution import (
            LogNormalOutput,
            MixtureOutput,
            NegativeBinomialOutput,
            NormalFixedScaleOutput,
            StudentTOutput,
        )
        from uni2ts.model.moirai import MoiraiModule

        counts = [NegativeBinomialOutput()] if self.negative_binomial else []
        return MoiraiModule(
            distr_output=MixtureOutput([StudentTOutput(), NormalFixedScaleOutput(), *counts, LogNormalOutput()]),
            d_model=self.d_model,
            num_layers=self.num_layers,
            patch_sizes=(self.patch,),
            max_seq_len=self.max_seq_len,
            attn_dropout_p=0.0,
            dropout_p=dropout,
        )


def design_student(
    own: dict[str, Any], budget: int | None, overrides: dict[str, Any], context: int, horizon: int
) -> MoiraiArchitecture:
    """Sizes as overridden, the others as the teacher's.

    Parameters
    ----------
    own
        The teacher's ``d_model``, ``num_layers``, ``patch`` and ``max_seq_len``, as far as it has them.
    budget
        Parameters to stay below where no width or depth is given; None: the small default.
    overrides
        The user's settings, among ``KEYS``.
    context, horizon
        Lengths of training.

    Raises
    ------
    UserError
        For a key or value that a ``MoiraiModule`` cannot be built with.
    """
    _check(overrides)
    sizes = {key: overrides[key] for key in SMALL if key in overrides}
    base = MoiraiArchitecture(
        **{**SMALL, **{key: own[key] for key in SMALL if key in own}, **sizes},
        patch=_patch(overrides.get("patch_sizes", own.get("patch", 32))),
        max_seq_len=overrides.get("max_seq_len", own.get("max_seq_len", 512)),
        negative_binomial=overrides.get("negative_binomial", False),
        context_length=context,
        prediction_length=horizon,
    )
    tokens = -(-context // base.patch) - (-horizon // base.patch)
    if tokens > base.max_seq_len:
        raise UserError(
            f"--student: {context} + {horizon} steps are {tokens} tokens of {base.patch}, more than"
            f" max_seq_len={base.max_seq_len}; choose larger patch_sizes or a larger max_seq_len."
        )
    return base if sizes or budget is None else _within(base, budget)


def count(shape: MoiraiArchitecture) -> int:
    """Number of weights."""
    with torch.device("meta"):
        module = shape.module(0.0)
    return sum(p.numel() for p in module.parameters())


def _within(base: MoiraiArchitecture, budget: int) -> MoiraiArchitecture:
    """The largest shape within the budget: up to half the teacher's depth, widths in steps of 64."""
    candidates = []
    for layers in range(2, max(3, base.num_layers // 2 + 1)):
        widths = range(WIDTH, base.d_model + 1, WIDTH)
        shapes = [MoiraiArchitecture(**{**asdict(base), "num_layers": layers, "d_model": width}) for width in widths]
        fitting = bisect.bisect_right(shapes, budget, key=count)
        if fitting:
            candidates.append((count(shapes[fitting - 1]), -layers, shapes[fitting - 1]))
    if not candidates:
        raise UserError(
            f"--student: no Moirai fits a tenth of this teacher ({budget:,} parameters); give sizes, for example"
            " num_layers=2,d_model=64."
        )
    return max(candidates, key=lambda c: c[:2])[2]


def _check(overrides: dict[str, Any]) -> None:
    for key, value in overrides.items():
        if key in FOLLOWS:
            raise UserError(f"--student: {key!r} cannot be set for Moirai: {FOLLOWS[key]}.")
        if key not in KEYS:
            raise UserError(f"--student: {key!r} is no setting of Moirai; known: {', '.join(KEYS)}.")
        if key == "negative_binomial" and not isinstance(value, bool):
            raise UserError(f"--student: negative_binomial={value!r}; expected true or false.")
        if key in ("d_model", "num_layers", "max_seq_len") and (type(value) is not int or value < 1):
            raise UserError(f"--student: {key}={value!r}; expected a whole number of at least 1.")
    width = overrides.get("d_model", WIDTH)
    if width < WIDTH or width % (width // WIDTH) or width // (width // WIDTH) % 4:
        raise UserError(
            f"--student: d_model={width} does not divide into Moirai's heads (one per 64, each a multiple of 4 wide);"
            " choose a multiple of 64."
        )


def _patch(value: Any) -> int:
    one = value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value
    if type(one) is not int or one < 1:
        raise UserError(
            f"--student: patch_sizes={value!r}; expected one whole number, such as 16: a student learns one patch size."
        )
    return one
