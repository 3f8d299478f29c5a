"""Find the checkpoint from which a run resumes: the newest complete one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

TRAINER_STATE_FILE = "trainer_state.json"
CHECKPOINT_FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", TRAINER_STATE_FILE)
RNG_STATE_PREFIX = "rng_state"  # one file, or one per process
SIZES_FILE = "files.json"


def seal(folder: Path) -> None:
    """Write the sizes of a checkpoint's files, last: without this file, or with other sizes, it is incomplete."""
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.is_file()}
    (folder / SIZES_FILE).write_text(json.dumps(sizes), encoding="utf-8")


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest complete ``checkpoint-N`` in a run's checkpoints, or None."""
    return next((c for c in reversed(_numbered(folder)) if _complete(c)), None)


def keep_newest(folder: Path, count: int, best: int | None) -> None:
    """Keep the ``count`` newest checkpoints and that of step ``best``; remove others and interrupted writes."""
    for old in _numbered(folder)[:-count]:
        if old.name != f"checkpoint-{best}":
            shutil.rmtree(old, ignore_errors=True)
    for remnant in folder.glob(".checkpoint-*"):
        shutil.rmtree(remnant, ignore_errors=True)


def _numbered(folder: Path) -> list[Path]:
    found = [p for p in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", p.name)]
    return sorted(found, key=lambda p: int(p.name.split("-")[1]))


def _complete(checkpoint: Path) -> bool:
    try:
        sizes = json.loads((checkpoint / SIZES_FILE).read_text(encoding="utf-8"))
        complete = all(name in sizes for name in CHECKPOINT_FILES) and any(
            name.startswith(RNG_STATE_PREFIX) for name in sizes
        )
        return complete and all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, TypeError, AttributeError):  # the file of sizes may be incomplete too
        return False
