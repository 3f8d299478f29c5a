"""How mixtures are recognised and loaded: a folder with a router and a folder for each expert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors.torch import load_file

from potstill.errors import UserError
from potstill.families.base import Forecaster, ModelSource, TeacherFamily
from potstill.families.checkpoint import EXPERTS_FOLDER, read_config
from potstill.families.experts.model import MODEL_TYPE, ROUTER_FILE, Mixture
from potstill.families.experts.router import RouterSettings
from potstill.families.load import load_forecaster
from potstill.recipe.problems import problem

#: names of folders
_EXPERTS = TypeAdapter(Annotated[list[Annotated[str, Field(pattern=r"^[^/\\]*[^/\\.][^/\\]*$")]], Field(min_length=1)])


class MixtureFamily(TeacherFamily[Mixture]):
    """Mixtures of forecasters; made by ``potstill mix``."""

    name = "mixture"

    def recognises(self, config: dict[str, Any]) -> bool:
        """Recognised by the model type."""
        return config.get("model_type") == MODEL_TYPE

    def load(self, folder: str, source: ModelSource, **hub_options: Any) -> Mixture:
        """Load the router and every expert.

        Raises
        ------
        UserError
            If an expert is missing or cannot be loaded, or the router's weights do not fit the config.
        """
        place = _on_disk(folder, hub_options.get("revision"))
        config = read_config(place)
        try:
            names = _EXPERTS.validate_python(config.get("experts"))
            settings = TypeAdapter(RouterSettings).validate_python(config.get("router"))
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{'.'.join(map(str, first['loc']))}: {problem(first)}".removeprefix(": ")
            raise UserError(
                f"{folder}: its config.json does not describe a mixture ({what}); create it again with `potstill mix`.",
                key="mixture.bad_config",
            ) from None
        precision = "bf16" if hub_options.get("dtype") == torch.bfloat16 else "fp32"
        experts = {name: load_expert(place, name, precision) for name in names}
        mixture = Mixture(experts, settings, source, cards_of(place, names), float(config.get("spread", 1.0)))
        try:
            mixture.router.load_state_dict(load_file(place / ROUTER_FILE))
        except RuntimeError:
            raise UserError(
                f"{folder}: the router's weights are not those of {len(names)} experts; create the mixture again with"
                " `potstill mix`.",
                key="mixture.router_mismatch",
            ) from None
        mixture.module.eval()
        return mixture


def load_expert(place: Path, name: str, precision: str) -> Forecaster:
    """An expert of the mixture in a folder; raises UserError naming the mixture and the expert."""
    folder = place / EXPERTS_FOLDER / name
    if not folder.is_dir():
        raise UserError(
            f"{place}: its expert {name!r} is missing ({folder}); copy the whole folder of the mixture.",
            key="mixture.no_expert",
        )
    try:
        return load_forecaster(folder, precision=precision)
    except UserError as error:
        raise UserError(f"{place}: its expert {name!r} cannot be loaded: {error}", key="mixture.bad_expert") from None


def cards_of(place: Path, names: list[str]) -> dict[str, str]:
    """The experts' model cards, as far as there are any."""
    cards = {name: place / EXPERTS_FOLDER / name / "README.md" for name in names}
    return {name: card.read_text(encoding="utf-8") for name, card in cards.items() if card.is_file()}


def _on_disk(folder: str, revision: str | None) -> Path:
    """The folder, downloaded if it is a hub id."""
    if Path(folder).is_dir():
        return Path(folder)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(folder, revision=revision, allow_patterns=["*.json", "*.safetensors", "*.md"]))
