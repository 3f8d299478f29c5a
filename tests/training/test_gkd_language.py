"""TRL's GKD on language models: the same loss as ours off-policy, what the student writes, and that it learns."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_gpt2 import save_gpt2

pytest.importorskip("trl")

from potstill.families.language.family import LanguageFamily
from potstill.families.load import load_language
from potstill.objectives.objective import Objective
from potstill.recipe import LanguageGkd, LanguageObjective
from potstill.teaching.live import LiveTeachers
from potstill.training.gkd import gkd_trainer
from potstill.training.gkd.language import IGNORED_LABEL, LanguageGKDTrainer, prompts_of
from potstill.training.hooks import TrainerHooks
from potstill.training.step import DistillationModule, TrainingStep
from potstill.types import Tokens

HOOKS = TrainerHooks(dict, lambda ids, series: str(ids))  # these trainings are not validated


class Made:
    """Examples of 12 tokens, 4 to 8 of them prompt, the last row padded."""

    stores_inputs = True

    def __len__(self) -> int:
        return 64

    def batch(self, ids: list[int]) -> Tokens:
        draw = torch.Generator().manual_seed(int(ids[0]))
        tokens = torch.randint(2, 200, (len(ids), 12), generator=draw)
        first = torch.randint(4, 9, (len(ids), 1), generator=draw)
        place = torch.arange(12)
        attention = torch.ones(len(ids), 12, dtype=torch.bool)
        attention[-1, 10:] = False
        return Tokens(tokens, attention, (place >= first) & attention, torch.tensor(ids))


@pytest.fixture
def models(tmp_path: Path) -> SimpleNamespace:
    teacher = load_language(save_gpt2(tmp_path / "teacher")).freeze()
    torch.manual_seed(1)
    family = LanguageFamily()
    shape = family.design(teacher, {"model_type": "gpt2", "n_layer": 1, "n_embd": 16, "n_head": 2}, 64, 0)
    return SimpleNamespace(teacher=teacher, student=family.build(shape, 0.0, teacher))


def trainer_of(models: SimpleNamespace, folder: Path, steps: int = 1, **gkd: Any) -> LanguageGKDTrainer:
    config = LanguageGkd.model_validate(
        {"batch_size": 4, "learning_rate": 3e-3, "gkd": {"max_new_tokens": 6, **gkd}}
        | {"precision": "fp32", "schedule": "constant_with_warmup", "warmup": 0.0}
    )
    settings = (config, folder, steps, "cpu")
    trainer = gkd_trainer(models.student, models.teacher, settings, Made(), HOOKS, 0, [])
    assert isinstance(trainer, LanguageGKDTrainer)
    return trainer


def inputs_of(trainer: LanguageGKDTrainer) -> dict[str, Any]:
    return trainer.data_collator([{"example": i} for i in range(4)])


def test_prompts_end_where_the_last_answer_begins():
    tokens = torch.arange(24).reshape(3, 8)
    answer = torch.zeros(3, 8, dtype=torch.bool)
    answer[0, 5:7] = True  # padded behind
    answer[1, 2:4] = answer[1, 6:] = True  # two answers: the last one is to be written
    answer[2] = True  # plain text
    prompts, seen = prompts_of(Tokens(tokens, torch.ones_like(answer), answer, torch.arange(3)))
    assert prompts[0, 1:].tolist() == [0, 1, 2, 3, 4]
    assert prompts[1].tolist() == [8, 9, 10, 11, 12, 13]
    assert prompts[2, -1].item() == 16
    assert seen.sum(dim=1).tolist() == [5, 6, 1]
    assert seen[0].tolist() == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(("beta", "term"), [(0.0, "kl"), (1.0, "reverse_kl"), (0.3, "jsd")])
def test_on_the_data_trls_loss_is_that_of_our_term(models, tmp_path, beta, term):
    trainer = trainer_of(models, tmp_path, beta=beta)
    theirs = trainer.compute_loss(models.student.module, inputs_of(trainer))
    batch = Made().batch([0, 1, 2, 3])
    # TRL's β is the teacher's share, too
    options = {"soft": term, "alpha": 1.0, "temperature": 1.0, "hard": "cross_entropy"}
    extra = {"alpha": 0.0, "terms": {"jsd": {"weight": 1.0, "beta": beta}}} if term == "jsd" else {}
    config = LanguageObjective.model_validate({**options, **extra} | ({"soft": "kl"} if extra else {}))
    live, objective = LiveTeachers({"teacher": models.teacher}), Objective(config)
    objective.bind(models.student.info, live.infos)
    module = DistillationModule(models.student, objective)
    _, terms = TrainingStep(module, live, 0, seed=0)(module, batch, None, 0)
    assert theirs.item() == pytest.approx(terms[term].item(), rel=1e-4)


def test_what_the_student_writes_is_padded_behind_and_keeps_its_prompt(models, tmp_path):
    trainer = trainer_of(models, tmp_path, lmbda=1.0)
    inputs = inputs_of(trainer)
    torch.manual_seed(0)
    tokens, mask, labels = trainer.generate_on_policy_outputs(models.student.module, inputs, trainer.generation_config)
    batch = inputs["batch"]
    assert (mask.diff(dim=1) <= 0).all()
    for row in range(4):
        prompt = int(inputs["prompt_attention_mask"][row].sum())
        assert tokens[row, :prompt].equal(batch.input_ids[row, :prompt])
        assert (labels[row, :prompt] == IGNORED_LABEL).all()
        written = int(mask[row].sum()) - prompt
        assert 1 <= written <= 6
        assert labels[row, prompt : prompt + written].equal(tokens[row, prompt : prompt + written])
        assert (labels[row, prompt + written :] == IGNORED_LABEL).all()


def test_what_is_written_fits_into_the_models(models, tmp_path):
    trainer = trainer_of(models, tmp_path, max_new_tokens=500)
    assert trainer.max_length == 64  # the teacher's; the student reads more
    tokens, _, _ = trainer.generate_on_policy_outputs(
        models.student.module, inputs_of(trainer), trainer.generation_config
    )
    assert tokens.shape[1] <= 64


@pytest.mark.parametrize("kind", [{"lmbda": 0.0}, {"lmbda": 1.0}, {"lmbda": 0.0, "seq_kd": True}])
def test_the_student_learns(models, tmp_path, kind):
    trainer = trainer_of(models, tmp_path, steps=60, beta=0.0, **kind)
    asked: list[Any] = []
    for model, name in ((models.student.module, "student"), (models.teacher.module, "teacher")):
        original = model.generate
        model.generate = lambda *a, _o=original, _n=name, **k: asked.append(_n) or _o(*a, **k)
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    wanted = "student" if kind["lmbda"] == 1.0 else "teacher" if "seq_kd" in kind else None
    assert set(asked) == ({wanted} if wanted else set())
    assert len(asked) == (60 if wanted else 0)


def test_terms_and_windows_are_logged(models, tmp_path):
    trainer = trainer_of(models, tmp_path, steps=4)
    trainer.train()
    line = next(line for line in trainer.state.log_history if "loss" in line)
    assert line["term_gkd"] == pytest.approx(line["loss"], rel=1e-3)
    assert line["windows"] == 4
    json.dumps(line)


def test_answers_are_written_in_evaluation_mode_and_without_a_models_own_taste(models, tmp_path):
    models.teacher.module.generation_config.update(repetition_penalty=5.0, no_repeat_ngram_size=1, num_beams=3)
    trainer = trainer_of(models, tmp_path, lmbda=0.0, seq_kd=True)
    seen: list[Any] = []
    original = models.teacher.module._prepare_generation_config

    def watch(*given: Any, **named: Any) -> Any:
        found = original(*given, **named)
        seen.append((found[0], models.teacher.module.training))
        return found

    models.teacher.module._prepare_generation_config = watch
    trainer.train()
    config, training = seen[0]
    assert (config.repetition_penalty, config.no_repeat_ngram_size, config.num_beams) == (1.0, 0, 1)
    assert not training


def test_the_models_are_left_as_they_were(models, tmp_path):
    cached = models.student.module.config.use_cache
    trainer = trainer_of(models, tmp_path, steps=2)
    trainer.train()
    assert models.student.module.config.use_cache == cached
    assert all("forward" not in vars(model.module) for model in (models.student, models.teacher))


def test_every_setting_of_gkd_reaches_trl(models, tmp_path):
    settings = {"lmbda": 0.25, "beta": 0.75, "seq_kd": True, "max_new_tokens": 3, "temperature": 0.4}
    trainer = trainer_of(models, tmp_path, **settings)
    assert (trainer.lmbda, trainer.beta, trainer.seq_kd) == (0.25, 0.75, True)
    assert (trainer.generation_config.max_new_tokens, trainer.generation_config.temperature) == (3, 0.4)
