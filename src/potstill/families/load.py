"""Load any model: a Potstill folder, an upstream checkpoint, a hub id, a GGUF file, ``embedded``, or a family's name.

Weights are read only from safetensors or GGUF: pickles are rejected, and no code from a checkpoint is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from potstill.errors import UserError
from potstill.families.base import Family, Forecaster, Model, ModelSource
from potstill.families.checkpoint import (
    GGUF,
    check_finite,
    check_weights,
    config_of,
    licence,
    saved_horizons,
    weight_files,
)
from potstill.families.places import Place, embedded_folder, locate
from potstill.families.precision import device_precision
from potstill.families.registry import family_of, gguf_family, known

if TYPE_CHECKING:
    from potstill.families.language.model import LanguageModel

__all__ = ["embedded_folder", "is_language", "load", "load_forecaster", "load_language", "saved_weights"]


def load(source: str | Path, *, device: str = "cpu", precision: str = "fp32", revision: str | None = None) -> Model:
    """Load a model of any family.

    Parameters
    ----------
    source
        A folder (a run, its student, an upstream checkpoint, one with a single GGUF file), a GGUF file, a hub id such
        as ``amazon/chronos-2``, ``embedded``, or the name of a family whose weights come with its package (see
        ``Family.locate``); a folder with that name takes precedence. Settings (``Model.settings``) may follow, as in
        ``Salesforce/moirai-1.1-R-base:patch_size=64``; ``:gguf_file=NAME`` selects one of several GGUF files. Offline
        mode (``HF_HUB_OFFLINE``) and mirrors (``HF_ENDPOINT``) are respected.
    device
        Such as ``cpu`` or ``cuda:1``.
    precision
        ``fp32`` or ``bf16`` weights; ``auto``: bf16 if the hardware multiplies bf16 and the family supports it well.
    revision
        Branch, tag or commit of a hub id.

    Raises
    ------
    UserError
        Names the folder or id, what is wrong with it, and what to do.
    """
    return _load(source, None, device, precision, revision)


def load_forecaster(
    source: str | Path, *, device: str = "cpu", precision: str = "fp32", revision: str | None = None
) -> Forecaster:
    """Load a forecaster like :func:`load`; raises UserError for a language model before reading its weights."""
    return cast("Forecaster", _load(source, "forecast", device, precision, revision))


def load_language(
    source: str | Path, *, device: str = "cpu", precision: str = "fp32", revision: str | None = None
) -> LanguageModel:
    """Load a language model like :func:`load`; raises UserError for a forecaster before reading its weights."""
    return cast("LanguageModel", _load(source, "language", device, precision, revision))


def is_language(source: str | Path, revision: str | None = None) -> bool:
    """Whether a source is a language model: a GGUF file, or a config of one; no weights are read.

    Raises
    ------
    UserError
        If there is no model at that place.
    """
    place = locate(str(source))
    model_family = gguf_family() if place.gguf else family_of(config_of(place.location, revision))
    return model_family is not None and model_family.task == "language"


def saved_weights(source: ModelSource) -> list[Path]:
    """The files that a model was loaded from, safetensors or GGUF; empty if they are no longer on this machine."""
    try:
        place = locate(source.location)
    except UserError:
        return []
    return weight_files(place.location, source.revision, **({"name": place.gguf} if place.gguf else {}))


def _load(source: str | Path, task: str | None, device: str, precision: str, revision: str | None) -> Model:
    import torch

    place = locate(str(source))
    model_family, config = _family_at(place, source, revision)
    if task is not None and model_family.task != task:
        raise _wrong_task(model_family, source)
    if precision == "auto":
        precision = device_precision(precision, device) if model_family.bf16 else "fp32"
    options: dict[str, Any] = {"dtype": torch.bfloat16 if precision == "bf16" else torch.float32}
    if revision and place.folder is None:
        options["revision"] = revision
    if place.gguf:
        options[GGUF] = place.gguf
    origin = ModelSource(place.name, str(source), revision, licence(place.location, revision))
    try:
        model = model_family.load(place.location, origin, **options)
    except UserError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{source}: the checkpoint cannot be loaded as {model_family.name} ({first});"
            " it may be damaged: download or create it again.",
            key="model.cannot_load",
        ) from error
    check_finite(model.module, str(source))
    model.set(place.settings)
    if isinstance(model, Forecaster):
        model.calibrate_horizons = saved_horizons(config, str(source))
    model.module.to(device)
    return model.check()


def _family_at(place: Place, source: str | Path, revision: str | None) -> tuple[Family[Any], dict[str, Any]]:
    """Family and config of the model at a place; checks that its weight files are complete and not pickles."""
    if place.gguf:
        return gguf_family(), {}
    config = config_of(place.location, revision)
    model_family = family_of(config)
    if place.folder is not None and (model_family is None or model_family.safetensors):
        check_weights(place.folder)
    if model_family is None:
        kind = config.get("architectures") or config.get("model_type") or "no architecture named"
        raise UserError(
            f"{source}: its config.json does not belong to a known family ({kind}); known: {', '.join(known())}.",
            key="model.unknown_family",
        )
    return model_family, config


def _wrong_task(model_family: Family[Any], source: str | Path) -> UserError:
    if model_family.task == "language":
        return UserError(
            f"{source}: is a language model, not a forecaster; use `potstill generate`.", key="model.not_a_forecaster"
        )
    return UserError(
        f"{source}: is a forecaster ({model_family.name}), not a language model; use `potstill forecast`.",
        key="model.not_a_language_model",
    )
