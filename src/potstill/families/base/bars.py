"""Silence the progress bars of transformers for loading and saving weights, but not of downloads."""

from __future__ import annotations

from typing import Any

from transformers.utils import logging

SILENT = ("Loading weights", "Writing model shards")


def silence_bars() -> None:
    """Silence them from now on; transformers offers a hook for this."""
    logging.set_tqdm_hook(_silenced)


def _silenced(bar: Any, arguments: Any, options: dict[str, Any]) -> Any:
    return bar(*arguments, **{**options, "disable": True} if options.get("desc") in SILENT else options)
