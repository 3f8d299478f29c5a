"""Terms on attention maps and on relations of queries, keys and values."""

from __future__ import annotations

import math

import pytest
import torch
from layer_fakes import info, of_text, of_windows, output
from torch import Tensor
from usage_errors import usage_error

from potstill.objectives.attention_maps import AttentionMaps
from potstill.objectives.attention_relations import AttentionRelations
from potstill.types import Qkv, Request

ONE = [[0, 0]]
ALL = ["qk", "qq", "kk", "vv"]


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def maps(term, own: Tensor, theirs: Tensor, **more) -> Tensor:
    term.bind(info(), {"t0": info()})
    rows = len(own)
    return term(of_windows(output(rows, attention={0: own}, **more), output(rows, attention={0: theirs}, **more)))


def qkv(rows: int, heads: int, tokens: int, width: int, seed: int) -> Qkv:
    return Qkv(*random(3, rows, heads, tokens, width, seed=seed))


def relations(term, own: Qkv, theirs: Qkv, text: Tensor | None = None, **more) -> Tensor:
    models = [info(width=9, heads=x.query.shape[1], head_width=x.query.shape[3]) for x in (own, theirs)]
    term.bind(models[0], {"t0": models[1]})
    if text is not None:
        return term(of_text(text, {"qkv": {0: own}}, {"qkv": {0: theirs}}))
    rows = len(own.query)
    return term(of_windows(output(rows, qkv={0: own}, **more), output(rows, qkv={0: theirs}, **more)))


def softmax_of(*scores: Tensor) -> list[Tensor]:
    return [x.softmax(dim=-1) for x in scores]


def test_maps_by_hand():
    """Two heads, two tokens: KL is averaged over heads and queries."""
    theirs = torch.tensor([[[[0.75, 0.25], [1.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]]]])
    own = torch.tensor([[[[0.5, 0.5], [0.25, 0.75]], [[0.5, 0.5], [0.25, 0.75]]]])
    rows = [
        0.75 * math.log(1.5) + 0.25 * math.log(0.5),
        math.log(4.0),
        0.0,
        0.5 * math.log(2.0) + 0.5 * math.log(2 / 3),
    ]
    assert maps(AttentionMaps(ONE), own, theirs).tolist() == pytest.approx([sum(rows) / 4])


def test_gradients_of_maps():
    own, theirs = random(2, 2, 4, 4).double().requires_grad_(), random(2, 2, 4, 4, seed=2).double().softmax(dim=3)
    there = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]]).bool()
    term = AttentionMaps(ONE)
    assert torch.autograd.gradcheck(lambda x: maps(term, x.softmax(dim=3), theirs, token_mask=there), (own,))


def test_a_causal_map_has_no_infinite_gradient():
    """Later tokens have a weight of exactly 0 in both models."""
    later = torch.ones(3, 3).triu(1).bool()
    scores = random(1, 2, 3, 3).masked_fill(later, -math.inf).requires_grad_()
    theirs = random(1, 2, 3, 3, seed=2).masked_fill(later, -math.inf).softmax(dim=3)
    term = AttentionMaps(ONE)
    term.bind(info(), {"t0": info()})
    there = torch.ones(1, 3, dtype=torch.bool)
    loss = term(of_text(there, {"attention": {0: scores.softmax(dim=3)}}, {"attention": {0: theirs}}))
    (gradient,) = torch.autograd.grad(loss.sum(), scores)
    assert loss.item() > 0.1
    assert gradient.isfinite().all()
    assert (gradient[:, :, 1:, 0] != 0).all()


def test_maps_of_other_patches_are_pooled_by_time():
    own, theirs = softmax_of(random(2, 2, 2, 2), random(2, 2, 5, 5, seed=2))
    fine = ((-8, -6), (-6, -4), (-4, -2), (-2, 0), None)
    term = AttentionMaps(ONE)
    term.bind(info(), {"t0": info()})
    student = output(2, attention={0: own}, token_spans=((-8, -4), (-4, 0)))
    found = term(of_windows(student, output(2, attention={0: theirs}, token_spans=fine)))
    pooled = theirs[:, :, :4, :4].unflatten(3, (2, 2)).sum(dim=4).unflatten(2, (2, 2)).mean(dim=3)
    pooled = pooled / pooled.sum(dim=3, keepdim=True)  # without the share of the register token
    torch.testing.assert_close(found, maps(AttentionMaps(ONE), own, pooled))


def test_other_numbers_of_heads_are_rejected_and_relations_named():
    with usage_error("objective.heads_differ", "model has 2", "big 12", "attention_relations"):
        AttentionMaps().bind(info(), {"t0": info(heads=12, name="big")})


def minilm(own: Tensor, theirs: Tensor, heads: int) -> float:
    """MiniLM v2's loss for one relation of one example, written out: values ``[A, T, W]`` of either model."""
    relations = []
    for x in (theirs, own):
        _, tokens, _ = x.shape
        rows = [[float(number) for head in x for number in head[t]] for t in range(tokens)]
        width = len(rows[0]) // heads
        relations.append([])
        for h in range(heads):
            parts = [row[h * width : (h + 1) * width] for row in rows]
            for a in parts:
                scores = [sum(i * j for i, j in zip(a, b, strict=True)) / math.sqrt(width) for b in parts]
                total = sum(math.exp(s) for s in scores)
                relations[-1].append([math.exp(s) / total for s in scores])
    teacher, student = relations
    rows = [sum(p * math.log(p / q) for p, q in zip(*pair, strict=True)) for pair in zip(teacher, student, strict=True)]
    return sum(rows) / len(rows)


@pytest.mark.parametrize(
    ("student", "teacher", "given", "heads"),
    [
        ((2, 3), (2, 3), None, 2),
        ((1, 6), (2, 4), None, 2),  # the teacher's heads divide 6 and 8
        ((3, 4), (2, 4), 4, 4),
        ((3, 2), (4, 2), None, 1),  # 4 does not divide 6
    ],
)
def test_relations_equal_minilms(student, teacher, given, heads):
    own, theirs = qkv(1, student[0], 4, student[1], 1), qkv(1, teacher[0], 4, teacher[1], 2)
    term = AttentionRelations(ONE, relation_heads=given)
    found = relations(term, own, theirs)
    assert term.heads == [heads]
    parts = [minilm(getattr(own, part)[0], getattr(theirs, part)[0], heads) for part in ("query", "key", "value")]
    assert found.tolist() == pytest.approx([sum(parts) / 3], rel=1e-4)


def test_queries_and_keys_give_the_attention_map():
    """With one relation head per head, qk is the map of scaled dot-product attention without positions."""
    own, theirs = qkv(2, 2, 4, 3, 1), qkv(2, 2, 4, 3, 2)
    found = relations(AttentionRelations(ONE, "qk"), own, theirs)
    scores = [(x.query @ x.key.mT) / math.sqrt(3) for x in (own, theirs)]
    torch.testing.assert_close(found, maps(AttentionMaps(ONE), *softmax_of(*scores)))


def test_gradients_of_relations():
    own, theirs = random(3, 2, 2, 4, 3).double().requires_grad_(), qkv(2, 3, 4, 2, 2)
    there = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]]).bool()
    theirs = Qkv(*(getattr(theirs, part).double() for part in ("query", "key", "value")))
    term = AttentionRelations(ONE, ALL)
    assert torch.autograd.gradcheck(lambda x: relations(term, Qkv(*x), theirs, token_mask=there), (own,))


def test_neither_padding_nor_other_windows_change_a_windows_value():
    there = torch.ones(3, 5, dtype=torch.bool)
    there[0, :2] = False
    own, theirs = qkv(3, 2, 5, 3, 1), qkv(3, 3, 5, 2, 2)
    weights = softmax_of(random(3, 2, 5, 5), random(3, 2, 5, 5, seed=2))
    term = AttentionRelations(ONE, ALL)
    plain = relations(term, own, theirs, token_mask=there)
    plain_maps = maps(AttentionMaps(ONE), *weights, token_mask=there)
    for content in (1e6, math.nan):
        for x in (own, theirs):
            for part in vars(x).values():
                part[0, :, :2], part[1:] = content, random(*part[1:].shape, seed=7)
        for x in weights:
            x[0, :, :2], x[0, :, :, :2] = content, content
            x[1:] = random(*x[1:].shape, seed=7).softmax(dim=3)
        torch.testing.assert_close(relations(term, own, theirs, token_mask=there)[:1], plain[:1])
        torch.testing.assert_close(maps(AttentionMaps(ONE), *weights, token_mask=there)[:1], plain_maps[:1])
    mine, its = (Qkv(*(x[:1, :, 2:] for x in vars(one).values())) for one in (own, theirs))
    torch.testing.assert_close(relations(term, mine, its), plain[:1])


def test_relations_of_other_patches_are_pooled_by_time():
    own, theirs = qkv(2, 2, 2, 3, 1), qkv(2, 2, 4, 3, 2)
    term = AttentionRelations(ONE, ALL)
    pooled = Qkv(*(x.unflatten(2, (2, 2)).mean(dim=3) for x in vars(theirs).values()))
    expected = relations(term, own, pooled)
    student = output(2, qkv={0: own}, token_spans=((-8, -4), (-4, 0)))
    teacher = output(2, qkv={0: theirs}, token_spans=((-8, -6), (-6, -4), (-4, -2), (-2, 0)))
    torch.testing.assert_close(term(of_windows(student, teacher)), expected)


def test_of_text_a_token_is_compared_with_itself_and_earlier_ones():
    own, theirs = qkv(1, 2, 3, 2, 1), qkv(1, 2, 3, 2, 2)
    there = torch.tensor([[1, 1, 0]]).bool()
    term = AttentionRelations(ONE, "vv", relation_heads=1)
    found = relations(term, own, theirs, text=there)
    # the first token has only itself, the second token two; the third is padding
    two = [x.value[:, :, :2].transpose(1, 2).flatten(2)[0] for x in (own, theirs)]
    scores = [(x[1] @ x.T) / 2 for x in two]
    p, q = scores[1].softmax(dim=0), scores[0].softmax(dim=0)
    assert found.tolist() == pytest.approx([(p * (p / q).log()).sum().item() / 2], rel=1e-4)


def test_layers_are_requested():
    requests = AttentionRelations([[0, 1], [2, 1]]).bind(info(), {"t0": info(), "t1": info(heads=3)})
    assert requests.student == Request(qkv=(0, 2))
    assert requests.teachers == {"t0": Request(qkv=(1,)), "t1": Request(qkv=(1,))}
    assert AttentionMaps([[0, 1]]).bind(info(), {"t0": info()}).student == Request(attention=(0,))


@pytest.mark.parametrize("heads", [0, -1, 2.0, True, "2"])
def test_a_number_of_relation_heads_that_is_none(heads):
    with usage_error("objective.bad_relation_heads", "objective.terms.attention_relations.relation_heads", repr(heads)):
        AttentionRelations(relation_heads=heads)


def test_relation_heads_must_divide_both_models():
    term = AttentionRelations(relation_heads=4)
    with usage_error("objective.bad_relation_heads", "6 in small", "8 in big", "divisor of 2"):
        term.bind(info(name="small", heads=3), {"t0": info(name="big", heads=4)})


@pytest.mark.parametrize("given", ["qv", ["qq", "xx"], 3, [3]])
def test_an_unknown_relation_is_rejected(given):
    with usage_error("objective.bad_option", "objective.terms.attention_relations.relations", "qk or qq or kk or vv"):
        AttentionRelations(relations=given)


def test_a_relation_may_be_given_without_a_list():
    assert AttentionRelations(relations="vv").relations == ("vv",)
    assert AttentionRelations(relations=["vv", "qk", "vv"]).relations == ("vv", "qk")
