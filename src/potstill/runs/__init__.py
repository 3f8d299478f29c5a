"""Run folders: atomic writes, the model card and provenance."""

from potstill.runs.folders import (
    FULL,
    GENERAL,
    METRICS_FILE,
    RECIPE_FILE,
    begin_folder,
    check_run,
    clear_up,
    last_good,
    open_run,
    output_path,
    put_in_place,
    run_of,
    write_atomically,
    write_folder,
    write_json,
    writing_into,
)
from potstill.runs.lock import locked

__all__ = [
    "FULL",
    "GENERAL",
    "METRICS_FILE",
    "RECIPE_FILE",
    "begin_folder",
    "check_run",
    "clear_up",
    "last_good",
    "locked",
    "open_run",
    "output_path",
    "put_in_place",
    "run_of",
    "write_atomically",
    "write_folder",
    "write_json",
    "writing_into",
]
