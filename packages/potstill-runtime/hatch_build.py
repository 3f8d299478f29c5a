"""Take the code from the repository; a source distribution has it beside this file, where hatchling finds it."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "potstill_runtime"


class Hook(BuildHookInterface):
    """Adds the package to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling."""
        if not Path(self.root, NAME).is_dir():
            source = Path(self.root).parents[1] / "src" / "potstill" / "runtime"
            build_data["force_include"][str(source)] = NAME
