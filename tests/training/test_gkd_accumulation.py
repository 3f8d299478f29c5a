"""TRL's GKD on language models: an optimizer step is one mean over its answer tokens, however it is cut."""

from __future__ import annotations

import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_gpt2 import save_gpt2

pytest.importorskip("trl")

from potstill.families.language.family import LanguageFamily
from potstill.families.load import load_language
from potstill.recipe import LanguageGkd
from potstill.training.gkd import gkd_trainer
from potstill.training.gkd.language import LanguageGKDTrainer
from potstill.training.hooks import TrainerHooks
from potstill.types import Tokens

HOOKS = TrainerHooks(dict, lambda ids, series: str(ids))  # these trainings are not validated
EXAMPLES, PROMPT = 8, 3
ANSWERS = [1, 25, 2, 19, 30, 1, 3, 14]  # tokens


class Uneven:
    """Examples with a prompt of 3 tokens and answers of 1 to 30, padded to the longest of their batch."""

    stores_inputs = True  # read in order

    def __len__(self) -> int:
        return EXAMPLES

    def batch(self, ids: list[int]) -> Tokens:
        every = torch.randint(2, 200, (EXAMPLES, PROMPT + max(ANSWERS)), generator=torch.Generator().manual_seed(0))
        ends = PROMPT + torch.tensor([ANSWERS[i] for i in ids])
        place = torch.arange(int(ends.max()))
        attention = place < ends[:, None]
        return Tokens(every[ids][:, : len(place)], attention, attention & (place >= PROMPT), torch.tensor(ids))


def trainer_of(teacher: Path, folder: Path, size: int, accumulate: int, **gkd: Any) -> LanguageGKDTrainer:
    """A trainer of one epoch, with the same first weights each time and plain gradient descent."""
    models = load_language(teacher).freeze()
    torch.manual_seed(1)
    family = LanguageFamily()
    shape = family.design(models, {"model_type": "gpt2", "n_layer": 1, "n_embd": 16, "n_head": 2}, 64, 0)
    config = LanguageGkd.model_validate(
        {"batch_size": size, "accumulate": accumulate, "learning_rate": 0.1, "clip": 1e6, "weight_decay": 0.0}
        | {"precision": "fp32", "schedule": "constant_with_warmup", "warmup": 0.0, "gkd": gkd}
        | {"eval_steps": 100, "arguments": {"optim": "sgd"}}
    )
    steps = -(-EXAMPLES // (size * accumulate * int(os.environ.get("WORLD_SIZE", 1))))
    student = family.build(shape, 0.0, models)
    trainer = gkd_trainer(student, models, (config, folder, steps, "cpu"), Uneven(), HOOKS, 0, [])
    assert isinstance(trainer, LanguageGKDTrainer)
    for model in (trainer.model, trainer.teacher_model):
        vars(model)["generate"] = answer_by_prompt
    return trainer


def answer_by_prompt(input_ids: torch.Tensor, **_: Any) -> Any:
    """Answers of 1 to 30 tokens that depend on the prompt only; token 0 ends them."""
    lengths = input_ids[:, -1] % 30
    place = torch.arange(int(lengths.max()) + 1)
    answers = torch.where(place < lengths[:, None], (input_ids[:, -1:] * (place + 7)) % 190 + 2, 0)
    return type("Generated", (), {"sequences": torch.cat([input_ids, answers], dim=1)})


def trained(trainer: LanguageGKDTrainer) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    trainer.train()
    assert trainer.model is not None
    weights = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    return weights, [line for line in trainer.state.log_history if "loss" in line]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("teacher") / "teacher")


def kl_by_hand(trainer: LanguageGKDTrainer, rows: list[list[int]]) -> float:
    """KL(teacher ‖ student) per answer token, over sequences whose prompt has three tokens, one by one."""
    total, count = 0.0, 0
    for row in rows:
        with torch.no_grad():
            student, teacher = (
                model(input_ids=torch.tensor([row])).logits[0].double().log_softmax(-1)
                for model in (trainer.model, trainer.teacher_model)
            )
        divergence = (teacher.exp() * (teacher - student)).sum(-1)[PROMPT - 1 : -1]
        total, count = total + divergence.sum().item(), count + len(divergence)
    return total / count


def sequences(generated: bool) -> list[list[int]]:
    rows = []
    for i, length in enumerate(ANSWERS):
        row = Uneven().batch([i]).input_ids[0].tolist()
        if generated:
            answer = answer_by_prompt(torch.tensor([row[:PROMPT]])).sequences[0].tolist()
            row = answer[: answer.index(0, PROMPT) + 1]  # the end of text is part of the answer
        else:
            row = row[: PROMPT + length]
        rows.append(row)
    return rows


ALGORITHMS = [{"lmbda": 0.0}, {"lmbda": 1.0}, {"lmbda": 0.0, "seq_kd": True}]


@pytest.mark.parametrize("beta", [0.0, 0.5])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_batches_of_a_step_are_one_mean_over_their_tokens(teacher, tmp_path, algorithm, beta):
    settings = {**algorithm, "beta": beta}
    whole = trainer_of(teacher, tmp_path / "8x1", 8, 1, **settings)
    by_hand = kl_by_hand(whole, sequences("seq_kd" in algorithm or algorithm["lmbda"] == 1.0))
    at_once, (first,) = trained(whole)
    for size, accumulate in ((2, 4), (3, 3)):  # the second has batches of three, three and two examples
        cut, (line,) = trained(trainer_of(teacher, tmp_path / f"{size}x{accumulate}", size, accumulate, **settings))
        for name, weight in at_once.items():
            assert torch.allclose(cut[name], weight, rtol=0, atol=2e-6), name
        assert line["loss"] == pytest.approx(first["loss"], rel=1e-4)
        assert line["term_gkd"] == pytest.approx(first["loss"], rel=1e-4)
        if beta == 0.0:
            assert line["loss"] == pytest.approx(by_hand, rel=1e-4)


def test_the_last_step_of_an_epoch_has_fewer_batches(teacher, tmp_path):
    """Six examples make the first step, two the second: both are means over their own tokens."""
    cut, lines = trained(trainer_of(teacher, tmp_path / "cut", 2, 3, lmbda=0.0, beta=0.0))
    whole, expected = trained(trainer_of(teacher, tmp_path / "whole", 6, 1, lmbda=0.0, beta=0.0))
    assert [line["loss"] for line in lines] == pytest.approx([line["loss"] for line in expected], rel=1e-4)
    for name, weight in whole.items():
        assert torch.allclose(cut[name], weight, rtol=0, atol=2e-6), name


def one_of_two(rank: int, port: int, teacher: Path, folder: Path) -> None:
    """A process of two: batches of two examples, two per step."""
    shared = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()})
    outcome = trained(trainer_of(teacher, folder / "run", 2, 2, lmbda=1.0, beta=0.5))
    torch.save(outcome, folder / f"{rank}.pt")


def test_processes_of_a_step_are_one_mean_over_their_tokens(teacher, tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["potstill.training.gkd"])
    children = [context.Process(target=one_of_two, args=(rank, port, teacher, tmp_path)) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    whole, (first,) = trained(trainer_of(teacher, tmp_path / "whole", 8, 1, lmbda=1.0, beta=0.5))
    for rank in range(2):
        weights, lines = torch.load(tmp_path / f"{rank}.pt")
        for name, weight in whole.items():
            assert torch.allclose(weights[name.removeprefix("module.")], weight, rtol=0, atol=2e-6), name
        if rank == 0:
            assert lines[0]["loss"] == pytest.approx(first["loss"], rel=1e-4)
