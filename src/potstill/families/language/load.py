"""Language models from a folder, a run, a hub id or a GGUF file, through ``AutoModelForCausalLM``.

Weights are read from safetensors or GGUF only: a pickle is refused, and no code from a checkpoint is run.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch

from potstill.errors import UserError
from potstill.families.base import Source
from potstill.families.checkpoint import check_weights, config_of, is_causal, licence, weight_files
from potstill.families.language.model import LanguageModel
from potstill.families.load import EMBEDDED
from potstill.families.registry import family_of, known
from potstill.recipe.notation import parse_source
from potstill.runs import last_good

GGUF = "gguf_file"


def load_language(
    source: str | Path, *, device: str = "cpu", precision: str = "fp32", revision: str | None = None
) -> LanguageModel:
    """Load a causal language model.

    Parameters
    ----------
    source
        A folder (a run, its student, an upstream checkpoint, one with a single GGUF file), a GGUF file, or a hub id
        such as ``gpt2-medium``, with ``:gguf_file=NAME`` behind it where the repository holds GGUF files. Offline
        mode (``HF_HUB_OFFLINE``) and mirrors (``HF_ENDPOINT``) are respected.
    device, precision, revision
        As for forecasters: ``cpu`` or ``cuda``; ``fp32`` or ``bf16`` weights; branch, tag or commit of a hub id.

    Raises
    ------
    UserError
        Naming the folder or id, what is wrong with it, and what to do.
    """
    given, settings = parse_source(str(source))
    if given == EMBEDDED:
        raise UserError(f"{source}: is a forecaster; give a language model's folder, GGUF file or hub id.")
    place, settings = _located(given, settings)
    folder = Path(place)
    if folder.is_dir() and GGUF not in settings:
        found = family_of(config_of(place))
        if found is not None:
            raise UserError(f"{source}: is a forecaster ({found.name}), no language model; try `potstill forecast`.")
        check_weights(folder)
    name = folder.name if folder.is_dir() else given
    told = licence(place, revision) or _licence_within(place, settings)
    where = Source(name, str(source), revision, told)
    options = {**settings, **({"revision": revision} if revision else {})}
    try:
        module, tokenizer = _opened(place, precision, options)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") and not folder.is_dir() else ""
        raise UserError(
            f"{source}: cannot be loaded as a causal language model{offline} ({first}); check the id and the network,"
            " or give a folder with config.json, model.safetensors and the tokenizer's files."
        ) from error
    module.to(device)
    return LanguageModel(module, tokenizer, where).check()


def is_language(source: str | Path) -> bool:
    """Whether a source, written as for ``load_language``, is a language model's: by its config, or as a GGUF file.

    Raises
    ------
    UserError
        Where there is nothing at that place.
    """
    given, settings = parse_source(str(source))
    if given == EMBEDDED or given in known():
        return False
    place, settings = _located(given, {key: settings[key] for key in settings if key == GGUF})
    if GGUF in settings:
        return True
    config = config_of(place)
    return family_of(config) is None and is_causal(config)


def language_weights(source: Source) -> list[Path]:
    """The safetensors or GGUF files that a model was loaded from; none where they are not on this machine."""
    try:
        place, settings = _located(*parse_source(source.location))
    except UserError:
        return []
    return weight_files(place, source.revision, **({"name": settings[GGUF]} if GGUF in settings else {}))


def _licence_within(place: str, settings: dict[str, Any]) -> str | None:
    """What a GGUF file on disk says of its licence."""
    path = Path(place) / settings.get(GGUF, "")
    if not path.is_file():
        return None
    from gguf import GGUFReader

    try:
        field = GGUFReader(path).get_field("general.license")
    except (ValueError, IndexError, OSError):
        return None  # loading it will say what is wrong
    return None if field is None else str(field.contents())


def _opened(place: str, precision: str, options: dict[str, Any]) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    weights = {} if GGUF in options else {"use_safetensors": True}
    module: Any = AutoModelForCausalLM.from_pretrained(
        place, dtype=dtype, trust_remote_code=False, **weights, **options
    )
    if GGUF in options:  # it is dequantised by now, but would refuse to be saved
        module.hf_quantizer, module.is_quantized = None, False
        if hasattr(module.config, "quantization_config"):
            del module.config.quantization_config
    return module, AutoTokenizer.from_pretrained(place, trust_remote_code=False, **options)


def _located(given: str, settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The folder or hub id, and which of its files is the model's where that is a GGUF file."""
    unknown = next((key for key in settings if key != GGUF), None)
    if unknown is not None:
        raise UserError(f"{given}: {unknown!r} is no setting of a language model; known: {GGUF}.")
    path = last_good(Path(given).expanduser())
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise UserError(f"{given}: is a file; give the folder that holds config.json, or a .gguf file.")
        return str(path.parent), {GGUF: path.name}
    if path.is_dir():
        student = last_good(path / "student")
        path = student if (path / "recipe.yaml").exists() and student.is_dir() else path
        found = sorted(path.glob("*.gguf"))
        if found and not settings and not (path / "config.json").exists():
            if len(found) > 1:
                raise UserError(f"{given}: holds {len(found)} GGUF files; name one of them, such as {found[0]}.")
            settings = {GGUF: found[0].name}
        return str(path), settings
    if given.startswith((".", "/", "~")) or not re.fullmatch(r"([\w.-]+/)?[\w.-]+", given):
        raise UserError(f"{given}: no such folder, and no hub id either (those read like gpt2-medium).")
    return given, settings
