"""Cutting a transformer of a few numbers: exact at full size, and worked out by hand where something is left out."""

from __future__ import annotations

import pytest
import torch
from tiny_transformer import Tiny, describe, inputs

from potstill.transfer.cut import cut
from potstill.transfer.rotation import largest_dimensions, principal_components


@pytest.mark.parametrize("basis", [principal_components, largest_dimensions])
def test_at_full_size_the_student_computes_what_the_teacher_does(basis):
    teacher, student = Tiny(8), Tiny(8, seed=1)
    (line,) = cut(teacher, student, describe, inputs(), basis)
    x = inputs(2)[0]
    assert torch.allclose(student(x), teacher(x), rtol=0, atol=1e-10)
    assert not torch.equal(student.head.weight, teacher.head.weight)  # the norm's weight is folded in
    assert line == "The student is cut from its teacher: all 2 layers"


def test_a_rotation_is_orthogonal_and_norms_have_no_weights():
    teacher, student = Tiny(8), Tiny(8, seed=1)
    cut(teacher, student, describe, inputs(), principal_components)
    assert torch.allclose(student.embed.weight.T @ student.embed.weight, teacher.embed.weight.T @ teacher.embed.weight)
    assert torch.equal(student.norm.weight, torch.ones(8, dtype=torch.float64))


def padded(width: int) -> Tiny:
    """A teacher of width 8 whose stream lives in the first ``width`` dimensions."""
    teacher = Tiny(8)
    for name, weight in teacher.named_parameters():
        for place, axis in enumerate(describe(teacher).axes.get(name, ())):
            if type(axis).__name__ == "Writes":
                weight.data.movedim(place, 0)[width:] = 0
    return teacher


@pytest.mark.parametrize("basis", [principal_components, largest_dimensions])
def test_a_stream_in_a_subspace_is_cut_to_it_without_loss_because_readers_are_scaled(basis):
    """The student's norm divides by the RMS over 5 dimensions instead of 8: sqrt(8 / 5) smaller outputs."""
    teacher, student = padded(5), Tiny(5, seed=1)
    (line,) = cut(teacher, student, describe, inputs(), basis)
    x = inputs(2)[0]
    assert torch.allclose(student(x), teacher(x), rtol=0, atol=1e-9)
    assert "5 of 8 dimensions, which hold 100.0% of the stream's variance" in line
    student.head.weight.data *= (5 / 8) ** 0.5  # without the correction
    assert (student(x) - teacher(x)).abs().max() > 0.1


def test_by_hand_with_one_dimension_of_two():
    """A stream along (3, 4) / 5 keeps that direction; weights are the teacher's times it, norms and the ratio."""
    teacher, student = Tiny(2, depth=0), Tiny(1, depth=0)
    teacher.embed.weight.data = torch.tensor([[3.0, 0, 0], [4.0, 0, 0]], dtype=torch.float64)
    teacher.embed.bias.data.zero_()
    teacher.norm.weight.data = torch.tensor([2.0, 0.5], dtype=torch.float64)
    teacher.head.weight.data = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    cut(teacher, student, describe, inputs(), principal_components)
    sign = student.embed.weight[0, 0].sign().item()
    assert student.embed.weight.tolist() == [pytest.approx([5.0 * sign, 0, 0])]
    # (1 · 2 · 3 + 1 · 0.5 · 4) / 5 and (1 · 2 · 3 − 1 · 0.5 · 4) / 5, times sqrt(2 / 1)
    expected = torch.tensor([[1.6], [0.8]], dtype=torch.float64) * sign * 2**0.5
    assert torch.allclose(student.head.weight, expected)
    assert torch.equal(student.head.bias, teacher.head.bias)


def test_units_that_write_nothing_are_left_out_without_loss():
    teacher, student = Tiny(8, heads=3, hidden=6), Tiny(8, heads=2, hidden=4, seed=1)
    for block in teacher.blocks:
        block.attention.o.weight.data[:, 2:4] = 0  # the second head
        block.down.weight.data[:, [0, 4]] = 0
    (line,) = cut(teacher, student, describe, inputs(), principal_components)
    x = inputs(2)[0]
    assert torch.allclose(student(x), teacher(x), rtol=0, atol=1e-10)
    assert line.endswith("all 2 layers; 2 of 3 heads; 4 of 6 neurons")


def test_a_layer_that_does_nothing_is_left_out_without_loss():
    teacher, student = Tiny(8, depth=3), Tiny(8, depth=2, seed=1)
    for weight in (*teacher.blocks[1].attention.o.parameters(), *teacher.blocks[1].down.parameters()):
        weight.data.zero_()
    (line,) = cut(teacher, student, describe, inputs(), principal_components)
    x = inputs(2)[0]
    assert torch.allclose(student(x), teacher(x), rtol=0, atol=1e-10)
    assert line == "The student is cut from its teacher: layers 0, 2 of 3"
    assert len(teacher.blocks) == 3


def test_layers_may_be_named():
    teacher, student = Tiny(8, depth=3), Tiny(8, depth=2, seed=1)
    cut(teacher, student, describe, inputs(), principal_components, layers=[0, 1])
    teacher.blocks = teacher.blocks[:2]
    x = inputs(2)[0]
    assert torch.allclose(student(x), teacher(x), rtol=0, atol=1e-10)


def test_the_same_calibration_gives_the_same_student_bit_for_bit():
    teacher, first, second = Tiny(8, depth=3), Tiny(5, hidden=4, seed=1), Tiny(5, hidden=4, seed=2)
    for student in (first, second):
        cut(teacher, student, describe, inputs(), principal_components)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), Tiny(8, depth=3).parameters(), strict=True))
