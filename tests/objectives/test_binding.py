"""Terms on hidden states: what they need is checked, what they ask is collected, what they own is trained."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from usage_errors import usage_error

from potstill.objectives.base import LossInputs, Requests, Term
from potstill.objectives.objective import Objective, units
from potstill.recipe import ForecastObjective, LanguageObjective, ObjectiveConfig
from potstill.types import ENSEMBLE, Forecast, Logits, ModelInfo, Output, Request, Tokens, Windows

NAN = float("nan")
EVERYTHING = frozenset({"forecast", "logits", "hidden", "attention"})


def info(name: str = "model", signals: frozenset[str] = EVERYTHING, **more) -> ModelInfo:
    facts = {"family": "toy", "parameters": 10, "active_parameters": 10, "layers": 3, "width": 4, "heads": 2}
    return ModelInfo(name=name, signals=signals, **{**facts, **more})


@pytest.fixture
def feature(own_terms):
    """A user's term: the student's last states, projected, against the teacher's second ones."""

    class Projected(Term, nn.Module):
        name = "projected"
        requires = frozenset({"hidden"})

        def __init__(self, layer: int = 1):
            super().__init__()
            self.layer = layer

        def bind(self, student, teachers):
            ((name, teacher),) = teachers.items()
            self.teacher, self.last = name, student.layers - 1
            self.projection = nn.Linear(student.width, teacher.width, bias=False)
            return Requests(Request(hidden=(self.last,)), {name: Request(hidden=(self.layer,))})

        def __call__(self, inputs):
            own = self.projection(inputs.student.hidden[self.last])
            return (own - inputs.teachers[self.teacher].hidden[self.layer]).square().mean(dim=(1, 2))

    return Projected


def config(**more) -> ObjectiveConfig:
    """An objective's settings, as in the recipe of the task that the terms are for."""
    kind = LanguageObjective if "temperature" in more else ForecastObjective
    return kind(**{"alpha": 0.0, "soft": "quantile_match", "hard": "pinball", **more})


def test_layers_are_collected_and_horizons_added(feature):
    objective = Objective(config(alpha=0.5, terms={"projected": {"weight": 0.1}}))
    objective.bind(info(), {"t": info("teacher", width=6)})
    assert objective.student_request(8) == Request(8, hidden=(2,))
    assert objective.teacher_requests(8) == {"t": Request(8, hidden=(1,))}
    assert objective.requires == {"forecast", "hidden"}


def test_a_projection_is_a_weight_of_the_objective(feature):
    objective = Objective(config(terms={"projected": {"weight": 0.1}}))
    objective.bind(info(), {"t": info("teacher", width=6)})
    assert {name: tuple(p.shape) for name, p in objective.named_parameters()} == {
        "trained.projected.projection.weight": (6, 4)
    }


@pytest.mark.parametrize(
    ("student", "teacher", "says"),
    [
        (info("small", frozenset({"forecast"})), info("big"), ("projected", "hidden", "small")),
        (
            info("small"),
            info("big", frozenset({"forecast"})),
            ("projected", "hidden", "big", "forecast"),
        ),
    ],
)
def test_what_a_model_does_not_give_is_refused_by_name(feature, student, teacher, says):
    with usage_error("objective.signal_missing", *says):
        Objective(config(terms={"projected": {}})).bind(student, {"t": teacher})


def test_with_groups_the_signals_for_groups_count(feature):
    objective = Objective(config(terms={"projected": {}}))
    grouped = info("big", group_signals=frozenset({"forecast"}))
    objective.bind(info(), {"t": grouped})
    with usage_error("objective.signal_missing", "hidden", "big", "groups"):
        objective.bind(info(group_signals=EVERYTHING), {"t": grouped}, grouped=True)


def test_a_layer_that_is_not_there_is_refused(feature):
    with usage_error("objective.no_such_layer", "big", "layer 7", "3 layers"):
        Objective(config(terms={"projected": {"layer": 7}})).bind(info(), {"t": info("big")})


def test_beta_is_the_weight_of_feature_terms(feature):
    objective = Objective(config(alpha=0.5, beta=0.2, terms={"projected": {}}))
    assert objective.weights == pytest.approx({"quantile_match": 0.5, "pinball": 0.3, "projected": 0.2})
    own = Objective(config(alpha=0.5, terms={"projected": {"weight": 0.7}}))
    assert own.weights == pytest.approx({"quantile_match": 0.5, "pinball": 0.5, "projected": 0.7})
    with usage_error("objective.beta_without_features", "objective.beta"):
        Objective(config(alpha=0.5, beta=0.2))


def forecast_inputs(student_hidden: torch.Tensor, teacher_hidden: torch.Tensor) -> LossInputs:
    rows = len(student_hidden)
    one = torch.ones(rows, 1).double()
    values = torch.zeros(rows, 1, 4, requires_grad=True)
    forecast = Forecast(torch.tensor([0.5]), values, 0 * one, one)
    batch = Windows.of_context(torch.zeros(rows, 8), 4)
    batch.future[:] = 1.0
    return LossInputs(
        batch, Output(forecast, hidden={2: student_hidden}), {"t": Output(forecast, hidden={1: teacher_hidden})}
    )


def text_inputs(student_hidden: torch.Tensor, teacher_hidden: torch.Tensor) -> LossInputs:
    rows, tokens, width = student_hidden.shape
    ids = torch.arange(rows * tokens).view(rows, tokens) % 5
    answer = torch.ones(rows, tokens, dtype=torch.bool)
    answer[:, 0] = False
    batch = Tokens(ids, torch.ones_like(answer), answer, ids[:, 0])
    torch.manual_seed(0)
    states = torch.randn(int(answer.sum()), width, requires_grad=True)
    logits = Logits(states, nn.Linear(width, 5))
    taught = Logits(torch.randn(int(answer.sum()), width), nn.Linear(width, 5))
    return LossInputs(
        batch, Output(logits, hidden={2: student_hidden}), {"t": Output(taught, hidden={1: teacher_hidden})}
    )


@pytest.mark.parametrize("inputs_of", [forecast_inputs, text_inputs])
def test_a_feature_term_next_to_any_other_trains(feature, inputs_of):
    language = inputs_of is text_inputs
    terms = {"soft": "kl", "hard": "cross_entropy"} if language else {}
    more = {"temperature": 1.0} if language else {}
    objective = Objective(config(alpha=0.5, terms={"projected": {"weight": 0.1}}, **terms, **more))
    objective.bind(info(), {"t": info("teacher", width=6)})
    hidden = torch.randn(2, 3, 4, requires_grad=True)
    inputs = inputs_of(hidden, torch.randn(2, 3, 6))
    total, values = objective(inputs)
    total.backward()
    answer = inputs.student.answer
    leaf = answer.states if language else answer.values
    assert set(values) == {*((terms or {"soft": "quantile_match", "hard": "pinball"}).values()), "projected"}
    assert hidden.grad.abs().sum() > 0
    assert leaf.grad.abs().sum() > 0
    assert objective.terms["projected"].projection.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("inputs_of", [forecast_inputs, text_inputs])
def test_auxiliary_losses_have_a_weight(inputs_of):
    """Weights 0 and 1 give different gradients; without one it is 0.01."""
    terms = {"hard": "cross_entropy", "soft": "kl"} if inputs_of is text_inputs else {}
    found = {}
    for weights in ({"balance": 0.0}, {"balance": 1.0}, {}):
        hidden = torch.ones(2, 3, 4, requires_grad=True)
        inputs = inputs_of(hidden, torch.zeros(2, 3, 6))
        inputs.student.auxiliary["balance"] = hidden.sum()
        objective = Objective(config(auxiliary=weights, **terms))
        objective.bind(info(auxiliary=("balance",)), {})
        total, values = objective(inputs)
        total.backward()
        assert values["auxiliary_balance"].item() == 24
        found[weights.get("balance", "default")] = 0.0 if hidden.grad is None else hidden.grad[0, 0, 0].item()
    assert found == pytest.approx({0.0: 0.0, 1.0: 1.0, "default": 0.01})


def test_an_auxiliary_loss_that_the_student_does_not_have_is_refused():
    with usage_error("objective.unknown_auxiliary", "'router'", "balance"):
        Objective(config(auxiliary={"router": 1.0})).bind(info(auxiliary=("balance",)), {})


def test_averaging_over_steps_weighs_windows_by_their_known_steps(made, passed, own_terms):
    class PerWindow(Term):
        name, averages = "per_window", "steps"

        def __call__(self, inputs):
            return torch.tensor([1.0, 4.0])

    student = made([[[0.0] * 4], [[0.0] * 4]], [0.5])
    inputs = passed(student, truth=torch.tensor([[1.0, NAN, NAN, NAN], [1.0, 1.0, 1.0, NAN]]))
    objective = Objective(config(terms={"per_window": {}}))
    assert objective(inputs)[1]["per_window"].item() == pytest.approx((1 * 1 + 3 * 4) / 4)
    assert units(inputs.batch) == {"windows": 2, "steps": 4}
    # this batch counts for half of what the optimizer step holds
    halved, _ = objective(inputs, {"steps": 0.5})
    assert halved.item() == pytest.approx(0.5 * 13 / 4 + objective(inputs)[1]["pinball"].item())


def test_of_several_teachers_terms_see_the_average_and_each_one():
    zero = torch.zeros(1)
    outputs = {name: Output(Forecast(zero, zero, zero, zero)) for name in ("a", "b", ENSEMBLE)}
    inputs = LossInputs(Windows.of_context(torch.zeros(1, 2), 1), outputs["a"], outputs)
    assert inputs.teacher is outputs[ENSEMBLE]
    assert LossInputs(inputs.batch, outputs["a"], {"b": outputs["b"]}).teacher is outputs["b"]


def test_terms_of_two_tasks_do_not_mix():
    with usage_error("objective.terms_of_two_tasks", "kl", "pinball"):
        Objective(config(alpha=0.5, soft="kl"))
