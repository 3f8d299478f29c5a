"""Which checkpoint a run resumes from: the newest whole one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

STATE = "trainer_state.json"
FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", STATE)
MANIFEST = "files.json"


def seal(folder: Path) -> None:
    """Write the sizes of a checkpoint's files beside them, last: what lacks or contradicts it is torn."""
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.is_file()}
    (folder / MANIFEST).write_text(json.dumps(sizes), encoding="utf-8")


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole ``checkpoint-N`` in a run's checkpoints, or None. Torn ones are passed over."""
    return next((c for c in reversed(_numbered(folder)) if _whole(c)), None)


def keep_newest(folder: Path, count: int, best: int | None) -> None:
    """Remove all but the ``count`` newest checkpoints, that of step ``best``, and what an interrupted write left."""
    for old in _numbered(folder)[:-count]:
        if old.name != f"checkpoint-{best}":
            shutil.rmtree(old, ignore_errors=True)
    for torn in folder.glob(".checkpoint-*"):
        shutil.rmtree(torn, ignore_errors=True)


def _numbered(folder: Path) -> list[Path]:
    found = [p for p in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", p.name)]
    return sorted(found, key=lambda p: int(p.name.split("-")[1]))


def _whole(checkpoint: Path) -> bool:
    try:
        sizes = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        return all(name in sizes for name in FILES) and all(
            (checkpoint / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError, TypeError, AttributeError):  # the manifest may be torn as well
        return False
