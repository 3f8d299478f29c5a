"""Copying layers from a teacher to a student."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from potstill.transfer.layers import copy_layers, spaced_layers


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [(1, 12, [0]), (2, 4, [0, 3]), (3, 12, [0, 6, 11]), (4, 4, [0, 1, 2, 3]), (3, 2, [0, 1, 1]), (2, 1, [0, 0])],
)
def test_first_and_last_layer_and_evenly_between(student, teacher, expected):
    assert spaced_layers(student, teacher) == expected


def stack(depth: int, width: int, head: int) -> Any:
    model = nn.Module()
    model.embed = nn.Linear(4, 8)
    model.inner = nn.ModuleDict({"block": nn.ModuleList([nn.Linear(8, width) for _ in range(depth)])})
    model.head = nn.Linear(8, head)
    return model


def test_matching_weights_are_copied_and_the_others_are_reported():
    torch.manual_seed(0)
    teacher, student = stack(11, 8, head=3), stack(2, 8, head=5)
    before = student.head.weight.clone()
    lines = copy_layers(student, teacher, blocks="inner.block")
    assert torch.equal(student.embed.weight, teacher.embed.weight)
    assert torch.equal(student.inner["block"][0].weight, teacher.inner["block"][0].weight)
    assert torch.equal(student.inner["block"][1].bias, teacher.inner["block"][10].bias)
    assert torch.equal(student.head.weight, before)
    assert lines == [
        "6 of 8 weights start from the teacher (layers 0, 10)",
        "2 start fresh because shapes differ, for example head.weight",
    ]


def test_copies_share_no_memory():
    teacher, student = stack(2, 8, 3), stack(2, 8, 3)
    copy_layers(student, teacher, blocks="inner.block")
    nn.init.zeros_(student.embed.weight)
    assert teacher.embed.weight.abs().sum() > 0
