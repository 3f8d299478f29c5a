"""What all trainers of a run share, Potstill's and TRL's: order of the data, log, validation and checkpoints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, SequentialSampler
from transformers import Trainer

from potstill.errors import UserError
from potstill.ranks import barrier, gathered, is_main, on_main, rank, world_size
from potstill.runs import begin_folder, put_in_place
from potstill.training.callbacks import best_step
from potstill.training.checkpoints import keep_newest, seal
from potstill.training.sampler import PermutedSampler, SharedBatches
from potstill.training.sharding import is_sharded, shard_state, whole_state


class Diverged(UserError):
    """The loss or the forecasts are no longer finite; the message names the step and the series of the batch."""

    key = "training.diverged"


@dataclass
class TrainerHooks:
    """What a run supplies to its trainer.

    Attributes
    ----------
    validate
        Returns validation metrics of the student, including ``metric``. Called in all processes.
    describe
        Returns the names of the series or examples of a batch, from its ids ``[B]`` and its series ``[B]`` (None for
        text), for the message of a diverging run.
    metric
        The metric that selects the best checkpoint; lower is better.
    sampler
        The order of the ids; default: generated windows in order, others shuffled by a permutation of their ids.
    """

    validate: Callable[[], dict[str, float]]
    describe: Callable[[Tensor, Tensor | None], str]
    metric: str = "sql"
    sampler: Sampler[int] | None = None


class _LoggedBatch(NamedTuple):
    """Loss, terms and ids of one batch since the last log line."""

    step: int
    loss: Tensor
    terms: dict[str, Tensor]
    ids: Tensor
    series: Tensor | None


# type checkers see the Trainer that the mixin is combined with
_Base = Trainer if TYPE_CHECKING else object


class RunTrainer(_Base):
    """A mixin that precedes ``transformers.Trainer`` in the bases of a class.

    ``dataset.batch`` returns a batch for a list of ids. Call ``follow`` before the trainer's
    ``__init__``, and ``note`` with every batch.
    """

    hooks: TrainerHooks
    dataset: Any

    def follow(self, hooks: TrainerHooks, dataset: Any) -> None:
        """Set the hooks and begin with empty counters for the log."""
        self.hooks, self.dataset = hooks, dataset
        self.term_sums: dict[str, Tensor] = {}
        self.term_counts: Counter[str] = Counter()
        self.windows = 0
        self.since_log: list[_LoggedBatch] = []

    def note(self, loss: Tensor, terms: dict[str, Tensor], batch: Any, windows: int | None = None) -> None:
        """Add a batch's terms to the next log line, without synchronising with the device.

        ``windows`` are those that count; default: all of the batch.
        """
        for name, value in terms.items():
            self.term_sums[name] = self.term_sums.get(name, value.new_zeros(())) + value.detach()
        self.term_counts.update(terms.keys())
        self.windows += len(batch) if windows is None else windows
        series = getattr(batch, "series", None)
        # copies: a tensor sent by a worker process keeps a file open as long as it exists
        ids, series = batch.ids.clone(), None if series is None else series.clone()
        self.since_log.append(_LoggedBatch(self.state.global_step + 1, loss.detach(), terms, ids, series))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with the mean of every term since the last line over the batches that had it, and the number of windows.

        All figures are those of all processes.

        Raises
        ------
        Diverged
            In all processes, if one of the losses since the last line is not finite in one of them.
        """
        if "loss" in logs and self.since_log:
            sums = {name: value.item() for name, value in self.term_sums.items()}
            diverged, sums, counts, windows = zip(
                *gathered((self._divergence(), sums, self.term_counts, self.windows)), strict=True
            )
            for message in filter(None, diverged):
                raise Diverged(message)
            names = dict.fromkeys(name for one in counts for name in one)
            logs.update({f"term_{n}": sum(s.get(n, 0) for s in sums) / sum(c[n] for c in counts) for n in names})
            logs["windows"] = sum(windows)
            self.term_sums, self.term_counts, self.windows, self.since_log = {}, Counter(), 0, []
        super().log(logs, start_time)

    def _divergence(self) -> str | None:
        """A sentence about the first loss since the last line that is not finite; None if all are."""
        finite = torch.stack([batch.loss for batch in self.since_log]).isfinite().tolist()
        if all(finite):
            return None
        first = self.since_log[finite.index(False)]
        terms = ", ".join(f"{name} {value.item():.4g}" for name, value in first.terms.items())
        return (
            f"The loss became {first.loss.item()} at step {first.step} ({terms}) on the series"
            f" {self.hooks.describe(first.ids, first.series)}; the last checkpoint is kept."
            " Lower training.learning_rate or leave the series out."
        )

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The student's metrics on the validation part, logged as ``eval_…``."""
        metrics = {f"eval_{name}": value for name, value in self.hooks.validate().items()}
        # checked here, before a checkpoint of these weights is written
        if not math.isfinite(metrics[f"eval_{self.hooks.metric}"]):
            raise Diverged(
                f"The student's forecasts on the validation part are not finite at step {self.state.global_step};"
                " the last checkpoint is kept. Lower training.learning_rate or training.clip."
            )
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _send_telemetry(self) -> None:
        """TRL's trainers call this; Potstill sends no telemetry."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        if self.hooks.sampler is not None:
            return self.hooks.sampler
        # generated windows are already shuffled by a hash of their id; in order, a longer run begins like a shorter one
        if self.dataset.stores_inputs:
            return SequentialSampler(self.dataset)
        return PermutedSampler(len(self.dataset), self.args.seed)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The data loader of transformers; of several processes each reads its part of every batch."""
        loader = super().get_train_dataloader()
        shard: Any = loader.batch_sampler
        if world_size() > 1:
            # accelerate's own division repeats windows at the end of an epoch; transformers switches it off like this
            together, shard.batch_size, shard.num_processes, shard.process_index = shard.batch_sampler, None, 1, 0
            shard.batch_sampler = SharedBatches(
                together.sampler, together.batch_size, together.drop_last, rank(), world_size()
            )
        return loader

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """The checkpoint of transformers, written to a temporary folder and renamed, so that it is atomic.

        The main process writes all files.
        """
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        temporary = on_main(lambda: begin_folder(folder))
        output_dir, self.args.output_dir = self.args.output_dir, str(temporary)
        try:
            Trainer._save_checkpoint(self, model, trial)
        finally:
            self.args.output_dir = output_dir
        barrier()
        on_main(lambda: self._finish_checkpoint(temporary, folder))

    def _save_rng_state(self, output_dir: str) -> None:
        """The state of the random number generators of each process, all written by the main process."""
        with TemporaryDirectory() as own:
            super()._save_rng_state(own)
            files = {file.name: file.read_bytes() for file in Path(own).iterdir()}
        for name, content in (pair for one in gathered(files) for pair in one.items()):
            if is_main():
                (Path(output_dir) / name).write_bytes(content)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """That of transformers; the state of a sharded optimizer is written whole."""
        trainer: Any = self
        if not is_sharded(trainer.model):
            super()._save_optimizer_and_scheduler(output_dir)
            return
        state = whole_state(self.optimizer)
        if is_main():
            torch.save(state, Path(output_dir) / "optimizer.pt")
            torch.save(trainer.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        shard_state(self.optimizer)

    @contextmanager
    def _defer_fsdp_gradient_reduction(self) -> Iterator[None]:
        """Gradients of sharded weights are summed over processes with the last batch of a step."""
        module: Any = self.model
        module.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            module.set_requires_gradient_sync(True)

    def _finish_checkpoint(self, temporary: Path, folder: Path) -> None:
        inner = temporary / folder.name
        for file in inner.iterdir():
            file.rename(temporary / file.name)
        inner.rmdir()
        seal(temporary)
        put_in_place(temporary, folder)
        # the checkpoint of the best student is kept, too
        keep_newest(folder.parent, 2, best_step(self.state, self.hooks.metric))
