"""Ask a teacher once for its forecasts of every window of a data set and keep them in shards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from potstill.errors import UserError
from potstill.teaching.stores.forecasts import LabelStore
from potstill.teaching.stores.manifest import NAME, Manifest, WindowSource, stores_inputs
from potstill.teaching.stores.shards import INPUTS, LABELS, TornShard, read_shard, shard_path, write_shard
from potstill.teaching.stores.timing import Took
from potstill.types import Forecast, Windows

if TYPE_CHECKING:
    from potstill.families.base import Forecaster

STALE_SECONDS = 3600
LARGEST_HALF = 65504.0


@dataclass(frozen=True)
class Progress:
    """How far labelling is. ``done`` counts those labelled now, ``kept`` those found finished, of ``total``."""

    done: int
    kept: int
    total: int
    seconds: float
    unit: str = "windows"

    @property
    def rate(self) -> float:
        """Labelled per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """Expected time to the end; NaN until something was labelled."""
        return (self.total - self.kept - self.done) / self.rate if self.rate else float("nan")

    def __str__(self) -> str:
        left = "" if self.seconds_left != self.seconds_left else f" · {_clock(self.seconds_left)} left"
        kept = f" ({self.kept:,} kept)" if self.kept else ""
        return f"{self.done + self.kept:,} of {self.total:,} {self.unit}{kept} · {self.rate:,.1f}/s{left}"


def make_labels(
    forecaster: Forecaster,
    dataset: WindowSource,
    folder: str | Path,
    *,
    batch_size: int = 64,
    shard_windows: int = 2048,
    first: int = 0,
    count: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> LabelStore:
    """Label the windows ``first … first + count`` of ``dataset`` into ``folder``, shard by shard.

    A shard holds the windows ``[k · shard_windows, (k + 1) · shard_windows)`` of the data set, whoever writes it, and
    appears whole or not at all: a killed run loses the shard it was at, and the same call goes on after the finished
    ones. Several processes may label different ranges into one folder; a range is widened to whole shards.

    Parameters
    ----------
    forecaster
        The teacher; its ``predict`` is called.
    dataset
        Windows by id. Where it ``stores_inputs`` (synthetic, augmented), contexts and futures are stored as well.
    folder
        The label store to make or to continue.
    batch_size
        Windows per teacher pass.
    shard_windows
        Windows per shard; a store keeps the number it was made with.
    first, count
        The range of window ids; default all.
    progress
        Called after each batch.
    provenance
        More to record for people, such as the paths of the data.

    Raises
    ------
    UserError
        Where ``folder`` holds labels of another teacher, other data or other lengths (it says which), cannot be
        written, where windows come in groups or with covariates, or the teacher's forecast of a window is not finite
        (it names the window).
    """
    total = len(dataset)
    stop = total if count is None else min(first + count, total)
    if min(batch_size, shard_windows) < 1 or not 0 <= first < stop:
        raise UserError(
            f"{folder}: nothing to label: the data hold windows 0 to {total - 1}, asked for {first} to {stop - 1}"
            f" with batch size {batch_size} and {shard_windows} windows a shard."
        )
    folder = Path(folder)
    manifest = _open_or_start(forecaster, dataset, folder, shard_windows, provenance)
    names = tuple(LABELS) + (tuple(INPUTS) if manifest.stores_inputs else ())
    indices = range(first // shard_windows, -(-stop // shard_windows))
    sizes = {k: min(shard_windows, total - k * shard_windows) for k in indices}
    todo = [k for k in indices if not _finished(shard_path(folder, k), manifest.key, names, sizes[k])]
    kept = sum(sizes.values()) - sum(sizes[k] for k in todo)
    done, began = 0, time.perf_counter()
    for k in todo:
        parts, start = [], time.perf_counter()
        for ids in _batches(k * shard_windows, sizes[k], batch_size):
            parts.append(_label(forecaster, dataset, ids))
            done += len(ids)
            if progress is not None:
                progress(Progress(done, kept, kept + sum(sizes[k] for k in todo), time.perf_counter() - began))
        tensors = {name: torch.cat([part[name] for part in parts]) for name in names}
        tensors["values"] = _halved(tensors["values"])
        _write(shard_path(folder, k), manifest.key, tensors, Took(k, sizes[k], time.perf_counter() - start))
    return LabelStore(folder, manifest)


def _open_or_start(
    forecaster: Forecaster,
    dataset: WindowSource,
    folder: Path,
    shard_windows: int,
    provenance: Mapping[str, Any] | None,
) -> Manifest:
    entries = check_folder(folder)
    if NAME not in entries:
        # One window through the teacher before anything is written: it tells arcsinh, and what fails, fails now.
        window = dataset.__getitems__(np.zeros(1, np.int64))
        if any(x is not None for x in (window.group, window.past_covariates, window.future_covariates)):
            raise UserError(
                f"{folder}: labels hold no groups or covariates; leave labels out: the teacher answers live."
            )
        probe = forecaster.predict(window.context, window.future.shape[1])
        manifest = Manifest.of(
            forecaster, dataset, arcsinh=probe.arcsinh, shard_windows=shard_windows, provenance=provenance
        )
        if NAME not in check_folder(folder):  # another process may have begun meanwhile
            manifest.write(folder)
    manifest = Manifest.read(folder)
    manifest.check_dataset(folder, dataset, provenance)
    manifest.check_teacher(folder, forecaster)
    if manifest.shard_windows != shard_windows:
        raise UserError(
            f"{folder}: has {manifest.shard_windows} windows a shard, this call asks for {shard_windows};"
            " continue with the former or label into a new folder."
        )
    return manifest


def check_folder(folder: Path) -> set[str]:
    """Names in a folder that is new, empty or a label store; any other is an error."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another --output.") from None
    if entries and NAME not in entries:
        raise UserError(f"{folder}: exists and holds no labels; choose another --output.")
    return entries


def _finished(path: Path, key: str, names: tuple[str, ...], size: int) -> bool:
    try:
        return len(read_shard(path, key, names)) >= size
    except (FileNotFoundError, TornShard):
        return False


def _batches(start: int, size: int, batch_size: int) -> Iterator[np.ndarray]:
    for offset in range(start, start + size, batch_size):
        yield np.arange(offset, min(offset + batch_size, start + size))


def _label(forecaster: Forecaster, dataset: WindowSource, ids: np.ndarray) -> dict[str, torch.Tensor]:
    windows = dataset.__getitems__(ids)
    forecast = forecaster.predict(windows.context, windows.future.shape[1], batch_size=len(ids))
    _check_finite(forecast, windows)
    tensors = {name: getattr(forecast, name) for name in LABELS}
    types = LABELS | {"values": torch.float32}
    if stores_inputs(dataset):
        types |= INPUTS
        tensors |= {name: getattr(windows, name) for name in INPUTS}
    return {name: tensor.to("cpu", types[name]) for name, tensor in tensors.items()}


def _halved(values: torch.Tensor) -> torch.Tensor:
    """Half precision, unless the shard holds what that cannot: values far out of a context's scale, without arcsinh."""
    return values if values.abs().max() > LARGEST_HALF else values.half()


def _check_finite(forecast: Forecast, windows: Windows) -> None:
    finite = forecast.values.isfinite().flatten(1).all(1) & (forecast.scale > 0).all(1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise UserError(
            f"window {int(windows.ids[row])} (series {int(windows.series[row])}, origin {int(windows.origin[row])}):"
            " the teacher's forecast is not finite; label with fp32 weights or leave that series out."
        )


def _write(path: Path, key: str, tensors: dict[str, torch.Tensor], took: Took) -> None:
    for left_over in path.parent.glob(f".{path.name}.*"):  # by a kill; a younger one may be another process's
        if time.time() - left_over.stat().st_mtime > STALE_SECONDS:
            left_over.unlink(missing_ok=True)
    try:
        took.note(path.parent)  # first: what a kill then leaves is a line on a shard that will be made again
        write_shard(path, key, tensors)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); make room and give the same command again:"
            " finished shards are kept."
        ) from None


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
