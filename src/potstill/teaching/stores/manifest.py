"""The manifest of a label store: the teacher and data of its labels, and the key derived from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from potstill.errors import UserError
from potstill.runs import write_json

if TYPE_CHECKING:
    from potstill.families.base import Model

MANIFEST_FILE = "labels.json"
MANIFEST_VERSION = 2

Kind = Literal["forecasts", "logits"]
#: by kind: the names of rows and of contents in messages
ROWS: dict[str, str] = {"forecasts": "windows", "logits": "examples"}
CONTENTS: dict[str, str] = {"forecasts": "forecasts of windows", "logits": "logits of a language model"}


class LabelSource(Protocol):
    """What labelling needs from a data set: batches by id, and a fingerprint that identifies them.

    A data set whose windows cannot be cut from the data again (augmented, synthetic) also has ``stores_inputs = True``.
    Group ids are the same in every batch.
    """

    @property
    def fingerprint(self) -> str: ...
    def __len__(self) -> int: ...
    def batch(self, ids: np.ndarray) -> Any:
        """Windows or Tokens of some ids, in their order."""
        ...


@dataclass(frozen=True)
class Manifest:
    """The identity of a label store (all but ``teacher_name``, ``rows`` and ``provenance`` goes into its key).

    Attributes
    ----------
    kind
        "forecasts" (rows are windows) or "logits" (rows are examples of text).
    teacher, data
        Fingerprints of the teacher's weights and of the data set.
    teacher_name
        The teacher's name, for messages.
    precision
        Data type of the teacher's weights, such as ``float32`` or ``bfloat16``.
    rows, shard_rows
        Rows of the data set, and row ids per shard.
    stores_inputs
        Whether shards hold the windows in addition to the labels.
    settings
        All other settings that determine a label. Forecasts: ``context_length``, ``prediction_length``, ``levels``,
        ``arcsinh``; logits: ``temperature``, ``kept``.
    provenance
        The origin of teacher and data, for information.
    """

    kind: Kind
    teacher: str
    teacher_name: str
    data: str
    precision: str
    rows: int
    shard_rows: int
    stores_inputs: bool
    settings: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        kind: Kind,
        teacher: Model,
        dataset: LabelSource,
        settings: Mapping[str, Any],
        shard_rows: int,
        provenance: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """The manifest of labels of ``dataset`` by ``teacher``."""
        return cls(
            kind=kind,
            teacher=teacher.fingerprint,
            teacher_name=teacher.source.name,
            data=dataset.fingerprint,
            precision=teacher.precision,
            rows=len(dataset),
            shard_rows=shard_rows,
            stores_inputs=_stores_inputs(dataset),
            settings=dict(settings),
            provenance={"source": asdict(teacher.source), **(provenance or {})},
        )

    @property
    def key(self) -> str:
        """sha256 over everything that determines a label and its place; every shard contains it."""
        known = {"format": MANIFEST_VERSION, **asdict(self)}
        for name in ("teacher_name", "rows", "provenance"):
            del known[name]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write ``labels.json`` atomically."""
        write_json(folder / MANIFEST_FILE, {"format": MANIFEST_VERSION, "key": self.key, **asdict(self)})

    @classmethod
    def read(cls, folder: Path, kind: Kind) -> Manifest:
        """Read ``labels.json`` of a store of that kind.

        Raises
        ------
        UserError
            If the folder has no manifest, or one that cannot be read, was edited, or is of another format or kind.
        """
        path = folder / MANIFEST_FILE
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            if tree["format"] != MANIFEST_VERSION:
                raise UserError(
                    f"{path}: written in format {tree['format']}, this version reads {MANIFEST_VERSION}; label again"
                    " into a new folder.",
                    key="labels.other_format",
                )
            key = tree["key"]
            manifest = cls(**{name: tree[name] for name in cls.__dataclass_fields__})
            changed = manifest.key != key
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{folder}: holds no labels (no {MANIFEST_FILE}); make them with `potstill label --output {folder}`.",
                key="labels.no_store",
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: is not a valid label manifest ({error}); label again into a new folder.",
                key="labels.unreadable_manifest",
            ) from None
        if changed:
            raise UserError(
                f"{path}: was changed since it was written (its key does not match); label into a new folder.",
                key="labels.edited_manifest",
            )
        if manifest.kind != kind:
            raise UserError(
                f"{folder}: does not hold {CONTENTS[kind]}; label into a new folder.", key="labels.other_kind"
            )
        return manifest

    def check_settings(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        """Raise a UserError that names a setting whose value differs from that of the labels."""
        for name, theirs in settings.items():
            if self.settings[name] != theirs:
                raise UserError(
                    f"{folder}: the labels were made with {name} {self.settings[name]}, this run has {theirs};"
                    f" use the same {name} or label into a new folder.",
                    key="labels.other_settings",
                )

    def check_dataset(
        self, folder: str | Path, dataset: LabelSource, made_with: Mapping[str, Any] | None = None
    ) -> None:
        """Raise a UserError that says what differs if the labels belong to other data than ``dataset``.

        ``made_with`` describes ``dataset`` in the form of ``provenance``; settings that differ are named by their keys.
        """
        if self.data != dataset.fingerprint:
            differs = self._differs(made_with or {})
            what = (
                f"were made with {'; '.join(differs)}"
                if differs
                else f"belong to other data (theirs {self.data[:12]}, yours {dataset.fingerprint[:12]})"
            )
            raise UserError(
                f"{folder}: the labels {what}; use the settings of the labels, or label into a new folder.",
                key="labels.other_data",
            )
        if self.stores_inputs != _stores_inputs(dataset):
            raise UserError(
                f"{folder}: the labels belong to other data (one stores its inputs); label into a new folder.",
                key="labels.other_data",
            )

    def check_teacher(self, folder: str | Path, teacher: Model) -> None:
        """Raise a UserError that says what differs if the labels come from another teacher."""
        precision = teacher.precision
        as_many = self.precision.count(" + ") == precision.count(" + ")  # teachers of an ensemble
        if self.precision != precision and as_many:
            raise UserError(
                f"{folder}: the labels were made with the teacher's weights in {self.precision}, this teacher is in"
                f" {precision}; use the same precision or label into a new folder.",
                key="labels.other_precision",
            )
        fingerprint = teacher.fingerprint
        if self.teacher != fingerprint:
            raise UserError(
                f"{folder}: the labels come from another teacher ({self.teacher_name} {self.teacher[:12]}, yours is"
                f" {teacher.source.name} {fingerprint[:12]}); use that teacher or label into a new folder.",
                key="labels.other_teacher",
            )

    def check_shard_rows(self, folder: Path, shard_rows: int) -> None:
        """Raise a UserError if the shards have another size than requested."""
        if self.shard_rows != shard_rows:
            raise UserError(
                f"{folder}: has {self.shard_rows} {ROWS[self.kind]} per shard, this call requests {shard_rows};"
                f" request {self.shard_rows} or label into a new folder.",
                key="labels.other_shard_size",
            )

    def _differs(self, made_with: Mapping[str, Any]) -> list[str]:
        """``data.split suite, this run has 8:1:1`` for every setting that differs between the labels and this run."""
        mine, theirs = _flat(made_with), _flat(self.provenance)
        return [
            f"{key} {theirs[key]}, this run has {value}"
            for key, value in mine.items()
            if key in theirs and theirs[key] != value and key.split(".")[0] in ("data", "training")
        ]


def _stores_inputs(dataset: LabelSource) -> bool:
    return bool(getattr(dataset, "stores_inputs", False))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= _flat(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves
