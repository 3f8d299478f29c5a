"""What a label store says of itself: whose labels of which windows it holds, and the key made of that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from potstill.errors import UserError
from potstill.runs import write_json

if TYPE_CHECKING:
    from potstill.families.base import Forecaster
    from potstill.types import Windows

NAME = "labels.json"
FORMAT = 1


class WindowSource(Protocol):
    """What labelling needs of a data set: windows by id, and a fingerprint that names them.

    One whose windows cannot be cut from the data again (drawn, mixed, synthetic) also has ``stores_inputs = True``.
    """

    @property
    def fingerprint(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitems__(self, ids: np.ndarray) -> Windows: ...


@dataclass(frozen=True)
class Manifest:
    """The identity of a label store (everything but ``provenance`` and ``windows`` goes into its key).

    Attributes
    ----------
    teacher, data
        Fingerprints of the teacher's weights and of the windows.
    teacher_name
        The teacher's name, for messages.
    precision
        Data type of the teacher's weights, such as ``float32`` or ``bfloat16``.
    stores_inputs
        Whether shards hold contexts and futures beside the labels.
    shard_windows, windows
        Window ids per shard, and how many windows the data set has.
    provenance
        Where teacher and data came from, for people.
    """

    teacher: str
    teacher_name: str
    data: str
    context_length: int
    prediction_length: int
    levels: tuple[float, ...]
    precision: str
    arcsinh: bool
    stores_inputs: bool
    shard_windows: int
    windows: int
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        forecaster: Forecaster,
        dataset: WindowSource,
        *,
        arcsinh: bool,
        shard_windows: int,
        provenance: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """The manifest that labels of ``dataset`` by ``forecaster`` carry."""
        context, horizon = lengths(dataset)
        return cls(
            teacher=forecaster.fingerprint,
            teacher_name=forecaster.source.name,
            data=dataset.fingerprint,
            context_length=context,
            prediction_length=horizon,
            levels=_levels(forecaster),
            precision=_precision(forecaster),
            arcsinh=arcsinh,
            stores_inputs=stores_inputs(dataset),
            shard_windows=shard_windows,
            windows=len(dataset),
            provenance={"source": asdict(forecaster.source), **(provenance or {})},
        )

    @property
    def key(self) -> str:
        """sha256 over all that decides what a label is; every shard carries it."""
        identity = [self.teacher, self.data, self.context_length, self.prediction_length, self.precision, self.arcsinh]
        identity += [[round(level, 6) for level in self.levels], self.stores_inputs, self.shard_windows]
        return hashlib.sha256(json.dumps([FORMAT, *identity]).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write ``labels.json`` atomically."""
        write_json(folder / NAME, {"format": FORMAT, "key": self.key, **asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read ``labels.json``.

        Raises
        ------
        UserError
            Where the folder holds none, or one that cannot be read or was edited.
        """
        path = folder / NAME
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            if tree["format"] != FORMAT:
                raise UserError(
                    f"{path}: written in format {tree['format']}, this version reads {FORMAT}; label again."
                )
            key = tree["key"]
            known = {name: tree[name] for name in cls.__dataclass_fields__}
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{folder}: holds no labels (no {NAME}); make them with `potstill label --output {folder}`."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: is not a label manifest ({error}); label again into a new folder.") from None
        manifest = cls(**{**known, "levels": tuple(known["levels"])})
        if manifest.key != key:
            raise UserError(f"{path}: was changed since it was written (its key disagrees); label into a new folder.")
        return manifest

    def check_dataset(self, folder: Path, dataset: WindowSource, settings: Mapping[str, Any] | None = None) -> None:
        """Raise a UserError that says what differs where the labels answer other windows than ``dataset``'s.

        ``settings`` is what ``dataset`` was made with, laid out as in ``provenance``: what differs is named by its key.
        """
        for name, theirs in zip(("context_length", "prediction_length"), lengths(dataset), strict=True):
            mine = getattr(self, name)
            if mine != theirs:
                raise UserError(
                    f"{folder}: the labels were made with {name} {mine}, this run has {theirs};"
                    " use the same lengths or label into a new folder."
                )
        if self.data != dataset.fingerprint:
            differs = self._differs(settings or {})
            what = (
                f"were made with {'; '.join(differs)}"
                if differs
                else f"belong to other data (theirs {self.data[:12]}, yours {dataset.fingerprint[:12]})"
            )
            raise UserError(f"{folder}: the labels {what}. Use what they were made with, or label into a new folder.")
        if self.stores_inputs != stores_inputs(dataset):
            raise UserError(
                f"{folder}: the labels belong to other data (one stores its inputs); label into a new folder."
            )

    def _differs(self, settings: Mapping[str, Any]) -> list[str]:
        """``data.split suite, this run has 8:1:1`` for every setting of this run that the labels were not made with."""
        mine, theirs = _flat(settings), _flat(self.provenance)
        return [
            f"{key} {theirs[key]}, this run has {value}"
            for key, value in mine.items()
            if key in theirs and theirs[key] != value and key.split(".")[0] in ("data", "training")
        ]

    def check_teacher(self, folder: Path, forecaster: Forecaster) -> None:
        """Raise a UserError that says what differs where the labels come from another teacher than ``forecaster``."""
        precision = _precision(forecaster)
        if self.precision != precision:
            raise UserError(
                f"{folder}: the labels were made with the teacher's weights in {self.precision}, this teacher is in"
                f" {precision}; use the same precision or label into a new folder."
            )
        if self.teacher != forecaster.fingerprint or len(self.levels) != len(_levels(forecaster)):
            raise UserError(
                f"{folder}: the labels come from another teacher ({self.teacher_name} {self.teacher[:12]}, yours is"
                f" {forecaster.source.name} {forecaster.fingerprint[:12]}); use that teacher or label into"
                " a new folder."
            )


def lengths(dataset: WindowSource) -> tuple[int, int]:
    """Context and prediction length of a data set, by its first window."""
    windows = dataset.__getitems__(np.zeros(1, np.int64))
    return windows.context.shape[1], windows.future.shape[1]


def stores_inputs(dataset: WindowSource) -> bool:
    """Whether labels of this data set keep contexts and futures beside them."""
    return bool(getattr(dataset, "stores_inputs", False))


def _levels(forecaster: Forecaster) -> tuple[float, ...]:
    return tuple(float(level) for level in forecaster.levels)


def _precision(forecaster: Forecaster) -> str:
    return str(next(forecaster.module.parameters()).dtype).removeprefix("torch.")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= _flat(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves
