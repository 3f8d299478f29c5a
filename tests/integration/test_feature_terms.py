"""Terms on layers in whole runs and with whole models: weights, families, padding, text, labels, several teachers."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_gpt2 import save_gpt2
from training_fakes import log_lines
from usage_errors import usage_error

import potstill
from potstill.evaluation import cost
from potstill.families.load import load
from potstill.families.registry import family
from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective, Recipe
from potstill.types import Windows

RECIPES = Path(__file__).parents[2] / "recipes"
FEATURES = ["hidden_states", "hidden_relations", "attention_maps", "attention_relations"]
STUDENTS = {
    "chronos2": {"num_layers": 2, "d_model": 48, "num_heads": 2, "d_kv": 8, "d_ff": 32},
    "moirai": {"num_layers": 2, "d_model": 64, "patch_sizes": 32},
    "patch_transformer": {"num_layers": 2, "d_model": 24, "num_heads": 2, "d_ff": 32, "patch_size": 8},
    "mixer": {"num_layers": 2, "d_model": 16, "d_ff": 16, "patch_size": 16},
}
SHORT = {
    "training.batch_size": 4,
    "training.eval_steps": 30,
    "training.eval_windows": 4,
    "training.precision": "fp32",
    "evaluation.max_windows": 4,
}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch, quick_trainer: None) -> None:
    """Costs are not what is tested."""
    monkeypatch.setattr(cost, "LONGEST_PASS", 0.0)
    monkeypatch.setattr("potstill.tasks.forecasting.measure_costs", partial(cost.measure_costs, repeats=1))


def student_of(name: str, teacher: Any = None) -> Any:
    if name == "moirai":
        pytest.importorskip("uni2ts")
    torch.manual_seed(1)
    chosen = family(name)
    return chosen.build(chosen.design(teacher, STUDENTS[name], 64, 32), 0.0, teacher)


def bound(student: Any, teachers: dict[str, Any], terms: dict[str, Any], beta: float = 0.0) -> Objective:
    torch.manual_seed(2)
    objective = Objective(ForecastObjective(alpha=0.0, beta=beta, terms=terms))
    objective.bind(student.info, {name: teacher.info for name, teacher in teachers.items()})
    return objective


def inputs_of(objective: Objective, student: Any, teachers: dict[str, Any], windows: Windows) -> LossInputs:
    requests = objective.teacher_requests(32)
    with torch.no_grad():
        outputs = {name: teacher.forward(windows, requests[name]) for name, teacher in teachers.items()}
    return LossInputs(windows, student.forward(windows, objective.student_request(32)), outputs)


@pytest.fixture
def windows() -> Windows:
    context = torch.randn(4, 64, generator=torch.Generator().manual_seed(3)).cumsum(dim=1)
    context[1, :40] = torch.nan  # two patches of 16 and a half; one of 32 and a quarter
    return Windows.of_context(context, 32)


def test_the_recipe_runs_and_its_terms_share_beta(tiny_teacher, small_csv, tmp_path):
    changes = {**SHORT, "training.max_steps": 4, "data.context_length": 64, "data.prediction_length": 32}
    changes |= {"data.stride": 1, "data.split": "8:1:1", "evaluation.baselines": []}
    recipe = Recipe.read(RECIPES / "feature-transfer.yaml", changes)
    run = potstill.distill(recipe, tmp_path / "run", teacher=tiny_teacher, data=small_csv, device="cpu")
    lines = log_lines(run, "train")
    assert len(lines) == 4
    for line in lines:
        terms = line["terms"]
        assert set(terms) == {"expected_pinball", "pinball", "hidden_relations", "attention_relations"}
        features = terms["hidden_relations"] + terms["attention_relations"]
        total = 0.6 * terms["expected_pinball"] + 0.1 * features + 0.2 * terms["pinball"]
        assert line["loss"] == pytest.approx(total, rel=1e-4)
        assert features > 0


TRAINED = [(name, term) for name in STUDENTS for term in FEATURES if name != "mixer" or "hidden" in term]
TRAINED.remove(("moirai", "attention_maps"))  # one head, the teacher two


@pytest.mark.parametrize(("name", "term"), TRAINED)
def test_a_term_alone_trains_a_student_of_any_family(tiny_teacher, windows, name, term):
    """A teacher with patches of 16 and a register token; students with patches of 8, 16 and 32."""
    teachers, student = {"tiny": load(tiny_teacher).freeze()}, student_of(name)
    objective = bound(student, teachers, {term: {}}, beta=1.0)
    optimizer = torch.optim.Adam([*student.module.parameters(), *objective.parameters()], lr=3e-3)
    losses = []
    for _ in range(15):
        total, values = objective(inputs_of(objective, student, teachers, windows))
        assert total.item() == pytest.approx(values[term].item(), rel=1e-5)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("name", "term", "key"),
    [
        ("mixer", "attention_maps", "objective.signal_missing"),
        ("mixer", "attention_relations", "objective.signal_missing"),
        ("moirai", "attention_maps", "objective.heads_differ"),
    ],
)
def test_a_student_without_what_a_term_compares_is_refused(tiny_teacher, name, term, key):
    with usage_error(key, term, "student"):
        bound(student_of(name), {"tiny": load(tiny_teacher)}, {term: {}})


@pytest.mark.parametrize("term", FEATURES)
@pytest.mark.parametrize("grouped", [False, True])
def test_a_window_has_the_same_value_in_any_batch(tiny_teacher, windows, term, grouped):
    """Also in groups, where the states of a patch of padding depend on the batch in upstream's attention."""
    teacher, student = load(tiny_teacher).freeze(), student_of("chronos2")
    student.module.eval()
    windows.group = torch.tensor([0, 0, 1, 1]) if grouped else None
    objective = bound(student, {"tiny": teacher}, {term: {}})
    with torch.no_grad():
        plain = objective.terms[term](inputs_of(objective, student, {"tiny": teacher}, windows))
        windows.context[2:] = 100 * torch.randn(2, 64)
        windows.context[3, :50] = torch.nan
        other = objective.terms[term](inputs_of(objective, student, {"tiny": teacher}, windows))
        apart = objective.terms[term](inputs_of(objective, student, {"tiny": teacher}, windows.take(slice(0, 2))))
    torch.testing.assert_close(other[:2], plain[:2], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(apart, plain[:2], atol=1e-5, rtol=1e-4)
    assert (plain > 0).all()


def test_a_teacher_that_reads_and_forecasts_more_is_compared_where_the_student_is(tiny_teacher, windows):
    """A student of 48 steps of context, at a horizon of 16 of the teacher's 32."""
    teacher = load(tiny_teacher).freeze()
    chosen = family("chronos2")
    student = chosen.build(chosen.design(None, STUDENTS["chronos2"], 48, 32), 0.0)
    objective = bound(student, {"tiny": teacher}, {name: {} for name in FEATURES})
    with torch.no_grad():
        taught = {"tiny": teacher.forward(windows, objective.teacher_requests(32)["tiny"])}
        output = student.forward(windows, objective.student_request(16))
    assert output.token_spans == (*((i, i + 16) for i in (-48, -32, -16)), None, (0, 16))
    values = {name: objective.terms[name](LossInputs(windows, output, taught)) for name in FEATURES}
    assert all(value.isfinite().all() and (value > 0).all() for value in values.values())
    for layer in taught["tiny"].hidden:  # what only the teacher sees has no effect
        taught["tiny"].hidden[layer][:, [0, 6]] = 1e3
    again = objective.terms["hidden_states"](LossInputs(windows, output, taught))
    torch.testing.assert_close(again, values["hidden_states"])


def test_with_several_teachers_every_teacher_is_compared(tiny_teacher, windows):
    student = student_of("chronos2")
    teachers = {"one": load(tiny_teacher).freeze(), "two": load(tiny_teacher).freeze()}
    for p in teachers["two"].module.parameters():
        p.data = p.data + 0.1 * torch.randn_like(p)
    both = bound(student, teachers, {"hidden_relations": {}})
    inputs = inputs_of(both, student, teachers, windows)
    alone = []
    for name, teacher in teachers.items():
        one = bound(student, {name: teacher}, {"hidden_relations": {}})
        alone.append(one.terms["hidden_relations"](inputs))
    torch.testing.assert_close(both.terms["hidden_relations"](inputs), (alone[0] + alone[1]) / 2)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


LANGUAGE = """
task: language
student: {{family: gpt2, start: random, overrides: {{n_layer: 2, n_embd: 16, n_head: 2}}}}
teacher: {teacher}
data: {{paths: [{data}], max_length: 200}}
objective:
  alpha: 0.4
  beta: 0.4
  terms:
    hidden_states: {{layers: [[0, 0], [1, 1]], distance: cosine}}
    hidden_relations: {{layers: last, distance: kl}}
    attention_maps: {{layers: skip}}
    attention_relations: {{layers: uniform, relations: [qk, vv], relation_heads: 4}}
training: {{learning_rate: 0.01, max_steps: 30, dropout: 0.0}}
"""


@pytest.fixture
def language_recipe(tmp_path: Path) -> Path:
    records = [{"instruction": f"Add {i}.", "output": f"Four, {i % 7}."} for i in range(40)]
    (tmp_path / "alpaca.json").write_text(json.dumps(records))
    teacher = save_gpt2(tmp_path / "teacher", positions=256)
    weights = load_file(teacher / "model.safetensors")
    for name in weights:  # an untrained GPT-2 attends to all tokens alike, which leaves nothing to learn
        weights[name] *= 5 if name.endswith("c_attn.weight") else 1
    save_file(weights, teacher / "model.safetensors", metadata={"format": "pt"})
    path = tmp_path / "recipe.yaml"
    path.write_text(LANGUAGE.format(teacher=teacher, data=tmp_path / "alpaca.json"))
    return path


def test_all_terms_train_a_language_model_from_yaml(language_recipe, tmp_path):
    run = potstill.distill(Recipe.read(language_recipe, SHORT), tmp_path / "run", device="cpu")
    lines = log_lines(run, "train")
    for line in lines:
        terms = line["terms"]
        assert set(terms) == {"kl", "cross_entropy", *FEATURES}
        features = sum(terms[name] for name in FEATURES)
        assert line["loss"] == pytest.approx(
            0.4 * terms["kl"] + 0.1 * features + 0.2 * terms["cross_entropy"], rel=1e-4
        )
    for name in FEATURES:
        early, late = (sum(line["terms"][name] for line in part) for part in (lines[:5], lines[-5:]))
        assert late < 0.95 * early, name
    saved = load_file(run / "checkpoints" / "student" / "checkpoint-30" / "model.safetensors")
    kept = {name: tuple(weight.shape) for name, weight in saved.items() if "projections" in name}
    assert kept == {f"objective.trained.hidden_states.projections.{place}.weight": (32, 16) for place in (0, 1)}
    assert not any("projections" in name for name in load_file(run / "student" / "model.safetensors"))


@pytest.mark.parametrize("term", FEATURES)
@pytest.mark.parametrize("language", [False, True])
def test_labels_hold_no_layers(tiny_teacher, small_csv, language_recipe, tmp_path, language, term):
    """The message names the term, the teacher and the way out, and nothing is written."""
    changes = {**SHORT, "labels": "auto", "objective.terms": {term: {}}, "training.max_steps": 2}
    if language:
        recipe = Recipe.read(language_recipe, changes)
    else:
        tree = {"teacher": str(tiny_teacher), "student": {"family": "chronos2", "overrides": STUDENTS["chronos2"]}}
        tree["data"] = {"paths": [str(small_csv)], "context_length": 64, "prediction_length": 32}
        recipe = Recipe.lay_over(tree, changes)
    with usage_error("objective.signal_missing", term, "teacher" if language else "tiny", "leave out labels"):
        potstill.distill(recipe, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
