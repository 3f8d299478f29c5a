"""Where a model's files are: parse what a user writes into a folder or hub id, and the settings after it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.families.checkpoint import GGUF
from potstill.families.registry import family, known
from potstill.recipe.notation import parse_source
from potstill.runs import RECIPE_FILE, last_good
from potstill.runs.folders import holds_model
from potstill.runs.near import did_you_mean, near_folders

EMBEDDED = "embedded"
_NEAR, _ALIKE = 0.6, 0.8  # how similar a folder's name must be: a hub id may have no owner and be like a folder's
_LISTED = 5
HUB_ID = re.compile(r"([\w.-]+/)?[\w.-]+")


@dataclass(frozen=True)
class Place:
    """Where a model's files are.

    Attributes
    ----------
    model
        What the user wrote, without settings.
    location
        The folder, or a hub id.
    settings
        The settings of ``MODEL:key=value,…``, without ``gguf_file``.
    gguf
        Name of the GGUF file that holds the model; None if it is a config.json with safetensors.
    """

    model: str
    location: str
    settings: dict[str, Any] = field(default_factory=dict)
    gguf: str | None = None

    @property
    def folder(self) -> Path | None:
        """The folder; None for a hub id."""
        path = Path(self.location)
        return path if path.is_dir() else None

    @property
    def name(self) -> str:
        """The model's name in messages: a folder's name, otherwise what the user wrote."""
        on_disk = self.model != EMBEDDED and last_good(Path(os.path.expanduser(self.model))).exists()
        return Path(self.location).absolute().name if on_disk else self.model


def locate(source: str) -> Place:
    """Find a model.

    Parameters
    ----------
    source
        A folder (of a run: its student), a GGUF file, a hub id, ``embedded``, or the name of a family whose weights
        come with its package; a folder with that name takes precedence. Settings may follow: ``MODEL:key=value,…``.

    Raises
    ------
    UserError
        If there is no such folder and it cannot be a hub id, or is more likely a misspelt folder.
    """
    model, settings = parse_source(source)
    gguf = settings.pop(GGUF, None)
    if not model.strip():
        raise UserError("The model's name is empty; give a folder, a hub id or 'embedded'.", key="model.no_name")
    if model == EMBEDDED:
        return Place(model, str(embedded_folder()), settings)
    path = last_good(Path(os.path.expanduser(model)))
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise UserError(
                f"{model}: is a file; give the folder with config.json and model.safetensors, or a .gguf file.",
                key="model.is_a_file",
            )
        return Place(model, str(path.parent), settings, path.name)
    if path.is_dir():
        student = last_good(path / "student")
        path = student if (path / RECIPE_FILE).exists() and student.is_dir() else path
        return Place(model, str(path), settings, gguf or _only_gguf(model, path))
    if model in known():
        location = family(model).locate()
        if location is None:
            raise UserError(
                f"{model}: is the name of a family, not of a model; give a folder or a hub id.", key="model.is_a_family"
            )
        return Place(model, location, settings)
    _check_hub_id(model)
    return Place(model, model, settings, gguf)


def _check_hub_id(model: str) -> None:
    """Raise UserError for what is no hub id, or is more likely a misspelt folder; the hub is not asked."""
    path = Path(os.path.expanduser(model))
    if model.startswith((".", "/", "~")) or not HUB_ID.fullmatch(model):
        hint = did_you_mean(near_folders(path, holds_model)) or ", and not a hub id such as amazon/chronos-2."
    elif _downloaded(model):
        return
    else:
        least = _ALIKE if len(path.parts) == 1 else _NEAR
        hint = did_you_mean(near_folders(path, holds_model, least))
        if not hint and len(path.parts) > 1 and path.parent.is_dir():
            inside = sorted(entry.name for entry in path.parent.iterdir() if holds_model(entry))[:_LISTED]
            hint = f"; models in {path.parent}: {', '.join(inside) or 'none'}."
    if hint:
        raise UserError(f"{model}: no such folder{hint}", key="model.no_such_folder")


def _downloaded(model: str) -> bool:
    """Whether a hub id is in the cache of downloads."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model, "config.json"), str)


def embedded_folder() -> Path:
    """Where the embedded teacher is."""
    return Path(str(resources.files("potstill") / "assets" / "teacher"))


def _only_gguf(model: str, folder: Path) -> str | None:
    """The only GGUF file of a folder without a config.json."""
    files = sorted(folder.glob("*.gguf"))
    if not files or (folder / "config.json").exists():
        return None
    if len(files) > 1:
        raise UserError(
            f"{model}: has {len(files)} GGUF files; give the path of one of them, such as {files[0]}.",
            key="model.several_gguf_files",
        )
    return files[0].name
