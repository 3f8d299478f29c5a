"""Terms on hidden states and their relations: values by hand, gradients, padding, other patches, text."""

from __future__ import annotations

import math

import pytest
import torch
from layer_fakes import info, of_text, of_windows, output
from torch import Tensor, nn
from usage_errors import usage_error

from potstill.objectives.hidden_relations import HiddenRelations
from potstill.objectives.hidden_states import HiddenStates
from potstill.types import Request

ONE = [[0, 0]]
TERMS = [HiddenStates(ONE), HiddenStates(ONE, "cosine"), HiddenRelations(ONE), HiddenRelations(ONE, "kl")]
NAMES = ["mse", "cosine", "relations mse", "relations kl"]


def bound(term, student: int = 4, teacher: int = 4):
    term.__init__(term.layers, term.distance)
    torch.manual_seed(0)
    term.bind(info(width=student), {"t0": info(width=teacher)})
    return term


def value(term, own: Tensor, theirs: Tensor, **masks) -> Tensor:
    return term(of_windows(output(len(own), hidden={0: own}, **masks), output(len(own), hidden={0: theirs}, **masks)))


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_mse_and_cosine_by_hand():
    """Normalised: (1, 1), (1, −1), (1, 1) and (1, 1), (−1, −1), (1, −1); centred: thirds of what is below."""
    own = torch.tensor([[[2.0, 2.0], [3.0, -3.0], [1.0, 1.0]]])
    theirs = torch.tensor([[[1.0, 1.0], [-5.0, -5.0], [2.0, -2.0]]])
    a, b = [(0, 2), (0, -4), (0, 2)], [(2, 4), (-4, -2), (2, -2)]
    products = [sum(x * y for x, y in zip(*pair, strict=True)) for pair in zip(a, b, strict=True)]  # 8, 8, −4
    squares = [[x * x + y * y for x, y in one] for one in (a, b)]
    correlation = sum(products) / math.sqrt(sum(squares[0]) * sum(squares[1]))
    cosines = [c / math.sqrt(x * y) for c, x, y in zip(products, *squares, strict=True)]
    for one, other in ((1.0, 1000.0), (1000.0, 1.0)):
        found = value(bound(HiddenStates(ONE), 2, 2), one * own, other * theirs)
        assert found.tolist() == pytest.approx([2 - 2 * correlation], abs=1e-4)
        found = value(bound(HiddenStates(ONE, "cosine"), 2, 2), one * own, other * theirs)
        assert found.tolist() == pytest.approx([1 - sum(cosines) / 3], abs=1e-4)
    assert 2 - 2 * correlation == pytest.approx(2 - 1 / math.sqrt(2))


def test_what_all_tokens_have_in_common_does_not_count():
    """A large feature that is the same in every token would make any two states alike."""
    own, theirs = random(1, 6, 4), random(1, 6, 4, seed=2)
    plain = value(bound(HiddenStates(ONE)), own, theirs)
    for states in (own, theirs):
        states[..., 0] = 40.0
    assert value(bound(HiddenStates(ONE)), own, theirs).item() > 0.5
    assert plain.item() > 0.5


def test_a_projection_maps_the_students_width_to_the_teachers():
    term = bound(HiddenStates(ONE), 2, 3)
    with torch.no_grad():
        term.projections[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    own = torch.tensor([[[5.0, 5.0], [1.0, -1.0]]])  # projected: (1, 1, 2) and (1, −1, 0), centred ±(0, 1, 1)
    theirs = torch.tensor([[[3.0, 3.0, 3.0], [1.0, -1.0, -1.0]]])  # centred ±(0, 1, 1)
    assert value(term, own, theirs).tolist() == pytest.approx([0.0], abs=1e-6)
    assert value(term, own, theirs.flip(1)).tolist() == pytest.approx([4.0], abs=1e-4)


def test_every_pair_of_layers_and_every_teacher_has_its_own_projection():
    term = HiddenStates([[0, 1], [2, 2]])
    requests = term.bind(info(), {"t0": info(width=6), "t.1": info(), "t2": info(width=5)})
    assert requests.student == Request(hidden=(0, 2))
    assert requests.teachers == dict.fromkeys(("t0", "t.1", "t2"), Request(hidden=(1, 2)))
    shapes = [tuple(p.weight.shape) if isinstance(p, nn.Linear) else None for p in term.projections]
    assert shapes == [(6, 4), (6, 4), None, None, (5, 4), (5, 4)]


def test_pairs_and_teachers_are_averaged():
    term = bound(HiddenStates([[0, 0], [1, 0]]))
    term.bind(info(), {"t0": info(), "t1": info()})
    near, far = ([x, [-y for y in x]] for x in ([1.0, 1.0, 1.0, 1.0], [-1.0, -1.0, 1.0, 1.0]))
    near, far = torch.tensor([near]), torch.tensor([far])
    student = output(hidden={0: near, 1: far})
    # distances 0 and 2 to the first teacher, 4 and 2 to the second
    inputs = of_windows(student, output(hidden={0: near}), output(hidden={0: -near}))
    assert term(inputs).tolist() == pytest.approx([(0 + 2 + 4 + 2) / 4], abs=1e-5)


def test_relations_by_hand():
    """Three centred tokens of the student at 0°, 120° and 240°; the teacher's first and second are opposite."""
    angles = torch.arange(3) * (2 * math.pi / 3)
    own = torch.stack([angles.cos(), angles.sin()], dim=1)[None]
    theirs = torch.tensor([[[1.0], [-1.0], [1.0]]])  # normalised 1, −1, 1; minus the mean 1/3: cosines −1, 1, −1
    term = HiddenRelations(ONE)
    term.bind(info(width=2), {"t0": info(width=1)})
    expected = (4 * (-0.5 - -1.0) ** 2 + 2 * (-0.5 - 1.0) ** 2) / 6
    assert value(term, own, theirs).tolist() == pytest.approx([expected], abs=1e-4)
    kl = HiddenRelations(ONE, "kl")
    kl.bind(info(width=2), {"t0": info(width=1)})
    # rows: teacher (−10, 10) against student (−5, −5) for the first and last token, equal ones for the second
    p = 1 / (1 + math.exp(-20))
    row = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    assert value(kl, own, theirs).tolist() == pytest.approx([2 * row / 3], abs=1e-4)


def test_relations_do_not_change_with_rotations_scales_and_shifts_common_to_all_tokens():
    term = bound(HiddenRelations(ONE), 4, 6)
    own, theirs = random(2, 5, 4), random(2, 5, 6, seed=2)
    rotation, _ = torch.linalg.qr(random(4, 4, seed=3))
    plain = value(term, own, theirs)
    torch.testing.assert_close(value(term, 7 * own @ rotation, theirs), plain)
    assert (plain > 0.1).all()
    assert value(bound(HiddenRelations(ONE)), own, own @ rotation).abs().max() < 1e-6


@pytest.mark.parametrize("term", TERMS, ids=NAMES)
def test_gradients(term):
    """Against finite differences in double precision, with padding and, for states, through the projection."""
    term = bound(term, 4, 3)
    if isinstance(term, nn.Module):
        term.double()
    own, theirs = random(2, 5, 4).double().requires_grad_(), random(2, 5, 3, seed=2).double()
    there = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()
    weights = [*term.parameters()] if isinstance(term, nn.Module) else []
    assert torch.autograd.gradcheck(lambda x, *_: value(term, x, theirs, token_mask=there), (own, *weights))


@pytest.mark.parametrize("term", TERMS, ids=NAMES)
def test_neither_padding_nor_other_windows_change_a_windows_value(term):
    term = bound(term, 4, 3)
    own, theirs = random(3, 5, 4), random(3, 5, 3, seed=2)
    there = torch.ones(3, 5, dtype=torch.bool)
    there[0, :2] = False
    plain = value(term, own, theirs, token_mask=there)
    other = own.clone(), theirs.clone()
    for x in other:
        x[1:] = random(*x[1:].shape, seed=5)
    assert torch.equal(value(term, *other, token_mask=there)[:1], plain[:1])
    for content in (1e6, math.nan, math.inf):
        padded, taught = own.clone().requires_grad_(), theirs.clone()
        with torch.no_grad():
            padded[0, :2], taught[0, :2] = content, content
        found = value(term, padded, taught, token_mask=there)
        torch.testing.assert_close(found, plain)
        found.sum().backward()
        assert padded.grad is not None
        assert padded.grad.isfinite().all()
        assert (padded.grad[0, :2] == 0).all()
        assert (padded.grad[0, 2:] != 0).any(dim=1).all()
    alone = value(term, own[:1, 2:], theirs[:1, 2:])
    torch.testing.assert_close(alone, plain[:1])


@pytest.mark.parametrize("term", TERMS, ids=NAMES)
def test_a_window_of_padding_alone_has_no_loss(term):
    own = random(2, 5, 4).requires_grad_()
    there = torch.zeros(2, 5, dtype=torch.bool)
    found = value(bound(term), own, random(2, 5, 4, seed=2), token_mask=there)
    assert found.tolist() == [0.0, 0.0]
    (gradient,) = torch.autograd.grad(found.sum(), own)
    assert (gradient == 0).all()


@pytest.mark.parametrize("term", TERMS, ids=NAMES)
def test_a_student_with_other_patches_is_compared_by_time(term):
    """Patches of four steps against patches of two, which are averaged in pairs; the teacher has a register token."""
    term = bound(term)
    coarse = ((-8, -4), (-4, 0))
    fine = ((-8, -6), (-6, -4), (-4, -2), (-2, 0), None)
    own, theirs = random(2, 2, 4), random(2, 5, 4, seed=2)
    pooled = torch.stack([theirs[:, :2].mean(dim=1), theirs[:, 2:4].mean(dim=1)], dim=1)
    student = output(2, hidden={0: own}, token_spans=coarse)
    teacher = output(2, hidden={0: theirs}, token_spans=fine)
    torch.testing.assert_close(term(of_windows(student, teacher)), value(term, own, pooled))


@pytest.mark.parametrize("term", TERMS, ids=NAMES)
def test_of_text_all_tokens_count_except_padding(term):
    """Prompts and answers; each example has the value that it has without padding."""
    term = bound(term)
    own, theirs = random(2, 4, 4), random(2, 4, 4, seed=2)
    there = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]).bool()
    found = term(of_text(there, {"hidden": {0: own}}, {"hidden": {0: theirs}}))
    for row, length in ((0, 4), (1, 3)):
        part = {"hidden": {0: own[row : row + 1, :length]}}, {"hidden": {0: theirs[row : row + 1, :length]}}
        alone = term(of_text(there[row : row + 1, :length], *part))
        torch.testing.assert_close(found[row : row + 1], alone)
    if isinstance(term, HiddenStates):
        torch.testing.assert_close(found[:1], value(term, own[:1], theirs[:1]))


def test_half_precision_is_compared_in_single():
    own, theirs = random(2, 5, 4).bfloat16(), random(2, 5, 4, seed=2).bfloat16()
    for term in TERMS:
        found = value(bound(term), own, theirs)
        torch.testing.assert_close(found, value(term, own.float(), theirs.float()))


@pytest.mark.parametrize(("term", "known"), [(HiddenStates, "mse or cosine"), (HiddenRelations, "mse or kl")])
def test_an_unknown_distance_is_rejected(term, known):
    with usage_error("objective.bad_option", f"objective.terms.{term.name}.distance", "'l1'", known):
        term(distance="l1")
