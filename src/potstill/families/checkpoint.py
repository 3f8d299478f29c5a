"""Checkpoints as files: read the config and the model card, and check the weights before a library opens them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.recipe.evaluation import MOST_HORIZONS
from potstill.runtime.folder import MANIFEST_FILE, is_exported

#: the option that names the GGUF file (llama.cpp's format) of a folder or hub id
GGUF = "gguf_file"
EXPERTS_FOLDER = "experts"  # of a mixture's checkpoint: a checkpoint per expert
#: key of a config that upstream ignores: ``Forecaster.calibrate_horizons``
HORIZONS_KEY = "calibrate_horizons"
# keys of a config that do not change a model's outputs
IGNORED_CONFIG_KEYS = ("architectures", "name_or_path", "attn_implementation", "use_cache", "initializer_factor",
                       "initializer_range", "task_specific_params", HORIZONS_KEY)  # fmt: skip
MODEL_SUFFIXES = (".json", ".safetensors", ".gguf", ".model", ".txt", ".jinja")  # weights, configs, tokenizers
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")


def read_config(folder: Path) -> dict[str, Any]:
    """Read a folder's config.json."""
    path = folder / "config.json"
    if not path.exists() and is_exported(folder):
        path = folder / MANIFEST_FILE
    if not path.exists():
        raise UserError(
            f"{folder}: has no config.json; give a checkpoint's folder, a run, a hub id or 'embedded'.",
            key="model.no_config",
        )
    _refuse_special_files(folder)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: is not readable JSON ({error}); download or create the checkpoint again.",
            key="model.bad_config",
        ) from None
    if not isinstance(config, dict):
        raise UserError(
            f"{path}: expected a JSON object with the model's settings; download or create the checkpoint again.",
            key="model.bad_config",
        )
    return config


def _refuse_special_files(folder: Path) -> None:
    """Raise UserError for a pipe, a socket or a device among a model's files: reading it may wait for ever."""
    for path in sorted(folder.glob("*")):
        if path.suffix in MODEL_SUFFIXES and path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(
                f"{path}: is a pipe or a device, not a regular file; download or create the checkpoint again.",
                key="model.not_a_regular_file",
            )


def is_causal(config: dict[str, Any]) -> bool:
    """Whether a config.json is a causal language model's: by its class name, or by its model type in transformers."""
    if any("CausalLM" in str(name) or "LMHead" in str(name) for name in config.get("architectures") or ()):
        return True
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return config.get("model_type") in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def check_weights(folder: Path) -> None:
    """Reject pickles and truncated safetensors files before any library opens them."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickled = [p.name for p in sorted(folder.iterdir()) if p.suffix in PICKLE_SUFFIXES]
        if pickled:
            raise UserError(
                f"{folder / pickled[0]}: is a pickle, which can run code when it is loaded;"
                " convert the weights to model.safetensors.",
                key="model.pickle",
            )
        raise UserError(
            f"{folder}: has no model.safetensors; download or create the checkpoint again.", key="model.no_weights"
        )
    from safetensors import SafetensorError, safe_open

    for path in weights:
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{path}: is damaged or truncated ({error}); download or create the checkpoint again.",
                key="model.damaged_weights",
            ) from None


def config_fingerprint(config: Any, levels: Any = None) -> str:
    """The settings of a model's config that change its outputs, as canonical JSON.

    Names, paths, versions, data types and settings used only in training are left out. Numbers are rounded to six
    digits, because levels are stored in single precision.

    Parameters
    ----------
    config
        A mapping, or a config of transformers.
    levels
        Quantile levels of a forecaster.
    """
    tree = config.to_diff_dict() if hasattr(config, "to_diff_dict") else config
    tree = _plain(tree) if isinstance(tree, dict) else {}
    return json.dumps([tree, _plain([float(level) for level in levels] if levels is not None else [])], sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items() if not _is_ignored(str(key))}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:.6g}" if isinstance(value, float) and not value.is_integer() else int(value)
    return value if value is None or isinstance(value, (bool, str)) else type(value).__qualname__


def _is_ignored(key: str) -> bool:
    private = key.startswith("_") and not key.endswith("_")  # private to transformers; uni2ts writes _target_
    return private or key in IGNORED_CONFIG_KEYS or any(part in key for part in ("drop", "dtype", "version"))


def check_finite(module: Any, place: str) -> None:
    """Reject weights that are NaN or infinite, because every forecast would be NaN.

    Raises
    ------
    UserError
        Names the first such tensor.
    """
    import torch

    for name, weight in module.named_parameters():
        # one sum is faster than a test of each value; it can overflow, so each value is tested if it is not finite
        if not weight.detach().sum(dtype=torch.float32).isfinite() and not weight.isfinite().all():
            raise UserError(
                f"{place}: the weight {name} has NaN or infinite values; download or create the checkpoint again.",
                key="model.weights_not_finite",
            )


def saved_horizons(config: Mapping[str, Any], place: str) -> int:
    """``Forecaster.calibrate_horizons`` of the model with a config."""
    found = config.get(HORIZONS_KEY, 0)
    if type(found) is not int or not 0 <= found <= MOST_HORIZONS:
        raise UserError(
            f"{place}: its config has {HORIZONS_KEY}={found!r}; expected a whole number from 0 to {MOST_HORIZONS}.",
            key="model.bad_config",
        )
    return found


def config_of(place: str, revision: str | None = None) -> dict[str, Any]:
    """The config.json of a folder or a hub id."""
    return read_config(Path(place)) if Path(place).is_dir() else _hub_config(place, revision)


def _hub_config(source: str, revision: str | None) -> dict[str, Any]:
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(source, "config.json", revision=revision)
    except Exception as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise UserError(
            f"{source}: no such folder, and it cannot be downloaded from the hub{offline} ({type(error).__name__});"
            " check the id and the network, or give a local folder.",
            key="model.hub_unavailable",
        ) from None
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _hub_card(source: str, revision: str | None) -> Path:
    """The folder of a hub id's model card; a card that cannot be downloaded is not an error."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, "README.md", revision=revision)).parent
    except Exception:
        return Path(source)


def weight_files(place: str, revision: str | None, name: str = "model.safetensors") -> list[Path]:
    """The file with that name, else all safetensors files, in a folder or a hub id's cache; empty if there are none.

    A mixture's folder has those of its experts too.
    """
    folder = Path(place)
    if folder.is_dir():
        whole = folder / name  # the folder may hold other files too, such as a quantised copy
        own = [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))
        experts = sorted((folder / EXPERTS_FOLDER).glob("*/"))
        return [*own, *(file for expert in experts for file in weight_files(str(expert), None))]
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(place, name, revision=revision)
    return [Path(cached)] if isinstance(cached, str) else []


def licence(place: str, revision: str | None = None) -> str | None:
    """The licence that the model card of a folder or hub id states; None if it states none."""
    card = (Path(place) if Path(place).is_dir() else _hub_card(place, revision)) / "README.md"
    if not card.is_file():
        return None
    line = re.search(r"^license:\s*(\S+)", card.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return line.group(1).strip("\"'") if line else None
