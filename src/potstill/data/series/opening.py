"""Open the store of files or of data in memory: from the cache, or built there first if its content is new."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.data import fingerprints
from potstill.data.cache import cache_folder, open_or_build
from potstill.data.data_report import DataReport
from potstill.data.files import DataSource, files_of, readable
from potstill.data.series.blocks.files import large_file
from potstill.data.series.blocks.refusal import NotInBlocks
from potstill.data.series.blocks.table import LargeFile
from potstill.data.series.build import Builder, Input
from potstill.data.series.calendar import TimeStep
from potstill.data.series.columns import ColumnSelection
from potstill.data.series.covariates import CovariateNames
from potstill.data.series.future_rows import FutureRows, future_rows, with_future
from potstill.data.series.grouping import series_groups
from potstill.data.series.in_memory import table_of
from potstill.data.series.nested import sheet_of_table
from potstill.data.series.readers import find_sources, read_sheet
from potstill.data.series.seasons import training_seasons
from potstill.data.series.sheet import Sheet, index_columns
from potstill.data.series.store import Store
from potstill.errors import UserError
from potstill.recipe import SeriesData

if TYPE_CHECKING:
    import pyarrow as pa


_LAYOUT = 4  # of a store's files; raise it when the same data is stored differently


def open_store(data: SeriesData, cache: Path | None = None, future: Any = None) -> Store:
    """Open the store of ``data.paths`` from the cache; build it there first if its content is new.

    Parameters
    ----------
    data
        ``paths``, ``exclude``, ``max_files``, ``target``, ``columns``, ``time_column``, ``date_format`` and ``freq``
        decide the content; lengths and splits do not. The season is inferred from the training part of ``split``.
    cache
        Default: ``$POTSTILL_CACHE`` or ``~/.cache/potstill/stores``. Its folders may be deleted at any time.
    future
        Known covariates after the last rows of the only file: a path, or a table in memory.

    Raises
    ------
    UserError
        The data has nothing usable, or the cache folder cannot be written.
    """
    file_report = DataReport()
    sources = find_sources(data.paths, data.exclude, data.max_files, file_report)
    folder = cache_folder(cache)
    files = [file for source in sources for file in files_of(source)]
    fingerprint = fingerprints.of_files(files, _options(data), folder)
    inputs = [
        Input(source.name, partial(_read, source, data.decimal), partial(_large, source, data.decimal))
        for source in sources
    ]
    store = _open_or_build(folder, fingerprint, inputs, _selection(data), future)
    store.report.add(file_report)
    store.train_only = _names_below(data, sources)
    return _opened(store, data)


def _names_below(data: SeriesData, sources: list[DataSource]) -> frozenset[str]:
    """The names of the files that ``data.train_only`` lists."""
    if not data.train_only:
        return frozenset()
    files = {source.path.resolve() for source in find_sources(data.train_only, data.exclude, None, DataReport())}
    return frozenset(source.name for source in sources if source.path.resolve() in files)


def store_from_frame(
    frame: Any, data: SeriesData, cache: Path | None = None, name: str = "frame", future: Any = None
) -> Store:
    """Open or build the store of data in memory: a frame or any other form of ``in_memory.table_of``.

    The settings of ``data`` that choose columns are used; the data set is named ``name``. ``future`` and errors are as
    in ``open_store``.
    """
    table = table_of(frame, name)
    index = {"index": columns} if (columns := index_columns(table)) else {}
    fingerprint = fingerprints.of_table(table, {**_options(data), "name": name, **index})
    inputs = [Input(name, partial(_read_table, table, name, data.decimal))]
    store = _open_or_build(cache_folder(cache), fingerprint, inputs, _selection(data), future)
    return _opened(store, data)


def _opened(store: Store, data: SeriesData) -> Store:
    """The store with what is not kept in its folder: seasons of the training part, and groups of series."""
    store.season = training_seasons(store, data.split)
    if data.groups is not None:
        store.groups = series_groups(store, data.groups)
        store.fingerprint = fingerprints.with_choices(store.fingerprint, [["groups", data.groups]])
    return store


def _selection(data: SeriesData) -> ColumnSelection:
    """The settings that select columns and say how to read them.

    Raises
    ------
    UserError
        The step is not a frequency of pandas.
    """
    try:
        step = TimeStep.parse(data.freq or "")
    except ValueError:
        step = TimeStep()
    if data.freq is not None and not step.timed:
        raise UserError(
            f"data.freq: {data.freq!r} is not a frequency of pandas; write one such as D, h, 15min, W-SUN, MS or ME.",
            key="data.unknown_freq",
        )
    return ColumnSelection(
        data.target,
        first=data.columns == "first",
        ids=data.id_column,
        covariates=CovariateNames(tuple(data.past), tuple(data.known)),
        time_column=data.time_column,
        date_format=data.date_format,
        freq=data.freq,
    )


def _options(data: SeriesData) -> dict[str, object]:
    """The settings that select from the files' content, as part of the fingerprint."""
    names = ("id_column", "decimal", "time_column", "date_format", "freq", "past", "known")
    given = {key: value for key in names if (value := getattr(data, key))}
    return {"target": data.target, **({"columns": data.columns} if data.columns != "all" else {}), **given}


def _read(source: DataSource, decimal: str | None, report: DataReport) -> Sheet:
    return replace(read_sheet(source.path, report, source.name), decimal=decimal or "")


def _large(source: DataSource, decimal: str | None) -> LargeFile | None:
    with readable(source.path):
        file = large_file(source.path)
    return LargeFile(file, decimal or "", str(source.path)) if file is not None else None


def _read_table(table: pa.Table, name: str, decimal: str | None, report: DataReport) -> Sheet:
    return replace(sheet_of_table(name, table, report, name), decimal=decimal or "")


def _read_with_future(data: Input, ahead: FutureRows, selection: ColumnSelection, report: DataReport) -> Sheet:
    return with_future(data.read(report), ahead.read(report), data.name, selection)


def _large_with_future(data: Input) -> None:
    if data.large() is not None:
        raise NotInBlocks("rows of --future follow it", "write them into the file, with empty targets")


def _open_or_build(
    cache: Path, fingerprint: str, inputs: list[Input], selection: ColumnSelection, future: Any
) -> Store:
    if future is not None:
        if len(inputs) != 1:
            raise UserError(
                f"--future: follows one table, and the data has {len(inputs)} files; forecast them one at a time.",
                key="future.several_tables",
            )
        ahead = future_rows(future, cache)
        reading = partial(_read_with_future, inputs[0], ahead, selection)
        inputs = [Input(inputs[0].name, reading, partial(_large_with_future, inputs[0]))]
        fingerprint = fingerprints.with_choices(fingerprint, [["future", ahead.fingerprint]])
    cache_key = fingerprints.of_layout(fingerprint, _LAYOUT)
    return open_or_build(cache, cache_key, _load, lambda folder: Builder(folder, selection).build(inputs, fingerprint))


def _load(folder: Path) -> Store | None:
    """The store in a folder; None if it is missing or incomplete."""
    try:
        return Store.load(folder)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
