"""A student's initial weights: random, copied from its teacher, or cut from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from potstill.errors import UserError
from potstill.families.base import Architecture, Family, Model, evaluating
from potstill.recipe.student import Start
from potstill.transfer.cut import cut
from potstill.transfer.rotation import largest_dimensions, principal_components

#: how a cut chooses dimensions, by start
BASES = {"teacher": principal_components, "importance": largest_dimensions}
CALIBRATION_BATCH = 32
CUT_RATE, RANDOM_RATE = 3e-4, 1e-3  # default learning rates: docs/decisions/0020
SMALL_CUT = 0.2  # of the teacher's parameters; a smaller cut is trained at the rate of random weights
GROWN_RATE = 1e-4
#: the start of a student that grows: a finished student with experts
GROWN = "grown"


def choose_start(
    asked: Start | None, family: Family[Any], architecture: Architecture, teacher: Model | None
) -> tuple[Start, str]:
    """The start of a run, and the reason if it is ``random`` without having been asked for.

    Raises
    ------
    UserError
        If the requested start needs a teacher, or one whose weights this student can have.
    """
    if asked == "random":
        return asked, ""
    if teacher is None:
        if asked is not None:
            raise UserError(
                f"student.start: {asked} needs the teacher's weights, and the recipe names no teacher; give --teacher,"
                " or write start: random.",
                key="teacher.missing",
            )
        return "random", "the recipe names no teacher"
    if asked == "copy":
        return asked, ""
    obstacle = family.obstacle(architecture, teacher)
    if obstacle is None:
        return asked or "teacher", ""
    if asked is None:
        return "random", obstacle
    raise UserError(
        f"student.start: {asked}: the student cannot be cut from {teacher.source.name}: {obstacle};"
        " choose other sizes, or write start: copy or start: random.",
        key="student.start_mismatch",
    )


def default_rate(start: str, share: float = 1.0) -> float:
    """The default learning rate of a start: a student that has weights can lose them.

    ``share`` is the student's part of the teacher's parameters: after a cut to few, more must be learned again.
    """
    if start == GROWN:
        return GROWN_RATE
    return CUT_RATE if start in BASES and share >= SMALL_CUT else RANDOM_RATE


def start_student(
    start: Start,
    family: Family[Any],
    architecture: Architecture,
    student: Model,
    teacher: Model | None,
    batches: Sequence[Any],
    layers: Sequence[int] | None = None,
) -> list[str]:
    """Give a fresh student its initial weights; returns lines about what it has of its teacher.

    Parameters
    ----------
    start
        As :func:`choose_start` returned it.
    family, architecture
        The student's.
    student
        With random weights.
    teacher
        None only for ``random``.
    batches
        Calibration data, see :func:`calibration_batches`; only a cut and a student with experts read them.
    layers
        Layers to keep; default: by importance.
    """
    if start == "random":
        return []
    assert teacher is not None
    if start == "copy":
        lines = family.copy_from(student, teacher)
        if not teacher.auxiliary:
            family.balance_experts(student, batches)
        return lines
    if layers is not None:
        check_layers(layers, student.layers, teacher.layers)
    with evaluating(teacher.module):
        moved = [batch.to(teacher.device) for batch in batches]
        with family.dense(student) as module:
            lines = cut(family.matched(teacher, architecture), module, family.anatomy, moved, BASES[start], layers)
        family.balance_experts(student, moved)
    return lines


def calibration_batches(dataset: Any, size: int, seed: int, batch: int = CALIBRATION_BATCH) -> list[Any]:
    """A sample of a data set (all if there are at most ``size``), the same for the same seed, shuffled, in batches."""
    ids = np.random.default_rng(seed).choice(len(dataset), min(size, len(dataset)), replace=False)
    return _batches(dataset, ids, batch)


def balanced_batches(windows: Any, size: int, seed: int) -> list[Any]:
    """Like :func:`calibration_batches`, of real windows, equally many of each data set."""
    return _batches(windows, np.random.default_rng(seed).permutation(windows.sample(size, seed)), CALIBRATION_BATCH)


def _batches(dataset: Any, ids: np.ndarray, size: int) -> list[Any]:
    return [dataset.batch(part) for part in np.split(ids, range(size, len(ids), size))]


def check_layers(layers: Sequence[int], depth: int, teacher_depth: int) -> None:
    ascending = all(a < b for a, b in itertools.pairwise(layers))
    if len(layers) != depth or not ascending or not 0 <= layers[0] <= layers[-1] < teacher_depth:
        raise UserError(
            f"student.layers: {list(layers)} does not fit; expected {depth} ascending numbers from 0 to"
            f" {teacher_depth - 1}, one for each layer of the student.",
            key="student.bad_layers",
        )
