"""Models and their exported folders, made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import exported_models
import pytest

from potstill.families.base import Forecaster
from potstill.runtime import Runtime


@dataclass
class Exported:
    """A model in PyTorch and its exported folder."""

    torch: Forecaster
    folder: Path

    @cached_property
    def runtime(self) -> Runtime:
        return Runtime(self.folder)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Gives an exported model by its name."""
    made: dict[str, Exported] = {}
    place = tmp_path_factory.mktemp("exported")

    def of(name: str) -> Exported:
        if name not in made:
            groups = name == exported_models.GROUPS
            mixture = name == exported_models.MIXTURE
            model = exported_models.build_mixture() if mixture else exported_models.build(name.partition("-")[0])
            made[name] = Exported(model, exported_models.export(model, place / name, groups))
        return made[name]

    return of


@pytest.fixture
def folder(exported: Callable[[str], Exported], tmp_path: Path) -> Path:
    """A copy of an exported linear model that may be damaged."""
    return Path(shutil.copytree(exported("linear").folder, tmp_path / "model"))
