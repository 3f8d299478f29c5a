"""How long a teacher took over its labels: a line per shard, so that a run can be charged for what it reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "times.jsonl"


@dataclass(frozen=True)
class Took:
    """A shard, the windows in it, and the seconds it took to ask for and to keep their labels."""

    shard: int
    windows: int
    seconds: float

    def note(self, folder: Path) -> None:
        """Add the line to the store's; several processes may do so at once."""
        with (folder / NAME).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(self)) + "\n")


def seconds_per_window(folder: Path) -> float:
    """Mean over all shards, by the last line of each; 0 where none was noted."""
    shards: dict[int, Took] = {}
    path = folder / NAME
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            took = Took(**json.loads(line))
        except (ValueError, TypeError):  # torn by a kill
            continue
        shards[took.shard] = took
    windows = sum(took.windows for took in shards.values())
    return sum(took.seconds for took in shards.values()) / windows if windows else 0.0
