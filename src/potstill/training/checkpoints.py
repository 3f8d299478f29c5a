"""Find the checkpoint from which a run resumes, the newest complete one, and report one that cannot be loaded."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from transformers import TrainerState

from potstill.errors import UserError

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


def state_of(checkpoint: Path) -> TrainerState:
    """The trainer's state in a checkpoint. Raises UserError if the file is damaged."""
    file = checkpoint / TRAINER_STATE_FILE
    try:
        return TrainerState.load_from_json(str(file))
    except (ValueError, TypeError):  # also of JSON and of the encoding
        raise _damaged(checkpoint) from None


@contextmanager
def loading(checkpoint: Path | None) -> Iterator[None]:
    """Turn the errors of a checkpoint whose content is not what Potstill writes into UserError.

    torch loads nothing from it that could run code.
    """
    try:
        yield
    except (pickle.UnpicklingError, SafetensorError, RuntimeError) as error:
        if checkpoint is not None and "size mismatch" in str(error):
            raise UserError(
                f"{checkpoint}: is of a student of other sizes than recipe.yaml; restore the recipe, or start another"
                " run.",
                key="run.other_sizes",
            ) from None
        if checkpoint is None or (isinstance(error, RuntimeError) and "PytorchStreamReader" not in str(error)):
            raise
        raise _damaged(checkpoint) from None


def _damaged(checkpoint: Path) -> UserError:
    return UserError(
        f"{checkpoint}: a file is damaged, or holds objects that are not safe to load; remove this folder and run"
        " --resume again, which takes the checkpoint before it.",
        key="run.bad_checkpoint",
    )


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
