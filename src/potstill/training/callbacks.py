"""Trainer callbacks: evaluation, logging, keeping the best student, stopping early or on a signal."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from potstill.console import progress_bar
from potstill.ranks import gathered
from potstill.runs import write_atomically


class Evaluations(TrainerCallback):
    """Evaluates every ``every`` steps and at the end; stops after ``patience`` evaluations without improvement.

    ``metric`` is the validation metric to minimise, in this callback and in the others.

    Losses are also logged at each evaluation. A checkpoint therefore never falls between two log lines, and a resumed
    run logs the same values as an uninterrupted one.
    """

    def __init__(self, every: int, patience: int | None, metric: str):
        self.every, self.patience, self.metric = every, patience, metric

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        control.should_evaluate = state.global_step % self.every == 0 or state.global_step >= state.max_steps
        control.should_log = control.should_log or control.should_evaluate
        return control

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        if self.exhausted(state):
            control.should_training_stop = True
        return control

    def exhausted(self, state: TrainerState) -> bool:
        """Whether the last ``patience`` evaluations brought no improvement."""
        scores = _scores(state, self.metric)
        since_best = len(scores) - 1 - scores.index(min(scores)) if scores else 0
        return self.patience is not None and since_best >= self.patience


class EpochOrder(TrainerCallback):
    """Sets the sampler's epoch.

    transformers sets it too, but not when several processes share a sampler and a resumed epoch skips its first
    batches: that epoch would use the order of the first one (accelerate 1.15).
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        sampler = kwargs["train_dataloader"].batch_sampler
        while hasattr(sampler, "batch_sampler"):
            sampler = sampler.batch_sampler
        if hasattr(sampler.sampler, "set_epoch"):
            sampler.sampler.set_epoch(math.floor((state.epoch or 0) + 1e-9))


class BestStudent(TrainerCallback):
    """Calls ``keep`` after every evaluation that is the best so far.

    The history is part of the checkpoint, so a resumed run keeps the same student as an uninterrupted one.
    """

    def __init__(self, keep: Callable[[int, float], None], metric: str):
        self.keep, self.metric = keep, metric

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        scores = _scores(state, self.metric)
        if scores[-1] <= min(scores):
            self.keep(state.global_step, scores[-1])


class Progress(TrainerCallback):
    """Shows the steps with their rate and the time left, and the last loss."""

    def __init__(self, name: str):
        self.title = f"Training {name}"
        self.shown, self.loss = ExitStack(), ""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.first = state.global_step  # of a resumed run
        self.advance = self.shown.enter_context(progress_bar(self.title, "steps"))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.advance(state.global_step - self.first, state.max_steps - self.first, self.loss)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs and "loss" in logs:
            self.loss = f"loss {logs['loss']:.4g}"

    def close(self) -> None:
        """Remove the bar, also after an error."""
        self.shown.close()


class RunLog(TrainerCallback):
    """Appends one line to ``log.jsonl`` per report of losses and per evaluation."""

    def __init__(self, path: Path, model: str, metric: str):
        self.path, self.model, self.metric = path, model, metric
        self.last = time.perf_counter()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remove the lines after the checkpoint of a resumed run, or all if it has none: they are written again."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines if not self._stale(line, state.global_step)]
        if len(kept) != len(lines):
            write_atomically(self.path, "".join(line + "\n" for line in kept))
        self.last = time.perf_counter()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Log losses and throughput since the last line as ``train``, validation metrics as ``eval``."""
        logs = logs or {}
        base = {"model": self.model, "step": state.global_step, "epoch": state.epoch}
        if "loss" in logs:
            took = max(time.perf_counter() - self.last, 1e-9)
            rate = logs.get("windows", 0) / took
            self.last = time.perf_counter()
            terms = {k.removeprefix("term_"): v for k, v in logs.items() if k.startswith("term_")}
            line = {"loss": logs["loss"], "terms": terms, "lr": logs.get("learning_rate")}
            line |= {"alpha": logs["alpha"]} if "alpha" in logs else {}  # gkd has none
            self._write({"event": "train", **base, **line, "windows_per_second": rate, "seconds": took})
        elif _key(self.metric) in logs:
            self._write({"event": "eval", **base, **{k.removeprefix("eval_"): v for k, v in logs.items()}})
            self.last = time.perf_counter()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Do not count the time to write a checkpoint as training time."""
        self.last = time.perf_counter()

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _stale(self, line: str, step: int) -> bool:
        try:
            entry = json.loads(line)
        except ValueError:  # a line torn by a kill
            return True
        return entry.get("model") == self.model and (step == 0 or entry.get("step", 0) > step)


class StopOnSignal(TrainerCallback):
    """On SIGINT or SIGTERM within the ``with`` block: finish the step, write a checkpoint, stop.

    ``received`` is then the signal's number.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():  # Python allows signal handlers there alone
            self.previous = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        if any(gathered(self.received is not None)):  # all processes stop after the same step
            self.received = self.received or signal.SIGTERM
            control.should_log = control.should_save = control.should_training_stop = True
        return control

    def _note(self, number: int, frame: Any) -> None:
        self.received = number


def best_step(state: TrainerState, metric: str) -> int | None:
    """The step of the best evaluation, the last one if several are equal; None before the first evaluation."""
    key = _key(metric)
    scored = [(-entry[key], entry["step"]) for entry in state.log_history if key in entry]
    return int(max(scored)[1]) if scored else None


def _scores(state: TrainerState, metric: str) -> list[float]:
    return [entry[_key(metric)] for entry in state.log_history if _key(metric) in entry]


def _key(metric: str) -> str:
    """The name of an evaluation metric in transformers' log history."""
    return f"eval_{metric}"
