"""One way in for every model: a Potstill folder, an upstream checkpoint, a hub id, ``embedded``, or a family's name.

Weights are read from safetensors only: a pickle is refused, and no code from a checkpoint is run.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.families.base import Forecaster, Source
from potstill.families.checkpoint import check_weights, config_of, is_causal, licence, weight_files
from potstill.families.registry import family, family_of, known
from potstill.recipe.notation import parse_source
from potstill.runs import last_good

EMBEDDED = "embedded"


def load(
    source: str | Path, *, device: str = "cpu", precision: str = "fp32", revision: str | None = None
) -> Forecaster:
    """Load a forecaster.

    Parameters
    ----------
    source
        A folder (a run, its student, an upstream checkpoint), a hub id such as ``amazon/chronos-2``, ``embedded``, or
        the name of a family that brings its own weights (see ``Family.locate``); a folder of that name goes first.
        Settings may stand behind it (``Forecaster.settings``), as in ``Salesforce/moirai-1.1-R-base:patch_size=64``.
        Offline mode (``HF_HUB_OFFLINE``) and mirrors (``HF_ENDPOINT``) are respected.
    device
        ``cpu`` or ``cuda``.
    precision
        ``fp32`` or ``bf16`` weights.
    revision
        Branch, tag or commit of a hub id.

    Raises
    ------
    UserError
        Naming the folder or id, what is wrong with it, and what to do.
    """
    import torch

    given, settings = parse_source(str(source))
    location = _locate(given)
    folder = Path(location)
    config = config_of(location, revision)
    if folder.is_dir():
        check_weights(folder)
    options: dict[str, Any] = {"revision": revision} if revision and not folder.is_dir() else {}
    found = family_of(config)
    if found is None:
        if is_causal(config):
            raise UserError(f"{source}: is a language model, no forecaster; ask it with `potstill generate`.")
        kind = config.get("architectures") or config.get("model_type") or "no architecture named"
        raise UserError(f"{source}: config.json is of no family Potstill knows ({kind}); known: {', '.join(known())}.")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    name = folder.name if given != EMBEDDED and Path(given).expanduser().is_dir() else given
    where = Source(name, str(source), revision, licence(location, revision))
    try:
        forecaster = found.load(location, where, dtype=dtype, **options)
    except UserError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{source}: the checkpoint cannot be loaded as {found.name} ({first});"
            " it may be damaged: fetch or make it again."
        ) from error
    forecaster.set(settings)
    forecaster.module.to(device)
    return forecaster


def saved_weights(source: Source) -> list[Path]:
    """The safetensors files that a forecaster was loaded from; none where they are not on this machine (any more)."""
    try:
        location = _locate(parse_source(source.location)[0])
    except UserError:
        return []
    return weight_files(location, source.revision)


def embedded_folder() -> Path:
    """Where the embedded teacher lies."""
    return Path(str(files("potstill") / "assets" / "teacher"))


def _locate(source: str) -> str:
    if source == EMBEDDED:
        return str(embedded_folder())
    folder = last_good(Path(source).expanduser())
    if folder.is_file():
        raise UserError(f"{source}: is a file; give the folder that holds config.json and model.safetensors.")
    if folder.is_dir():
        student = last_good(folder / "student")
        return str(student if (folder / "recipe.yaml").exists() and student.is_dir() else folder)
    if source in known():
        location = family(source).locate()
        if location is None:
            raise UserError(f"{source}: is a family of models, not one of them; give a folder or a hub id.")
        return location
    if source.startswith((".", "/", "~")) or not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        raise UserError(f"{source}: no such folder, and no hub id either (those read like amazon/chronos-2).")
    return source
