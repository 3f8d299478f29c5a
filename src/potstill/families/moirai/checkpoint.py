"""Moirai checkpoints: which of uni2ts's models they hold, and how they are opened without trusting them."""

from __future__ import annotations

import contextlib
import importlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.families.base import Source

LICENCE = "cc-by-nc-4.0"  # of all weights that Salesforce has released under Moirai's name
MODULES = {"moirai": "MoiraiModule", "moirai_moe": "MoiraiMoEModule", "moirai2": "Moirai2Module"}
DISTRIBUTIONS = {
    f"uni2ts.distribution.{module}.{name}"
    for module, name in (
        ("mixture", "MixtureOutput"),
        ("student_t", "StudentTOutput"),
        ("normal", "NormalOutput"),
        ("normal", "NormalFixedScaleOutput"),
        ("log_normal", "LogNormalOutput"),
        ("negative_binomial", "NegativeBinomialOutput"),
    )
}


def kind_of(config: dict[str, Any]) -> str | None:
    """Which of uni2ts's models a config.json is of."""
    if not {"d_model", "num_layers", "max_seq_len", "attn_dropout_p"} <= set(config):
        return None
    if "distr_output" in config and "patch_sizes" in config:
        return "moirai_moe" if "d_ff" in config else "moirai"
    return "moirai2" if {"d_ff", "patch_size"} <= set(config) else None


def uni2ts_module(module: str) -> Any:
    """A module of uni2ts, imported; raises UserError with the commands that install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f'moirai: needs uni2ts, which cannot be imported ({error}); run `pip install "potstill[moirai]"` and then'
            " `pip install --no-deps uni2ts`."
        ) from None


def fetched(folder: str, revision: str | None) -> Path:
    """A local folder with config.json and model.safetensors; of a hub id nothing else is fetched."""
    if Path(folder).is_dir():
        return Path(folder)
    from huggingface_hub import hf_hub_download

    hf_hub_download(folder, "model.safetensors", revision=revision)
    return Path(hf_hub_download(folder, "config.json", revision=revision)).parent


def open_module(folder: Path, config: dict[str, Any], source: Source) -> tuple[str, Any]:
    """The kind of model and its module, with the weights of ``folder``.

    Raises
    ------
    UserError
        Where the config asks for a class that no Moirai needs, or a weight is missing.
    """
    _check_distribution(config.get("distr_output", {}), source)
    kind = kind_of(config)
    assert kind is not None, "recognised before it is loaded"
    module_class = getattr(uni2ts_module(f"uni2ts.model.{kind}"), MODULES[kind])
    with contextlib.redirect_stdout(io.StringIO()):  # it prints where it loads from
        module = module_class.from_pretrained(folder)
    _check_complete(folder, module)
    return kind, module


def with_licence(source: Source) -> Source:
    """Weights under Salesforce's name keep their licence where no card says it."""
    if source.licence is None and source.location.startswith("Salesforce/moirai"):
        return replace(source, licence=LICENCE)
    return source


def _check_distribution(node: Any, source: Source) -> None:
    """Refuse any class but the distributions known here: uni2ts would call what the config names."""
    if isinstance(node, list):
        for item in node:
            _check_distribution(item, source)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key not in ("components", "scale", "_target_") or (key == "_target_" and value not in DISTRIBUTIONS):
            raise UserError(f"{source.location}: config.json asks for {key}={value!r}, which no Moirai needs; refused.")
        _check_distribution(value, source)


def _check_complete(folder: Path, module: Any) -> None:
    """uni2ts would go on with random numbers in the place of a missing weight."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        missing = sorted(set(module.state_dict()) - set(file.keys()))
    if missing:
        raise UserError(
            f"{folder}: the checkpoint lacks {len(missing)} of the model's weights, for example {missing[0]};"
            " fetch or make it again."
        )
