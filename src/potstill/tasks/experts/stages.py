"""The stages of a mixture before and after the training of its router: the choice of experts, and joint training."""

from __future__ import annotations

import math
from typing import Any

import torch

from potstill.console import say
from potstill.families.experts.model import Mixture
from potstill.ranks import on_main
from potstill.runs import write_folder
from potstill.tasks.stages import RunState, write_recipe
from potstill.teaching.base import TrainingData

_TEMPERATURES = (1.0, 0.5, 0.25)


def choose_experts(state: RunState) -> None:
    """Leave out experts one by one until as many are left as the recipe allows; each time a new router is trained.

    Starting with one expert and adding others needs a router for every subset that is tried: in a router over all
    candidates similar experts share their weight, so that a subset with one of them is judged too badly.
    """
    task: Any = state.task
    while len(task.experts) > task.recipe.most_experts:
        count = len(task.experts)
        say(f"Training a router over {count} candidates, of which {task.recipe.most_experts} will be kept")
        name = f"candidates_{count}"
        task.training(name, state.data, task.steps, state.validate).run(state.folder, state.resume)
        mixture = task.open(name, state.folder / name)
        dropped, loss = on_main(lambda mixture=mixture: least_useful(mixture, state.validate))
        say(f"Left out: {dropped}; without it the validation loss is {loss:.4f}")
        names = [name for name in task.experts if name != dropped]
        task.keep(names)
        write_recipe(task, state.folder)
        state.data.dataset = state.data.dataset.of(names)
        state.validate = task.validation()


@torch.no_grad()
def least_useful(mixture: Mixture, validate: Any) -> tuple[str, float]:
    """The expert without which the mixture's validation loss is lowest, and that loss.

    An expert is left out of the router's softmax. Its probability then goes to all others, where a new router would
    give it to the most similar one; so the loss is that of the best of three temperatures of the softmax.
    """
    last: Any = mixture.router.network[-1]
    weight, bias = last.weight.clone(), last.bias.clone()
    losses = {}
    for number, name in enumerate(mixture.experts):
        tried = []
        for temperature in _TEMPERATURES:
            last.weight.copy_(weight / temperature)
            last.bias.copy_(bias / temperature)
            last.bias[number] = -math.inf
            tried.append(validate(mixture)["sql"])
        losses[name] = min(tried)
    last.weight.copy_(weight)
    last.bias.copy_(bias)
    name = min(losses, key=lambda one: losses[one])
    return name, losses[name]


def train_jointly(state: RunState) -> None:
    """Train router and experts together; the result is kept if its validation loss is lower."""
    task: Any = state.task
    config, validate = task.recipe.joint, task.live_validation()
    say(f"Training router and experts together: {config.max_steps:,} steps of batches of {config.batch_size}")
    mixture = task.open("student", state.folder / "student")
    mixture.module.requires_grad_(True)
    mixture.router.settings.gate, mixture.spread = 0.0, 1.0
    training = task.training_of(
        "joint",
        mixture,
        task.objective(),
        TrainingData(task.plain_dataset(config.max_steps), state.data.provider),
        validate=validate,
        steps=config.max_steps,
        config={
            "batch_size": config.batch_size,
            "learning_rate": config.learning_rate,
            "learning_rates": {"student.experts.*": config.expert_learning_rate},
        },
    )
    training.run(state.folder, state.resume)
    before = task.open("student", state.folder / "student")
    after = task.open("joint", state.folder / "joint")
    say(*on_main(lambda: task.calibrate(after, validate, "mixture")))
    if state.resume and before.fingerprint == after.fingerprint:  # a resumed run that had already kept it
        say("Joint training was kept before the interruption")
        state.models["student"] = after
        return
    losses = on_main(lambda: [validate(model)["sql"] for model in (before, after)])
    kept = losses[1] < losses[0]
    verdict = "kept" if kept else "not kept: the experts stay as they were"
    say(f"Joint training changes the validation loss from {losses[0]:.4f} to {losses[1]:.4f}; it is {verdict}")
    if kept:
        on_main(lambda: write_folder(state.folder / "student", after.save))
    state.models["student"] = after if kept else before
