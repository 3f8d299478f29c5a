"""The trainer of the algorithm ``offline``: ``transformers.Trainer``, subclassed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from potstill.errors import UserError
from potstill.ranks import one_batch, world_size
from potstill.teaching.base import TrainingData
from potstill.training.batches import TrainingBatches, identity_collator
from potstill.training.hooks import RunTrainer, TrainerHooks
from potstill.training.sharding import is_sharded
from potstill.training.step import TrainingStep


class DistillationTrainer(RunTrainer, Trainer):
    """Trains student and objective on windows or text.

    Parameters
    ----------
    step
        Computes the loss of a batch; its module is trained.
    data
        The data set, and the provider of the teachers' outputs.
    arguments
        From :func:`potstill.training.arguments.training_arguments`.
    hooks
        What the run supplies: validation, order of the data, names for messages.
    learning_rates
        Learning rates by pattern of weight names (``student.*``, ``objective.*``); the first match counts, all other
        weights use the rate of the arguments.
    """

    def __init__(
        self,
        step: TrainingStep,
        data: TrainingData,
        arguments: TrainingArguments,
        hooks: TrainerHooks,
        *,
        learning_rates: Mapping[str, float] | None = None,
        callbacks: list[Any],
    ):
        self.follow(hooks, data.dataset)
        self.step, self.learning_rates = step, learning_rates or {}
        self.totals: Counter[str] = Counter()
        super().__init__(
            model=step.module,
            args=arguments,
            train_dataset=TrainingBatches(data, arguments.gradient_accumulation_steps * world_size() > 1),
            data_collator=identity_collator,
            callbacks=callbacks,
        )
        if is_sharded(step.module):  # as a model that transformers itself has sharded: it is not wrapped again
            self.is_distributed_loading_by_transformers = self._mixed_mesh_grads = True

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """The loss of a batch, weighted so that the batches of an optimizer step together yield their mean."""
        batch, shares = inputs["batch"], self._shares(inputs["units"])  # the data loader has moved them to the device
        with one_batch():
            loss, terms = self.step(model, batch, inputs["targets"], self.state.global_step, shares)
        self.note(loss, terms, batch, inputs["units"].get("windows"))
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log losses together with α at the newest step."""
        if "loss" in logs:
            logs["alpha"] = self.step.alpha(self.state.global_step - 1)
        super().log(logs, start_time)

    def _shares(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Per unit, the weight of this batch's mean among all batches of the step (1 if it is the only one)."""
        batches = self.current_gradient_accumulation_steps * world_size()
        if batches == 1:
            return {}
        return {unit: count * batches / max(1, self.totals[unit]) for unit, count in counts.items()}

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> None:
        """Count the units in all batches of an optimizer step, over all processes."""
        if len(batch_samples) * world_size() == 1:
            return
        counts: Counter[str] = Counter()
        for sample in batch_samples:
            counts.update(sample["units"])
        self.totals = counts if world_size() == 1 else self._summed(counts, device)

    def _summed(self, counts: Counter[str], device: torch.device) -> Counter[str]:
        names = sorted(counts)
        summed = self.accelerator.reduce(torch.tensor([counts[name] for name in names], device=device))
        assert isinstance(summed, Tensor)
        return Counter(dict(zip(names, summed.tolist(), strict=True)))

    def create_optimizer(self, model: Any = None) -> Any:
        """The optimizer of transformers, with parameter groups split where weights have separate learning rates."""
        optimizer: Any = super().create_optimizer(model)
        if self.learning_rates:
            module: nn.Module = self.step.module  # self.model may be wrapped, which changes the names
            names = {p: _recipe_name(name) for name, p in module.named_parameters()}
            groups = list(optimizer.param_groups)
            optimizer.param_groups.clear()
            for group in groups:
                for rate, weights in _by_rate(group["params"], names, self.learning_rates).items():
                    lr = {} if rate is None else {"lr": rate, "initial_lr": rate}
                    optimizer.add_param_group({**group, **lr, "params": weights})
        return optimizer


def _recipe_name(name: str) -> str:
    """The name of a weight as used in recipes."""
    return name.replace("student_module.", "student.", 1).replace("objective.trained.", "objective.", 1)


def check_rates(patterns: Mapping[str, float], module: nn.Module) -> None:
    """Raise UserError for a pattern that matches none of the weights of student and objective."""
    names = [_recipe_name(name) for name, _ in module.named_parameters()]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise UserError(
                f"training.learning_rates: {pattern!r} matches no weight; use names such as {names[0]}.",
                key="training.pattern_without_weights",
            )


def _by_rate(
    weights: list[Any], names: Mapping[Any, str], patterns: Mapping[str, float]
) -> dict[float | None, list[Any]]:
    """The weights of a group by their learning rate; None: the default."""
    groups: dict[float | None, list[Any]] = {}
    for weight in weights:
        rate = next((rate for pattern, rate in patterns.items() if fnmatch(names[weight], pattern)), None)
        groups.setdefault(rate, []).append(weight)
    return groups
