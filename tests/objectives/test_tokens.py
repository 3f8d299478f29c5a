"""Terms on next-token distributions against values by hand, and chunks against the whole at once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from trl.experimental.gkd import GKDTrainer
from usage_errors import usage_error

from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.objectives.registry import find_term
from potstill.objectives.tokens import TokenInputs
from potstill.recipe import LanguageObjective
from potstill.types import Logits, Output, Tokens, TopLogits
from potstill.types import logits as logits_module

TERMS = ("cross_entropy", "kl", "reverse_kl", "jsd", "skew_kl")


def logits_of(*rows):
    return torch.tensor(rows, dtype=torch.float32).log()


P, Q = (0.5, 0.25, 0.25), (0.25, 0.25, 0.5)


@pytest.mark.parametrize(
    ("name", "options", "value"),
    [
        ("cross_entropy", {}, math.log(2)),
        ("kl", {"temperature": 1.0}, 0.25 * math.log(2)),
        ("reverse_kl", {"temperature": 1.0}, 0.25 * math.log(2)),
        # m = (0.375, 0.25, 0.375): half of 0.5·ln(4/3) + 0.25·ln(2/3), twice by symmetry
        ("jsd", {"temperature": 1.0}, 0.5 * math.log(4 / 3) + 0.25 * math.log(2 / 3)),
        # λp + (1−λ)q with λ = 0.2 is (0.3, 0.25, 0.45)
        ("skew_kl", {"temperature": 1.0, "skew": 0.2}, 0.5 * math.log(5 / 3) + 0.25 * math.log(5 / 9)),
    ],
)
def test_terms_by_hand(name: str, options: dict, value: float):
    places = TokenInputs(logits_of(Q), logits_of(P), torch.tensor([2]))
    assert find_term(name)(**options).per_token(places).item() == pytest.approx(value, abs=1e-6)


def test_the_temperature_flattens_and_is_paid_back():
    """At T = 2 the odds 1 : 4 become 1 : 2; the divergence is multiplied by 4."""
    places = TokenInputs(logits_of((0.5, 0.5)), logits_of((0.2, 0.8)), torch.tensor([0]))
    by_hand = 4 * (1 / 3 * math.log(2 / 3) + 2 / 3 * math.log(4 / 3))
    assert find_term("kl")(temperature=2.0).per_token(places).item() == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
def test_jsd_is_trls(beta: float):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(5, 11, generator=generator), torch.randn(5, 11, generator=generator)
    theirs = GKDTrainer.generalized_jsd_loss(student[None], teacher[None], beta=beta, temperature=1.0, reduction="sum")
    ours = find_term("jsd")(beta=beta, temperature=1.0).per_token(TokenInputs(student, teacher, torch.zeros(5).long()))
    assert ours.sum().item() == pytest.approx(theirs.item(), rel=1e-5)


def kept(logits: torch.Tensor, count: int, temperature: float) -> TopLogits:
    top = logits.topk(count, dim=1)
    return TopLogits(top.indices, top.values, (logits / temperature).logsumexp(dim=1), temperature)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("name", TERMS[1:])
def test_kept_logits_are_the_whole_ones_with_the_rest_as_one(name: str, temperature: float):
    """Merging outcomes by hand, in both distributions, and comparing those."""
    generator = torch.Generator().manual_seed(1)
    student, teacher = 3 * torch.randn(7, 50, generator=generator), 3 * torch.randn(7, 50, generator=generator)
    labels, term = kept(teacher, 8, temperature), find_term(name)(temperature=temperature)

    def merged(logits: torch.Tensor) -> torch.Tensor:
        shares = (logits / temperature).softmax(dim=1)
        top = shares.gather(1, labels.indices)
        return torch.cat([top, 1 - top.sum(dim=1, keepdim=True)], dim=1).log() * temperature

    ours = term.per_token(TokenInputs(student, labels, torch.zeros(7).long()))
    theirs = term.per_token(TokenInputs(merged(student), merged(teacher), torch.zeros(7).long()))
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_labels_that_hold_all_the_mass_give_finite_gradients():
    teacher = torch.tensor([[30.0, -30.0, -30.0, -30.0]])
    student = torch.zeros(1, 4, requires_grad=True)
    find_term("kl")(temperature=1.0).per_token(
        TokenInputs(student, kept(teacher, 2, 1.0), torch.zeros(1).long())
    ).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


#: a sure teacher (the last two tokens are not kept), whose kept logits add up to more than 1 once they are rounded
SURE, STUDENT = (0.7, 0.3 - 1e-7, 0.6e-7, 0.4e-7), (0.5, 0.4, 0.06, 0.04)


def rounded(shares: tuple[float, ...], count: int, others: bool) -> TopLogits:
    """The ``count`` largest as a store holds them: relative to the largest, in half precision."""
    logits = torch.tensor([shares], dtype=torch.float64).log()
    top = logits.topk(count, dim=1)
    relative = (top.values - top.values[:, :1]).half().float()
    total = -top.values[:, 0].float()
    left = torch.tensor([math.log(sum(sorted(shares)[:-count]))])
    return TopLogits(top.indices, relative, total, 1.0, left if others else None)


@pytest.mark.parametrize("name", TERMS[1:])
def test_the_share_of_the_others_is_the_stored_one(name: str):
    labels, term = rounded(SURE, 2, others=True), find_term(name)(temperature=1.0)
    left = labels.log_sum_exp[:, None] - labels.logits.logsumexp(dim=1, keepdim=True)
    assert left.item() < 0, "the kept tokens have more than the whole probability"
    ours = term.per_token(TokenInputs(logits_of(STUDENT), labels, torch.tensor([0]))).item()
    merged = TokenInputs(logits_of((0.5, 0.4, 0.1)), logits_of((0.7, 0.3 - 1e-7, 1e-7)), torch.tensor([0]))
    assert ours == pytest.approx(term.per_token(merged).item(), rel=1e-3)
    if name == "reverse_kl":
        by_hand = 0.5 * math.log(0.5 / 0.7) + 0.4 * math.log(0.4 / 0.3) + 0.1 * math.log(0.1 / 1e-7)
        assert ours == pytest.approx(by_hand, rel=1e-3)


def test_without_a_stored_share_the_others_have_the_error_of_the_kept_ones():
    """0.3 · |ln(3/7)| · 2⁻¹¹ / √3 = 7.2e-5, and 1e-6 for float32."""
    labels, term = rounded(SURE, 2, others=False), find_term("reverse_kl")(temperature=1.0)
    ours = term.per_token(TokenInputs(logits_of(STUDENT), labels, torch.tensor([0]))).item()
    share = 0.3 * math.log(7 / 3) * 2**-11 / math.sqrt(3) + 2**-20
    by_hand = 0.5 * math.log(0.5 / 0.7) + 0.4 * math.log(0.4 / 0.3) + 0.1 * math.log(0.1 / share)
    assert ours == pytest.approx(by_hand, rel=1e-3)


def test_some_tokens_of_a_batch_may_have_a_stored_share():
    both, old = rounded(SURE, 2, others=True), rounded(SURE, 2, others=False)
    assert both.others is not None
    others = torch.cat([both.others, torch.tensor([torch.nan])])
    mixed = TopLogits(*(getattr(both, n).repeat_interleave(2, 0) for n in ("indices", "logits", "log_sum_exp")), 1.0)
    mixed.others = others
    term, targets = find_term("reverse_kl")(temperature=1.0), torch.tensor([0])
    ours = term.per_token(TokenInputs(logits_of(STUDENT, STUDENT), mixed, targets.expand(2)))
    alone = [term.per_token(TokenInputs(logits_of(STUDENT), labels, targets)) for labels in (both, old)]
    assert torch.equal(ours, torch.cat(alone))


@pytest.mark.parametrize("name", TERMS[1:])
def test_labels_of_all_tokens_leave_no_others(name: str):
    """The loss and its gradient are those of the whole logits."""
    generator = torch.Generator().manual_seed(3)
    student, teacher = torch.randn(5, 32, generator=generator), torch.randn(5, 32, generator=generator)
    term, found = find_term(name)(temperature=1.0), []
    for labels in (teacher, kept(teacher, 32, 1.0)):
        own = student.clone().requires_grad_()
        loss = term.per_token(TokenInputs(own, labels, torch.zeros(5).long()))
        found.append((loss, *torch.autograd.grad(loss.sum(), own)))
    for whole, ours in zip(*found, strict=True):
        assert ours.isfinite().all()
        assert torch.allclose(ours, whole, atol=1e-6)


def test_labels_of_another_temperature_are_refused():
    places = TokenInputs(torch.zeros(1, 4), kept(torch.zeros(1, 4), 2, 1.0), torch.zeros(1).long())
    with usage_error("labels.other_temperature", "objective.temperature: 1"):
        find_term("kl")(temperature=2.0).per_token(places)


class Whole(nn.Module):
    """A student and a teacher head over states that are parameters, so that every gradient can be compared."""

    def __init__(self, places: int = 40, width: int = 6, vocabulary: int = 30):
        super().__init__()
        torch.manual_seed(2)
        self.states = nn.Parameter(torch.randn(places, width))
        self.head = nn.Linear(width, vocabulary)
        self.taught, self.teacher = torch.randn(places, width), nn.Linear(width, vocabulary).requires_grad_(False)
        self.targets = torch.randint(0, vocabulary, (places,))

    def batch(self) -> LossInputs:
        ids = torch.cat([torch.zeros(1, dtype=torch.long), self.targets])[None]
        answer = torch.ones_like(ids, dtype=torch.bool)
        answer[0, 0] = False
        tokens = Tokens(ids, torch.ones_like(answer), answer, torch.zeros(1).long())
        taught = Output(Logits(self.taught, self.teacher))
        return LossInputs(tokens, Output(Logits(self.states, self.head)), {"teacher": taught})


@pytest.mark.parametrize("name", TERMS)
def test_chunks_give_the_loss_and_the_gradients_of_the_whole(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logits_module, "LOGITS_OF_A_CHUNK", 1)  # 16 rows a chunk: three chunks, the last one short
    config = LanguageObjective(alpha=0.7, soft="kl" if name == "cross_entropy" else name, hard="cross_entropy")
    model, objective = Whole(), Objective(config)
    loss, values = objective(model.batch())
    (3 * loss).backward()
    ours = [p.grad.clone() for p in (model.states, model.head.weight, model.head.bias)]  # type: ignore[union-attr]
    model.zero_grad()
    places = TokenInputs(model.head(model.states), model.teacher(model.taught), model.targets)
    means = {n: term.per_token(places).mean() for n, term in objective.terms.items()}  # type: ignore[attr-defined]
    (3 * sum(objective.weights[n] * mean for n, mean in means.items())).backward()
    theirs = [p.grad for p in (model.states, model.head.weight, model.head.bias)]
    assert {n: v.item() for n, v in values.items()} == pytest.approx({n: m.item() for n, m in means.items()}, rel=1e-5)
    assert loss.item() == pytest.approx(sum(objective.weights[n] * m.item() for n, m in means.items()), rel=1e-5)
    for own, whole in zip(ours, theirs, strict=True):
        assert whole is not None
        assert own.abs().max() > 0
        assert torch.allclose(own, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("known", [True, False])
def test_chunks_of_stored_labels_are_the_whole(known: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logits_module, "LOGITS_OF_A_CHUNK", 1)
    model, objective = Whole(), Objective(LanguageObjective(soft="reverse_kl", temperature=1.0))
    taught = 9 * model.teacher(model.taught).detach()
    labels = kept(taught, 4, 1.0)
    labels.others = taught.scatter(1, labels.indices, -torch.inf).logsumexp(1) - labels.log_sum_exp if known else None
    batch = replace(model.batch(), teachers={"teacher": Output(labels)})
    places = TokenInputs(model.head(model.states), labels, model.targets)
    term: Any = objective.terms["reverse_kl"]
    expected = term.per_token(places).mean().item()
    assert objective(batch)[1]["reverse_kl"].item() == pytest.approx(expected, rel=1e-5)


def test_nothing_as_large_as_the_answer_times_the_vocabulary_is_made(monkeypatch: pytest.MonkeyPatch):
    """The largest tensor that is born while a loss of 2,000 places and 5,000 words is computed and walked back."""
    model = Whole(2000, 8, 5000)
    largest = 0

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            made = [t.numel() for t in (out if isinstance(out, tuple) else (out,)) if torch.is_tensor(t)]
            largest = max([largest, *made])
            return out

    monkeypatch.setattr(logits_module, "LOGITS_OF_A_CHUNK", 2**20)
    with Largest():
        Objective(LanguageObjective(soft="kl", hard="cross_entropy"))(model.batch())[0].backward()
    assert largest <= 2**20 < 2000 * 5000 / 8


def test_without_gradients_none_are_formed():
    model = Whole()
    with torch.no_grad():
        loss, _ = Objective(LanguageObjective(soft="kl", hard="cross_entropy"))(model.batch())
    assert not loss.requires_grad


def test_options_of_the_soft_term_do_not_change_its_weight():
    config = LanguageObjective(alpha=0.5, soft="jsd", hard="cross_entropy", terms={"jsd": {"beta": 0.9}})
    objective = Objective(config)
    assert objective.weights == {"jsd": 0.5, "cross_entropy": 0.5}
    assert objective.terms["jsd"].beta == 0.9  # type: ignore[attr-defined]


@pytest.mark.parametrize("temperature", ["hot", 0, -1.0, float("nan"), True])
def test_temperatures_that_are_none(temperature: object):
    with usage_error("objective.bad_temperature", "objective.terms.kl.temperature"):
        find_term("kl")(temperature=temperature)  # type: ignore[call-arg]


def test_terms_of_two_tasks_do_not_mix():
    with usage_error("objective.terms_of_two_tasks", "kl", "pinball"):
        Objective(LanguageObjective(soft="kl", hard="pinball"))
