"""What a worker of a cluster does with a language teacher; tests/integration/test_ray.py runs workers."""

from __future__ import annotations

import json
from pathlib import Path

from potstill.recipe import Recipe
from potstill.tasks.distributed_labels import shard_labeller
from potstill.tasks.prepare import prepare


def test_a_worker_writes_the_shards_of_the_local_engine(gpt2_folder: Path, tmp_path: Path):
    texts = tmp_path / "texts.json"
    texts.write_text(
        json.dumps([{"instruction": f"What is {i}?", "output": "course " * (i % 7 + 1)} for i in range(600)])
    )
    data = {"paths": [str(texts)], "max_length": 200}
    recipe = Recipe.lay_over({"task": "language", "teacher": [str(gpt2_folder)], "student": "gpt2", "data": data}, {})
    task = prepare(recipe)
    task.label(tmp_path / "local")

    def distribute(shards: list[range]) -> list[range]:
        label = shard_labeller(task.recipe, tmp_path / "other")
        return [label(ids) for ids in reversed(shards)]

    task.label(tmp_path / "other", distribute)
    names = ["shard-00000000.safetensors", "shard-00000001.safetensors"]
    assert sorted(path.name for path in (tmp_path / "other").glob("shard-*")) == names
    for name in names:
        assert (tmp_path / "other" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
