"""The real launchers, with the commands of the documentation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from training_fakes import log_lines, small_recipe

from potstill import ranks
from potstill.families.load import load

LAUNCHERS = {
    "accelerate": ["accelerate.commands.launch", "--cpu"],
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
}


def launched(launcher: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *LAUNCHERS[launcher], "-m", "potstill", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_torchrun_starts_a_run_and_accelerate_continues_it(tiny_teacher, small_csv, tmp_path: Path):
    recipe = small_recipe(tiny_teacher, small_csv, max_steps=4)
    recipe.write(tmp_path / "recipe.yaml")
    done = launched("torchrun", "distill", tmp_path / "recipe.yaml", "--output", tmp_path / "run", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "Processes  2, each with all weights and one batch of 8 windows a step" in done.stderr
    assert "[rank" not in done.stderr  # nothing of torch's own
    assert [line["step"] for line in log_lines(tmp_path / "run", "train")] == [1, 2, 3, 4]
    assert (tmp_path / "run" / "report.html").exists()
    assert load(tmp_path / "run").parameters > 0
    resumed = launched("accelerate", "distill", "--output", tmp_path / "run", "--resume", "--dry-run")
    assert resumed.returncode == 0, resumed.stderr
    # one process, which is all that this launcher starts on a CPU
    assert "Processes  1 (the recipe is meant for 2)" in resumed.stderr


def test_the_switch_of_accelerate_is_taken_from_its_own_hands(monkeypatch):
    """transformers would load weights in one process alone, accelerate would shard a second time."""
    monkeypatch.setenv(ranks.FSDP_SWITCH, "true")
    monkeypatch.setattr(ranks, "_fsdp", False)
    ranks.connect("cpu")
    assert ranks.launched_with_fsdp()
    assert ranks.FSDP_SWITCH not in os.environ
