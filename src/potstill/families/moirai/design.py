"""The sizes of a Moirai student: the settings a user may choose, those that follow, and the checks of both."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, replace
from typing import Any

import torch

from potstill.errors import UserError

STUDENT_KEYS = ("d_model", "num_layers", "patch_sizes", "max_seq_len", "negative_binomial")
#: keys that a user cannot set, and why
FIXED_KEYS = {
    "d_ff": "uni2ts derives d_ff from d_model (8/3 of it)",
    "num_heads": "uni2ts derives the heads from d_model (one per 64)",
    "patch_size": "write patch_sizes=16",
    "scaling": "a student reads standardised contexts",
}
DEFAULT_SIZES = {"d_model": 128, "num_layers": 4}  # used if the teacher is not a Moirai
HEAD_WIDTH = 64  # also the step between candidate widths


@dataclass(frozen=True)
class MoiraiArchitecture:
    """The sizes of a ``MoiraiModule``, and the lengths it is trained for."""

    d_model: int
    num_layers: int
    patch: int
    max_seq_len: int
    negative_binomial: bool
    context_length: int
    prediction_length: int

    def module(self, dropout: float) -> Any:
        """Build a ``MoiraiModule`` with fresh weights by upstream's rule.

        Attention dropout is 0, because upstream applies it in evaluation mode as well. The negative binomial is left
        out unless requested: its quantiles are whole numbers of standard deviations and have no gradient.
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
    teacher: dict[str, Any], budget: int | None, overrides: dict[str, Any], context: int, horizon: int
) -> MoiraiArchitecture:
    """Derive the sizes from the overrides, the others from the teacher.

    Parameters
    ----------
    teacher
        The teacher's ``d_model``, ``num_layers``, ``patch`` and ``max_seq_len``; empty if it is not a Moirai.
    budget
        Most parameters if no width or depth is given; None: the default sizes.
    overrides
        The user's settings, of ``STUDENT_KEYS``.
    context, horizon
        Lengths in steps that the student is trained for.

    Raises
    ------
    UserError
        For a key or value that a ``MoiraiModule`` cannot be built with.
    """
    _check(overrides)
    sizes = {key: overrides[key] for key in DEFAULT_SIZES if key in overrides}
    base = MoiraiArchitecture(
        **{**DEFAULT_SIZES, **{key: teacher[key] for key in DEFAULT_SIZES if key in teacher}, **sizes},
        patch=_patch(overrides.get("patch_sizes", teacher.get("patch", 32))),
        max_seq_len=overrides.get("max_seq_len", teacher.get("max_seq_len", 512)),
        negative_binomial=overrides.get("negative_binomial", False),
        context_length=context,
        prediction_length=horizon,
    )
    tokens = -(-context // base.patch) - (-horizon // base.patch)
    if tokens > base.max_seq_len:
        raise UserError(
            f"--student: {context} + {horizon} steps are {tokens} tokens of {base.patch}, more than"
            f" max_seq_len={base.max_seq_len}; choose larger patch_sizes or a larger max_seq_len.",
            key="student.sizes_do_not_fit",
        )
    return base if sizes or budget is None else _within(base, budget)


def count(architecture: MoiraiArchitecture) -> int:
    """Number of weights."""
    with torch.device("meta"):
        module = architecture.module(0.0)
    return sum(p.numel() for p in module.parameters())


def _within(base: MoiraiArchitecture, budget: int) -> MoiraiArchitecture:
    """The widest model of the teacher's depth within the budget, in steps of 64: width costs less accuracy."""
    widths = range(HEAD_WIDTH, base.d_model + 1, HEAD_WIDTH)
    shapes = [replace(base, d_model=width) for width in widths]
    fitting = bisect.bisect_right(shapes, budget, key=count)
    if not fitting:
        raise UserError(
            f"--student: no width of this depth fits a third of this teacher's parameters ({budget:,}); give sizes, for"
            " example num_layers=2,d_model=64.",
            key="student.no_size_fits",
        )
    return shapes[fitting - 1]


def _check(overrides: dict[str, Any]) -> None:
    for key, value in overrides.items():
        if key in FIXED_KEYS:
            raise UserError(
                f"--student: {key!r} cannot be set for Moirai: {FIXED_KEYS[key]}.", key="student.fixed_setting"
            )
        if key not in STUDENT_KEYS:
            raise UserError(
                f"--student: {key!r} is not a setting of Moirai; known: {', '.join(STUDENT_KEYS)}.",
                key="student.unknown_setting",
            )
        if key == "negative_binomial" and not isinstance(value, bool):
            raise UserError(f"--student: negative_binomial={value!r}; expected true or false.", key="student.bad_value")
        if key in ("d_model", "num_layers", "max_seq_len") and (type(value) is not int or value < 1):
            raise UserError(
                f"--student: {key}={value!r}; expected a whole number of at least 1.", key="student.bad_value"
            )
    width = overrides.get("d_model", HEAD_WIDTH)
    if width < HEAD_WIDTH or width % (width // HEAD_WIDTH) or width // (width // HEAD_WIDTH) % 4:
        raise UserError(
            f"--student: d_model={width} does not divide into Moirai's heads (one per 64, each a multiple of 4 wide);"
            " choose a multiple of 64.",
            key="student.sizes_do_not_fit",
        )


def _patch(value: Any) -> int:
    one = value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value
    if type(one) is not int or one < 1:
        raise UserError(
            f"--student: patch_sizes={value!r}; expected one whole number, such as 16: a student has one patch size.",
            key="student.bad_value",
        )
    return one
