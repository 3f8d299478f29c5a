"""The sum of terms: weights, names, the user's own terms, and what must not be hidden."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from usage_errors import usage_error

from potstill.objectives.base import Term
from potstill.objectives.objective import Objective
from potstill.objectives.registry import TERM_CLASSES, find_term, import_terms
from potstill.recipe import ForecastObjective

NAN = math.nan
OWN_TERM = """
from __future__ import annotations

from dataclasses import dataclass

from potstill.objectives.base import LossInputs, Term


@dataclass
class Width(Term):
    name = "width"
    requires = frozenset({"forecast"})
    target: float = 0.0

    def __call__(self, inputs: LossInputs):
        values = inputs.student.forecast.values
        return (values[:, -1] - values[:, 0] - self.target).abs().mean(dim=1)
"""
TRAINED_TERM = """
import torch
from torch import nn

from potstill.objectives.base import Term


class Shifted(Term, nn.Module):
    name = "shifted"

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(0.5))

    def __call__(self, inputs):
        return (inputs.student.forecast.values.mean(dim=(1, 2)) + self.shift).square()
"""


@pytest.fixture
def batch(made, passed):
    student = made([[[0.0], [1.0], [2.0]], [[0.0], [0.0], [0.0]]], [0.1, 0.5, 0.9])
    teacher = made([[[1.0], [2.0], [3.0]], [[0.0], [0.0], [4.0]]], [0.1, 0.5, 0.9])
    return passed(student, teacher, torch.tensor([[3.0], [NAN]]))


def test_the_total_is_alpha_soft_and_the_rest_hard(batch):
    total, terms = Objective(ForecastObjective(alpha=0.75, soft="soft_median", hard="hard_median"))(batch)
    assert {k: v.item() for k, v in terms.items()} == {"soft_median": 0.5, "hard_median": 4.0}
    assert total.item() == pytest.approx(0.75 * 0.5 + 0.25 * 4.0)


def test_the_default_is_expected_pinball_and_pinball():
    objective = Objective(ForecastObjective())
    assert objective.weights == pytest.approx({"expected_pinball": 0.8, "pinball": 0.2})
    assert objective.requires == {"forecast"}


@pytest.mark.parametrize(("alpha", "left"), [(0.0, "pinball"), (1.0, "expected_pinball")])
def test_a_term_of_no_weight_is_not_computed(batch, alpha, left):
    objective = Objective(ForecastObjective(alpha=alpha))
    assert set(objective.terms) == {left}
    assert bool(objective.requires) == (alpha > 0)
    if alpha == 0:
        batch.teachers = {}
    assert set(objective(batch)[1]) == {left}


def test_one_term_for_both_sides_counts_whole(batch):
    objective = Objective(ForecastObjective(alpha=0.0, soft="pinball", hard="pinball"))
    assert objective.weights == {"pinball": 1.0}


def test_extra_terms_by_name_and_weight(batch):
    terms = {"soft_median": {"weight": 2.0}, "hard_median": {}}
    total, values = Objective(ForecastObjective(alpha=1.0, terms=terms))(batch)
    assert total.item() == pytest.approx(
        (values["expected_pinball"] + 2 * values["soft_median"] + values["hard_median"]).item()
    )


@pytest.mark.parametrize("weight", [-1.0, "much", True, math.inf, NAN])
def test_weights_that_are_none(weight):
    with pytest.raises(ValidationError, match=r"pinball\.weight"):
        ForecastObjective(terms={"pinball": {"weight": weight}})


def test_options_a_term_does_not_have():
    with usage_error("objective.bad_options", "objective.terms.pinball", "sharpness"):
        Objective(ForecastObjective(terms={"pinball": {"sharpness": 2}}))


def test_an_unknown_term_lists_the_known_and_the_nearest():
    with usage_error("names.unknown_term", "'pinbal'", "'pinball'", "kl, pinball, quantile_match"):
        Objective(ForecastObjective(hard="pinbal"))


def test_every_name_of_the_table_is_a_term_of_that_name():
    for name in TERM_CLASSES:
        assert find_term(name).name == name


def test_auxiliary_losses_of_the_student_are_added_and_named(batch):
    batch.student.auxiliary["balance"] = torch.tensor(0.25)
    plain = Objective(ForecastObjective(alpha=0.0))
    total, values = plain(batch)
    assert values["auxiliary_balance"].item() == 0.25
    assert total.item() == pytest.approx(values["pinball"].item() + 0.01 * 0.25)


def test_auxiliary_losses_of_teachers_and_statistics_are_named_and_change_no_loss(batch):
    objective = Objective(ForecastObjective(alpha=0.5))
    plain, _ = objective(batch)
    (name,) = batch.teachers
    batch.teachers[name].auxiliary["balance"] = torch.tensor(1.5)
    batch.student.statistics["idle_experts"] = torch.tensor(0.25)
    total, values = objective(batch)
    assert total.item() == plain.item()
    assert values[f"{name}_balance"].item() == 1.5
    assert values["idle_experts"].item() == 0.25


def test_a_window_without_a_future_does_not_count(batch):
    _, terms = Objective(ForecastObjective(alpha=0.5, hard="hard_median"))(batch)
    assert terms["hard_median"].item() == 4.0  # of one window, not halved by the silent one
    batch.windows.future[:] = NAN
    total, terms = Objective(ForecastObjective(alpha=0.5, hard="hard_median"))(batch)
    assert terms["hard_median"].item() == 0.0
    assert total.isfinite()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("row", [0, 1])
def test_a_diverged_student_is_not_masked_away(batch, alpha, row):
    batch.student.forecast.values[row, 1] = NAN
    if alpha < 1:
        batch.windows.future[:] = 3.0
    assert Objective(ForecastObjective(alpha=alpha))(batch)[0].isnan()


def test_the_gradient_is_finite_where_futures_are_unknown(batch):
    values = batch.student.forecast.values.requires_grad_()
    Objective(ForecastObjective())(batch)[0].backward()
    assert values.grad.isfinite().all()
    assert (values.grad[1] != 0).any(), "the teacher still teaches that window"


def test_a_term_from_the_recipes_imports(batch, tmp_path, own_terms):
    (tmp_path / "mine.py").write_text(OWN_TERM)
    import_terms([str(tmp_path / "mine.py")])
    import_terms([str(tmp_path / "mine.py")])  # preparing twice in one process is no clash
    objective = Objective(ForecastObjective(alpha=0.0, terms={"width": {"weight": 0.5, "target": 1.0}}))
    assert objective.requires == {"forecast"}
    _, terms = objective(batch)
    assert terms["width"].item() == pytest.approx((1.0 + 1.0) / 2)


def test_a_term_with_weights_of_its_own_is_trained(batch, tmp_path, own_terms):
    (tmp_path / "mine.py").write_text(TRAINED_TERM)
    import_terms([str(tmp_path / "mine.py")])
    objective = Objective(ForecastObjective(alpha=0.0, terms={"shifted": {}}))
    assert [name for name, _ in objective.named_parameters()] == ["trained.shifted.shift"]
    objective(batch)[0].backward()
    assert next(objective.parameters()).grad.item() == pytest.approx(2 * (1.5 + 0.5) / 2)


@pytest.mark.parametrize("name", ["pinball", "width"])
def test_a_name_that_is_taken_raises(name, tmp_path, own_terms):
    first, second = tmp_path / "one" / "mine.py", tmp_path / "two" / "mine.py"
    for path in (first, second):
        path.parent.mkdir()
        path.write_text(OWN_TERM)
    import_terms([str(first)])
    second.write_text(OWN_TERM.replace('"width"', f'"{name}"'))
    with usage_error("objective.name_taken", repr(name)):
        import_terms([str(second)])
    assert find_term("pinball").__module__ == "potstill.objectives.pinball"


@pytest.mark.parametrize(
    ("text", "key", "fact"),
    [
        (None, "imports.no_such_file", "mine.py"),
        ("import nothing_of_this_name", "imports.failed", "ModuleNotFoundError"),
        ("(", "imports.failed", "SyntaxError"),
    ],
)
def test_imports_that_fail_are_told(tmp_path, text, key, fact, own_terms):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with usage_error(key, fact, str(path)):
        import_terms([str(path)])


def test_a_term_from_an_entry_point(monkeypatch, own_terms):
    class Point:
        name = "outside"

        @staticmethod
        def load() -> type[Term]:
            return find_term("pinball")

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point] if group == "potstill.terms" else [])
    assert find_term("outside").name == "pinball"
    with usage_error("names.unknown_term", "outside"):
        find_term("outsid")


@pytest.mark.parametrize(
    ("options", "key", "fact"),
    [
        ({"hard": "expected_pinball", "soft": "quantile_match"}, "objective.hard_needs_teacher", "expected_pinball"),
        ({"hard": "scaled_pinball", "soft": "pinball"}, "objective.soft_without_teacher", "pinball"),
        ({"hard": "pinball", "soft": "pinball"}, "objective.soft_without_teacher", "alpha: 0"),
    ],
)
def test_the_soft_term_asks_the_teacher_and_the_hard_term_does_not(options, key, fact):
    with usage_error(key, fact):
        Objective(ForecastObjective(alpha=0.5, **options))


def test_a_term_without_weight_is_not_asked_about():
    assert Objective(ForecastObjective(alpha=0.0, hard="pinball", soft="pinball")).requires == frozenset()
    assert set(Objective(ForecastObjective(alpha=1.0, hard="expected_pinball", soft="quantile_match")).terms) == {
        "quantile_match"
    }
