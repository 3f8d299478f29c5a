"""Checkpoints as files, before any library touches them: config, card, and weights that are safetensors and whole."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from potstill.errors import UserError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")


def read_config(folder: Path) -> dict[str, Any]:
    """A folder's config.json."""
    path = folder / "config.json"
    if not path.exists():
        raise UserError(f"{folder}: holds no config.json; give a checkpoint's folder, a run, a hub id or 'embedded'.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is no readable JSON ({error}); fetch or make the checkpoint again.") from None
    if not isinstance(config, dict):
        raise UserError(f"{path}: expected an object with the model's settings; fetch or make the checkpoint again.")
    return config


def is_causal(config: dict[str, Any]) -> bool:
    """Whether a config.json is a causal language model's: by its class, or by what transformers makes of its type."""
    if any("CausalLM" in str(name) or "LMHead" in str(name) for name in config.get("architectures") or ()):
        return True
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return config.get("model_type") in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def check_weights(folder: Path) -> None:
    """Refuse pickles, and safetensors files that are cut off, before any library touches them."""
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        pickled = [p.name for p in sorted(folder.iterdir()) if p.suffix in PICKLES]
        if pickled:
            raise UserError(
                f"{folder / pickled[0]}: is a pickle, which can run code when read;"
                " convert the weights to model.safetensors."
            )
        raise UserError(f"{folder}: holds no model.safetensors; fetch or make the checkpoint again.")
    from safetensors import SafetensorError, safe_open

    for path in found:
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: is damaged or cut off ({error}); fetch or make the checkpoint again.") from None


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
            f"{source}: no such folder, and the hub did not give it{offline} ({type(error).__name__});"
            " check the id and the network, or give a local folder."
        ) from None
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _hub_card(source: str, revision: str | None) -> Path:
    """The folder of a hub id's card; a card that cannot be had is no reason to fail."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, "README.md", revision=revision)).parent
    except Exception:
        return Path(source)


def weight_files(place: str, revision: str | None, name: str = "model.safetensors") -> list[Path]:
    """The file of that name, or all safetensors files, in a folder or a hub id's cache; none where there are none."""
    folder = Path(place)
    if folder.is_dir():
        whole = folder / name  # beside it may lie others, such as a quantised one
        return [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(place, name, revision=revision)
    return [Path(found)] if isinstance(found, str) else []


def licence(place: str, revision: str | None = None) -> str | None:
    """What the card of a folder or a hub id says of it."""
    card = (Path(place) if Path(place).is_dir() else _hub_card(place, revision)) / "README.md"
    if not card.is_file():
        return None
    found = re.search(r"^license:\s*(\S+)", card.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return found.group(1).strip("\"'") if found else None
