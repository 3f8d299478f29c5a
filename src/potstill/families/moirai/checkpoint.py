"""Moirai checkpoints: detect which of uni2ts's models they hold, and load them without running untrusted code."""

from __future__ import annotations

import contextlib
import importlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.families.base import ModelSource

SALESFORCE_LICENCE = "cc-by-nc-4.0"  # of all Moirai weights that Salesforce has released
MODULE_CLASSES = {"moirai": "MoiraiModule", "moirai_moe": "MoiraiMoEModule", "moirai2": "Moirai2Module"}
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
    """Which of uni2ts's models a config.json belongs to; None if it belongs to none."""
    if not {"d_model", "num_layers", "max_seq_len", "attn_dropout_p"} <= set(config):
        return None
    if "distr_output" in config and "patch_sizes" in config:
        return "moirai_moe" if "d_ff" in config else "moirai"
    return "moirai2" if {"d_ff", "patch_size"} <= set(config) else None


def uni2ts_module(module: str) -> Any:
    """Import a module of uni2ts; raises UserError with the commands that install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f'moirai: needs uni2ts, which cannot be imported ({error}); run `pip install "potstill[moirai]"` and then'
            " `pip install --no-deps uni2ts`.",
            key="model.missing_package",
        ) from None


def download(folder: str, revision: str | None) -> Path:
    """A local folder with config.json and model.safetensors; of a hub id only these two files are downloaded."""
    if Path(folder).is_dir():
        return Path(folder)
    from huggingface_hub import hf_hub_download

    hf_hub_download(folder, "model.safetensors", revision=revision)
    return Path(hf_hub_download(folder, "config.json", revision=revision)).parent


def open_module(folder: Path, config: dict[str, Any], source: ModelSource) -> tuple[str, Any]:
    """Load the module with the weights of ``folder``; returns the kind of model and the module.

    Raises
    ------
    UserError
        If the config names a class that Moirai does not need, or a weight is missing.
    """
    _check_distribution(config.get("distr_output", {}), source)
    kind = kind_of(config)
    assert kind is not None, "recognised before it is loaded"
    module_class = getattr(uni2ts_module(f"uni2ts.model.{kind}"), MODULE_CLASSES[kind])
    with contextlib.redirect_stdout(io.StringIO()):  # uni2ts prints the folder
        module = module_class.from_pretrained(folder)
    _check_complete(folder, module)
    return kind, module


def with_licence(source: ModelSource) -> ModelSource:
    """Set the licence of Salesforce's weights if no model card states it."""
    if source.licence is None and source.location.startswith("Salesforce/moirai"):
        return replace(source, licence=SALESFORCE_LICENCE)
    return source


def _check_distribution(node: Any, source: ModelSource) -> None:
    """Reject every class except the known distributions, because uni2ts calls whatever class the config names."""
    if isinstance(node, list):
        for item in node:
            _check_distribution(item, source)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key not in ("components", "scale", "_target_") or (key == "_target_" and value not in DISTRIBUTIONS):
            raise UserError(
                f"{source.location}: config.json has {key}={value!r}, which Moirai does not need and could run code;"
                " use another checkpoint.",
                key="model.unsafe_config",
            )
        _check_distribution(value, source)


def _check_complete(folder: Path, module: Any) -> None:
    """Raise UserError if a weight is missing; uni2ts would use random values instead."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        missing = sorted(set(module.state_dict()) - set(file.keys()))
    if missing:
        raise UserError(
            f"{folder}: the checkpoint lacks {len(missing)} of the model's weights, for example {missing[0]};"
            " download or create it again.",
            key="model.weights_mismatch",
        )
