"""Layer maps: the pairs of published students, students that are deeper or shallower, and bad options."""

from __future__ import annotations

import pytest
from layer_fakes import info
from usage_errors import usage_error

from potstill.objectives.layer_maps import checked_layers, layer_pairs


def pairs(layers, student: int, teacher: int):
    return layer_pairs("term", checked_layers("term", layers), info(layers=student), info(layers=teacher, name="big"))


@pytest.mark.parametrize(
    ("layers", "student", "teacher", "theirs"),
    [
        ("uniform", 4, 12, [2, 5, 8]),  # TinyBERT's 3, 6, 9 of 12, counted from 1
        ("skip", 6, 12, [1, 3, 5, 7, 9]),  # PKD's 2, 4, 6, 8, 10
        ("last", 6, 12, [6, 7, 8, 9, 10]),  # PKD's 7, 8, 9, 10, 11
        ("uniform", 5, 5, [0, 1, 2, 3]),
        ("skip", 5, 5, [0, 1, 2, 3]),
        ("last", 5, 5, [0, 1, 2, 3]),
        ("uniform", 3, 5, [1, 2]),  # 5/3 and 10/3, rounded
        ("skip", 3, 5, [0, 1]),
        ("last", 3, 5, [2, 3]),
        ("uniform", 4, 6, [1, 2, 4]),  # 1.5 is rounded up
        ("uniform", 6, 2, [0, 0, 0, 0, 1]),
        ("uniform", 1, 5, [4]),  # the only layer is compared
        ("skip", 1, 5, [4]),
        ("last", 1, 5, [4]),
    ],
)
def test_named_maps(layers, student, teacher, theirs):
    assert pairs(layers, student, teacher) == list(enumerate(theirs))


def test_explicit_pairs_are_taken_as_they_are():
    assert pairs([[2, 4], (0, 1)], 3, 5) == [(2, 4), (0, 1)]


@pytest.mark.parametrize("layers", ["first", "", 3, None, [], {}, [[0]], [[0, 1, 2]], [[0, "1"]], [[0, True]], [0, 1]])
def test_other_values_are_rejected(layers):
    with usage_error(
        "objective.bad_layers", "objective.terms.term.layers", repr(layers), "uniform", "[[0, 1], [2, 3]]"
    ):
        pairs(layers, 3, 5)


def test_a_pair_given_twice_is_rejected():
    with usage_error("objective.bad_layers", "twice"):
        pairs([[0, 1], [0, 1]], 3, 5)


@pytest.mark.parametrize("layers", ["skip", "last"])
def test_a_teacher_of_fewer_layers_needs_the_uniform_map(layers):
    with usage_error("objective.layers_do_not_fit", "objective.terms.term.layers", "big has 2", "model 6", "uniform"):
        pairs(layers, 6, 2)
