"""Terms of the user's own files in whole runs: what they receive, how their weights fare, what is refused before a run.

The file that a recipe imports has two terms. ``likeness`` brings the means of the last layer's states together, through
a projection of its own; ``sharpness`` compares how sharply the heads look. Both keep what they were given.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_gpt2 import save_gpt2
from training_fakes import log_lines
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP
from usage_errors import usage_error

import potstill
from potstill.evaluation import cost
from potstill.objectives.base import USER_TERMS
from potstill.recipe import Recipe
from potstill.tasks.prepare import prepare
from potstill.training.trainer import DistillationTrainer
from potstill.types import Request

MINE = """
import torch
from torch import nn

from potstill.objectives.base import Requests, Term
from potstill.types import Request


def mean(states, mask):
    mask = torch.ones_like(states[..., 0], dtype=torch.bool) if mask is None else mask
    return torch.where(mask[..., None], states, 0.0).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


class Likeness(Term, nn.Module):
    name = "likeness"
    requires = {"hidden"}
    seen, infos = [], []

    def bind(self, student, teachers):
        ((name, teacher),) = teachers.items()
        self.infos.append((student, teacher))
        self.own, self.theirs = student.layers - 1, teacher.layers - 1
        self.project = nn.Linear(student.width, teacher.width)
        return Requests(Request(hidden=(self.own,)), {name: Request(hidden=(self.theirs,))})

    def __call__(self, inputs):
        self.seen.append(inputs)
        own = mean(inputs.student.hidden[self.own], inputs.student.token_mask)
        theirs = mean(inputs.teacher.hidden[self.theirs], inputs.teacher.token_mask)
        return (self.project(own) - theirs).square().mean(dim=1)


class Sharpness(Term):
    name = "sharpness"
    requires = {"attention"}
    seen = []

    def bind(self, student, teachers):
        ((name, teacher),) = teachers.items()
        return Requests(Request(attention=(0,)), {name: Request(attention=(0,))})

    def __call__(self, inputs):
        self.seen.append(inputs)
        own, theirs = (
            output.attention[0].amax(dim=3).flatten(1).mean(dim=1) for output in (inputs.student, inputs.teacher)
        )
        return (own - theirs).square()
"""
WEIGHT = "objective.trained.likeness.project.weight"
STUDENTS = {
    "chronos2": {"num_layers": 1, "d_model": 48, "num_heads": 1, "d_kv": 16, "d_ff": 32},
    "moirai": {"num_layers": 1, "d_model": 128, "patch_sizes": 16},
    "patch_transformer": {"num_layers": 3, "d_model": 24, "num_heads": 2, "d_ff": 32, "patch_size": 8},
    "mixer": {"num_layers": 2, "d_model": 16, "d_ff": 16, "patch_size": 16},
    "linear": {"window": 25, "rank": 8},
}
PAIRS = [
    ("chronos2", "chronos2"),
    ("chronos2", "patch_transformer"),
    ("chronos2", "mixer"),
    ("chronos2", "moirai"),
    ("moirai", "chronos2"),
    ("moirai", "patch_transformer"),
    ("language", "language"),
]
ATTENTIVE = [pair for pair in PAIRS if "mixer" not in pair]


@pytest.fixture(scope="session")
def tiny_moirai(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("uni2ts")
    from uni2ts.distribution import LogNormalOutput, MixtureOutput, NormalFixedScaleOutput, StudentTOutput
    from uni2ts.model.moirai import MoiraiModule

    torch.manual_seed(0)
    mixture = MixtureOutput([StudentTOutput(), NormalFixedScaleOutput(), LogNormalOutput()])
    folder = tmp_path_factory.mktemp("teacher") / "moirai"
    MoiraiModule(mixture, 64, 1, (16, 32), 512, 0.0, 0.0).save_pretrained(folder)
    return f"{folder}:patch_size=16"


@pytest.fixture(scope="session")
def tiny_language(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A GPT-2 and forty records."""
    folder = tmp_path_factory.mktemp("language")
    records = [{"instruction": f"What is two and {i}?", "output": f"Four, of course, {i % 7}."} for i in range(40)]
    (folder / "alpaca.json").write_text(json.dumps(records))
    return save_gpt2(folder / "teacher", positions=256), folder / "alpaca.json"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch, quick_trainer: None) -> Iterator[None]:
    """Costs are not what is tested; terms of one test are unknown to the next."""
    monkeypatch.setattr(cost, "LONGEST_PASS", 0.0)
    monkeypatch.setattr("potstill.tasks.forecasting.measure_costs", partial(cost.measure_costs, repeats=1))
    before = dict(USER_TERMS)
    yield
    USER_TERMS.clear()
    USER_TERMS.update(before)


@pytest.fixture
def recipe_of(tmp_path: Path, small_csv: Path, tiny_teacher: Path, request: pytest.FixtureRequest):
    """A recipe of six steps with a term of the file, for a teacher and a student by their families."""
    (tmp_path / "mine.py").write_text(MINE)

    def make(teacher: str, student: str, term: str, /, **changes: Any) -> Recipe:
        tree: dict[str, Any] = {
            "imports": [str(tmp_path / "mine.py")],
            "objective": {"terms": {term: {"weight": 0.5}}},
            "training": {
                "batch_size": 4,
                "max_steps": 6,
                "eval_steps": 2,
                "eval_windows": 4,
                "precision": "fp32",
                "learning_rate": 1e-3,
            },
        }
        if teacher == "language":
            folder, data = request.getfixturevalue("tiny_language")
            tree |= {"task": "language", "teacher": [str(folder)], "student": "gpt2:n_layer=1,n_embd=16,n_head=2"}
            tree |= {"data": {"paths": [str(data)], "max_length": 200}, "evaluation": {"max_windows": 4}}
        else:
            fixture = "tiny_teacher" if teacher == "chronos2" else f"tiny_{teacher}"
            tree["teacher"] = str(request.getfixturevalue(fixture))
            tree["student"] = {"family": student, "overrides": STUDENTS[student]}
            tree["data"] = {"paths": [str(small_csv)], "context_length": 64, "prediction_length": 32}
            tree["evaluation"] = {"baselines": [], "max_windows": 4}
        return Recipe.lay_over(tree, changes)

    return make


def need(*families: str) -> None:
    if "moirai" in families:
        pytest.importorskip("uni2ts")


@pytest.mark.parametrize(("teacher", "student"), PAIRS)
def test_a_term_receives_the_states_of_student_and_live_teacher(recipe_of, tmp_path, teacher, student):
    need(teacher, student)
    recipe = recipe_of(teacher, student, "likeness")
    run = potstill.distill(recipe, tmp_path / "run")
    term: Any = USER_TERMS["likeness"]
    (own, theirs), *_ = term.infos
    assert len(term.seen) >= 6
    inputs = term.seen[-1]
    states, taught = inputs.student.hidden, inputs.teacher.hidden
    assert set(states) == {own.layers - 1}
    assert set(taught) == {theirs.layers - 1}
    assert states[own.layers - 1].shape[::2] == (4, own.width)
    assert taught[theirs.layers - 1].shape[::2] == (4, theirs.width)
    assert all(value.requires_grad for value in states.values())
    assert not any(value.requires_grad for value in taught.values())
    for output, width in ((inputs.student, states), (inputs.teacher, taught)):
        (value,) = width.values()
        assert output.token_mask is None or output.token_mask.shape == value.shape[:2]
    assert_is_what_the_teacher_says(recipe, inputs, Request(hidden=tuple(taught)))
    values = [line["terms"]["likeness"] for line in log_lines(run, "train")]
    assert len(values) == 6
    assert all(math.isfinite(value) and value > 0 for value in values)


def assert_is_what_the_teacher_says(recipe: Recipe, inputs: Any, request: Request) -> None:
    """The same windows, given to a teacher that is loaded apart."""
    task = prepare(recipe)
    batch = task.dataset(task.steps).batch(inputs.batch.ids.tolist())
    assert task.teacher is not None
    with torch.no_grad():
        output = task.teacher.forward(batch, Request(task.horizon) | request)
    for name in ("hidden", "attention"):
        for layer, value in getattr(output, name).items():
            assert torch.allclose(getattr(inputs.teacher, name)[layer], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("teacher", "student"), ATTENTIVE)
def test_a_term_receives_the_attention_of_both(recipe_of, tmp_path, teacher, student):
    need(teacher, student)
    recipe = recipe_of(teacher, student, "sharpness")
    run = potstill.distill(recipe, tmp_path / "run")
    inputs = USER_TERMS["sharpness"].seen[-1]  # type: ignore[attr-defined]
    own, theirs = inputs.student.attention[0], inputs.teacher.attention[0]
    assert own.shape[0] == theirs.shape[0] == 4
    assert own.shape[2] == own.shape[3]
    assert own.requires_grad
    assert not theirs.requires_grad
    assert ((theirs >= 0) & (theirs <= 1 + 1e-5)).all()
    assert_is_what_the_teacher_says(recipe, inputs, Request(attention=(0,)))
    assert all(math.isfinite(line["terms"]["sharpness"]) for line in log_lines(run, "train"))


BOTH = """
from potstill.objectives.base import Requests, Term
from potstill.types import Request


class Both(Term):
    name = "both"
    requires = {"hidden"}
    seen = []

    def bind(self, student, teachers):
        return Requests(Request(hidden=(0,)), {name: Request(hidden=(i,)) for i, name in enumerate(teachers)})

    def __call__(self, inputs):
        self.seen.append(inputs)
        return inputs.student.hidden[0].square().mean(dim=(1, 2))
"""


def test_each_of_several_teachers_gives_the_layers_that_were_asked_of_it(recipe_of, tmp_path, tiny_teacher):
    (tmp_path / "both.py").write_text(BOTH)
    changes = {"imports": [str(tmp_path / "both.py")], "objective.terms": {"both": {}}}
    recipe = recipe_of("chronos2", "chronos2", "likeness", **changes)
    potstill.distill(recipe, tmp_path / "run", teacher=[f"one={tiny_teacher}", f"two={tiny_teacher}"])
    outputs = USER_TERMS["both"].seen[-1].teachers  # type: ignore[attr-defined]
    assert {name: set(output.hidden) for name, output in outputs.items()} == {"one": {0}, "two": {1}, "ensemble": set()}


def test_without_such_a_term_no_states_are_asked_for(recipe_of, tmp_path, monkeypatch):
    asked = []
    original = DistillationTrainer.compute_loss

    def watched(self, *given, **named):
        asked.append((self.step.requests, self.step.module.objective.student_request(32)))
        return original(self, *given, **named)

    monkeypatch.setattr(DistillationTrainer, "compute_loss", watched)
    potstill.distill(recipe_of("chronos2", "chronos2", "likeness", **{"objective.terms": {}}), tmp_path / "run")
    assert asked[0] == ({"tiny": Request(32)}, Request(32))


def checkpoint(run: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "student" / f"checkpoint-{step}" / "model.safetensors")


@pytest.fixture
def broken_off(monkeypatch: pytest.MonkeyPatch):
    """Runs a recipe until something ends it at its fifth step, one after a checkpoint, and then resumes it."""

    def run(recipe: Recipe, folder: Path) -> Path:
        own = DistillationTrainer.compute_loss

        def breaks(self, *given, **named):
            if self.state.global_step == 5:
                raise KeyboardInterrupt
            return own(self, *given, **named)

        with monkeypatch.context() as patch:
            patch.setattr(DistillationTrainer, "compute_loss", breaks)
            with pytest.raises(KeyboardInterrupt):
                potstill.distill(recipe, folder)
        assert not (folder / "checkpoints" / "student" / "checkpoint-6").exists()
        return potstill.distill(output=folder, resume=True)

    return run


@pytest.mark.parametrize("family", ["chronos2", "language"])
def test_a_projection_is_trained_kept_in_checkpoints_and_resumed_bit_for_bit(recipe_of, broken_off, tmp_path, family):
    recipe = recipe_of(family, family, "likeness", **{"training.dropout": 0.1})
    whole = potstill.distill(recipe, tmp_path / "whole")
    resumed = broken_off(recipe, tmp_path / "broken")
    early, late, again = checkpoint(whole, 4), checkpoint(whole, 6), checkpoint(resumed, 6)
    assert (late[WEIGHT] - early[WEIGHT]).abs().max() > 1e-5
    assert set(late) == set(again)
    assert all(torch.equal(late[name], again[name]) for name in late)
    assert log_lines(whole, "train")[-1]["loss"] == log_lines(resumed, "train")[-1]["loss"]
    saved = [(run / "student" / "model.safetensors").read_bytes() for run in (whole, resumed)]
    assert saved[0] == saved[1]
    names = load_file(whole / "student" / "model.safetensors")
    assert not any("project" in name or "objective" in name for name in names)
    assert potstill.load(whole).parameters == sum(p.numel() for p in potstill.load(whole).module.parameters())


def test_the_first_weights_of_a_projection_follow_from_the_seed_and_change_no_other_draw(recipe_of, tmp_path):
    rates = {"training.learning_rates": {"*": 1e-12}, "training.max_steps": 2}
    folders = [potstill.distill(recipe_of("chronos2", "chronos2", "likeness", **rates), tmp_path / n) for n in "ab"]
    plain = {**rates, "objective.terms": {}}
    folders.append(potstill.distill(recipe_of("chronos2", "chronos2", "likeness", **plain), tmp_path / "plain"))
    one, two, bare = (checkpoint(folder, 2) for folder in folders)
    assert torch.equal(one[WEIGHT], two[WEIGHT])
    assert WEIGHT not in bare
    assert all(torch.allclose(one[name], bare[name], atol=1e-9) for name in bare)


@pytest.mark.parametrize(
    ("teacher", "student", "term", "changes", "says"),
    [
        ("chronos2", "linear", "likeness", {}, ("likeness", "hidden", "student", "linear")),
        ("chronos2", "mixer", "sharpness", {}, ("sharpness", "attention", "student", "mixer")),
        ("bolt", "chronos2", "likeness", {}, ("likeness", "hidden", "bolt")),
        ("chronos2", "chronos2", "likeness", {"labels": "auto"}, ("likeness", "hidden", "tiny", "stored")),
        ("chronos2", "chronos2", "likeness", {"labels": "made"}, ("likeness", "hidden", "tiny", "stored")),
        ("language", "language", "likeness", {"labels": "auto"}, ("likeness", "hidden", "teacher", "stored")),
        ("language", "language", "likeness", {"labels": "made"}, ("likeness", "hidden", "teacher", "stored")),
        ("chronos2", "chronos2", "likeness", {"teacher": []}, ("teacher", "--teacher")),
    ],
)
def test_what_a_model_cannot_give_is_refused_before_a_run(recipe_of, tmp_path, teacher, student, term, changes, says):
    made = tmp_path / "labels"
    if changes.get("labels") == "made":
        potstill.label(recipe_of(teacher, student, term, **{"objective.terms": {}}), made)
        changes = {"labels": str(made)}
    kept = sorted(path.name for path in tmp_path.iterdir())
    with usage_error("objective.signal_missing" if changes.get("teacher") != [] else "teacher.missing", *says):
        potstill.distill(recipe_of(teacher, student, term, **changes), tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


@pytest.mark.parametrize(
    ("requests", "key", "facts"),
    [
        ("Requests(Request(hidden=(7,)))", "objective.no_such_layer", ("student", "layer 7", "1 layers")),
        ("Requests(Request(), {'other': Request(hidden=(0,))})", "objective.unknown_teacher", ("'other'", "tiny")),
    ],
)
def test_layers_and_teachers_that_are_not_there_are_named(recipe_of, tmp_path, requests, key, facts):
    recipe = recipe_of("chronos2", "chronos2", "likeness")
    (tmp_path / "mine.py").write_text(
        MINE.replace(
            "return Requests(Request(hidden=(self.own,)), {name: Request(hidden=(self.theirs,))})", f"return {requests}"
        )
    )
    with usage_error(key, "likeness", *facts):
        potstill.distill(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_feature_term_beside_kl_trains_a_language_student(recipe_of, tmp_path):
    settings = {"objective": {"alpha": 0.5, "beta": 0.3, "terms": {"likeness": {}}}, "student.start": "random"}
    settings |= {"training.max_steps": 60, "training.eval_steps": 30, "training.learning_rate": 3e-3}
    run = potstill.distill(recipe_of("language", "language", "likeness", **settings), tmp_path / "run")
    lines = log_lines(run, "train")
    for line in lines:
        assert set(line["terms"]) == {"kl", "cross_entropy", "likeness"}
        total = 0.5 * line["terms"]["kl"] + 0.3 * line["terms"]["likeness"] + 0.2 * line["terms"]["cross_entropy"]
        assert line["loss"] == pytest.approx(total, rel=1e-4)
    for name in ("kl", "likeness"):
        values = [line["terms"][name] for line in lines]
        assert sum(values[-10:]) < 0.8 * sum(values[:10]), name
    plain = {**settings, "objective": {"alpha": 0.5}}
    other = potstill.distill(recipe_of("language", "language", "likeness", **plain), tmp_path / "plain")
    assert potstill.load(run).fingerprint != potstill.load(other).fingerprint


@pytest.mark.parametrize(
    ("argument", "terms", "again"),
    [
        ("gradient_checkpointing", {}, 6),  # six steps of one block
        ("activation_checkpointing", {}, 6),
        ("activation_checkpointing", {"likeness": {}}, 0),  # whose states are read is computed once
    ],
)
def test_recomputed_activations_give_the_same_training(recipe_of, tmp_path, monkeypatch, argument, terms, again):
    runs, computed = [], []
    original = GPT2MLP.forward

    def counted(self, *given, **named):
        if self.training:  # the student alone, where it trains
            computed.append(name)
        return original(self, *given, **named)

    monkeypatch.setattr(GPT2MLP, "forward", counted)
    for name, on in (("plain", False), ("again", True)):
        changes = {"training.arguments": {argument: on}, "objective.terms": terms}
        recipe = recipe_of("language", "language", "likeness", **changes)
        runs.append(potstill.distill(recipe, tmp_path / name))
    losses = [[line["loss"] for line in log_lines(run, "train")] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert computed.count("again") == computed.count("plain") + again


def test_a_control_goes_without_the_term(recipe_of, tmp_path):
    changes = {"control": True, "control_steps": 2, "training.learning_rates": {"objective.*": 1e-4}}
    run = potstill.distill(recipe_of("chronos2", "chronos2", "likeness", **changes), tmp_path / "run")
    terms = {line["model"]: set(line["terms"]) for line in log_lines(run, "train")}
    assert terms == {"student": {"expected_pinball", "pinball", "likeness"}, "control": {"pinball"}}
