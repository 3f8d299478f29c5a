"""The time that labelling took, one line per shard, so that the cost of the labels that a run reads is known."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

TIMING_FILE = "times.jsonl"


@dataclass(frozen=True)
class ShardTiming:
    """A shard, the number of its windows (or examples), and the seconds that labelling them took."""

    shard: int
    windows: int
    seconds: float

    def append(self, folder: Path) -> None:
        """Append a line to the store's file; several processes may append at once."""
        with (folder / TIMING_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(self)) + "\n")


def seconds_per_window(folder: Path) -> float:
    """Mean over all shards, using the last line of each; 0 if no times were recorded."""
    shards: dict[int, ShardTiming] = {}
    path = folder / TIMING_FILE
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            timing = ShardTiming(**json.loads(line))
        except (ValueError, TypeError):  # an incomplete line, left by a kill
            continue
        shards[timing.shard] = timing
    windows = sum(timing.windows for timing in shards.values())
    return sum(timing.seconds for timing in shards.values()) / windows if windows else 0.0
