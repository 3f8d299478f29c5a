"""Where a table of forecasts is written: a file of this machine or behind a URL, which is not one of the inputs."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from potstill.data.data_report import DataReport
from potstill.data.files import files_of
from potstill.data.series.readers import find_sources
from potstill.errors import UserError
from potstill.recipe import SeriesData
from potstill.remote.copies import check_access
from potstill.remote.outputs import uploaded
from potstill.remote.urls import check_url, is_url
from potstill.runs import output_path
from potstill.verbs.forecasting.table import WRITERS


def check_output(output: str | Path) -> None:
    """Raise UserError if no table can be written there."""
    path = output_path(output)
    if is_url(output):
        check_url(str(output))
    elif path.is_dir():
        raise UserError(f"--output {output}: is a folder; give the name of a file.", key="output.is_a_folder")
    if path.suffix not in WRITERS:
        raise UserError(
            f"--output {output}: unknown ending {path.suffix!r}; write a .parquet or a .csv file.",
            key="output.unknown_ending",
        )
    if is_url(output):
        check_access(str(output))
    elif not path.parent.is_dir():
        raise UserError(
            f"--output {output}: its folder does not exist; create {path.parent} first.",
            key="output.no_parent_folder",
        )
    elif not os.access(path.parent, os.W_OK):
        raise UserError(
            f"--output {output}: {path.parent} cannot be written to; choose another place.", key="output.not_writable"
        )


def keep_inputs(output: str | Path, data: SeriesData, future: Any) -> None:
    """Raise UserError if the table would replace the history, or the values that are known ahead."""
    path = output_path(output)
    if is_url(output) or not path.exists():
        return
    sources = find_sources(data.paths, data.exclude, data.max_files, DataReport()) if data.paths else []
    inputs = [file.path for source in sources for file in files_of(source)]
    inputs += [Path(os.path.expanduser(future))] if isinstance(future, str | Path) and not is_url(future) else []
    if any(one.exists() and one.samefile(path) for one in inputs):
        raise UserError(
            f"--output {output}: is one of the files that are read, and would be replaced; choose another file.",
            key="output.is_an_input",
        )


def local_file(output: str | Path | None) -> AbstractContextManager[Path | None]:
    """Where the table is written on this machine."""
    if isinstance(output, str) and is_url(output):
        return uploaded(output)
    return nullcontext(output_path(output) if output is not None else None)
