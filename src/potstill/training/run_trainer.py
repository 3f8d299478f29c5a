"""What every trainer of a run does alike, ours and TRL's: its order, its log, its validation, its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import Trainer

from potstill.errors import UserError
from potstill.runs import write_folder
from potstill.training.callbacks import best_step
from potstill.training.checkpoints import keep_newest, seal
from potstill.training.sampler import PermutedSampler


class Diverged(UserError):
    """The training no longer gives numbers; the message names the step and the series of the batch."""


@dataclass
class TrainerHooks:
    """How a run follows its training.

    Attributes
    ----------
    validate
        Measures the student; returns figures, among them ``metric``.
    describe
        Names the series or examples of a batch for the message of a diverging run.
    metric
        The figure that picks the best checkpoint: the lowest.
    sampler
        The order of the ids; default: drawn windows as they come, others shuffled by arithmetic.
    """

    validate: Callable[[], dict[str, float]]
    describe: Callable[[Any], str]
    metric: str = "sql"
    sampler: Sampler[int] | None = None


# to the type checker this is the trainer that it stands before
_Base = Trainer if TYPE_CHECKING else object


class RunTrainer(_Base):
    """Stands before a ``transformers.Trainer`` among the bases of a class; ``dataset`` gives a batch for a list of ids.

    ``follow`` comes before the trainer's own ``__init__``, ``note`` with every batch.
    """

    watch: TrainerHooks
    dataset: Any

    def follow(self, watch: TrainerHooks, dataset: Any) -> None:
        """Begin with an empty log."""
        self.watch, self.dataset = watch, dataset
        self.term_sums: dict[str, Tensor] = {}
        self.term_steps = self.windows = 0

    def note(self, loss: Tensor, terms: dict[str, Tensor], batch: Any) -> None:
        """Count a batch's terms into the next line of the log; a loss that is no number stops the run."""
        if not math.isfinite(loss.item()):
            raise Diverged(
                f"The loss became {loss.item()} at step {self.state.global_step + 1}"
                f" ({', '.join(f'{k} {v.item():.4g}' for k, v in terms.items())}) on the series"
                f" {self.watch.describe(batch)}; the last checkpoint is kept."
                " Lower training.learning_rate or leave the series out."
            )
        for name, value in terms.items():
            self.term_sums[name] = self.term_sums.get(name, value.new_zeros(())) + value.detach()
        self.term_steps += 1
        self.windows += len(batch)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean of every term since the last line, and how many windows it was over."""
        if "loss" in logs and self.term_steps:
            logs.update({f"term_{k}": v.item() / self.term_steps for k, v in self.term_sums.items()})
            logs["windows"] = self.windows
            self.term_sums, self.term_steps, self.windows = {}, 0, 0
        super().log(logs, start_time)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The student's figures on the validation part, logged as ``eval_…``."""
        metrics = {f"eval_{name}": value for name, value in self.watch.validate().items()}
        # here, before a checkpoint of such weights is written
        if not math.isfinite(metrics[f"eval_{self.watch.metric}"]):
            raise Diverged(
                f"The student's answers on the validation part are no longer numbers at step {self.state.global_step};"
                " the last checkpoint is kept. Lower training.learning_rate or training.clip."
            )
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _send_telemetry(self) -> None:
        """Of TRL's trainers: nothing is sent. Potstill works without a network, and tells nobody that it is used."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        if self.watch.sampler is not None:
            return self.watch.sampler
        # windows drawn by hash of their id are shuffled already, and in order a longer run begins like a shorter one
        if self.dataset.stores_inputs:
            return SequentialSampler(self.dataset)
        return PermutedSampler(len(self.dataset), self.args.seed)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Upstream's checkpoint, written aside and renamed, so that a kill leaves the last good one."""
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        folder.parent.mkdir(parents=True, exist_ok=True)

        def fill(aside: Path) -> None:
            output_dir, self.args.output_dir = self.args.output_dir, str(aside)
            try:
                Trainer._save_checkpoint(self, model, trial)
            finally:
                self.args.output_dir = output_dir
            inner = aside / folder.name
            for file in inner.iterdir():
                file.rename(aside / file.name)
            inner.rmdir()
            seal(aside)

        write_folder(folder, fill)
        # the best student's optimiser and figures stay, too
        keep_newest(folder.parent, 2, best_step(self.state, self.watch.metric))
