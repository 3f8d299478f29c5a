"""A language teacher's largest logits at every answer token, by example id.

A shard holds the answer tokens of a fixed range of examples. Logits are stored relative to the largest one, in half
precision, which is most exact for the most probable tokens. ``log_sum_exp`` covers all V logits at the store's
temperature. The probability of the other V − K tokens is stored as well, because for confident tokens it is smaller
than the error of a sum of rounded ones. With K = 64 and a vocabulary below 65,536 a token takes 266 bytes.

Shapes: N answer tokens of a batch, K kept logits, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from potstill.errors import UserError
from potstill.remote.urls import is_url
from potstill.teaching.stores.base import LabelStore
from potstill.teaching.stores.manifest import LabelSource, Manifest
from potstill.teaching.stores.remote import local_folder
from potstill.teaching.stores.shards import Shard
from potstill.types import TopLogits

if TYPE_CHECKING:
    from potstill.families.base import Model

KEPT_LOGITS = 64
#: arrays of a shard: the number of answer tokens of each example; then per answer token: the token ids of the kept
#: logits, the kept logits, the log-sum-exp over all logits, and the share of the probability that is kept
LOGIT_FIELDS = ("counts", "indices", "logits", "log_sum_exp", "mass")
#: logarithm of the share that is not kept, per answer token; shards of earlier versions do not have it
OTHERS = "others"
_TYPES_IN_MEMORY = {"indices": np.int64, "logits": np.float32, "log_sum_exp": np.float32, OTHERS: np.float32}


class LogitStore(LabelStore):
    """Logits of one teacher for one data set; made by :func:`potstill.teaching.engines.logits.label_logits`.

    See :class:`potstill.teaching.stores.base.LabelStore`.
    """

    kind = "logits"
    counted = "counts"

    def __init__(self, folder: Path, manifest: Manifest, url: str = ""):
        super().__init__(folder, manifest, url)
        self.kept: int = manifest.settings["kept"]
        self.temperature: float = manifest.settings["temperature"]
        self._offsets: dict[int, np.ndarray] = {}

    @classmethod
    def open(
        cls,
        folder: str | Path,
        dataset: LabelSource | None = None,
        teacher: Model | None = None,
        temperature: float | None = None,
    ) -> LogitStore:
        """Open a store and check that its labels are of these examples, by this teacher, at this temperature, if given.

        Raises
        ------
        UserError
            If there is no store, or it belongs to another teacher, other examples or another temperature (the message
            says which).
        """
        local, url = local_folder(folder), str(folder).rstrip("/") if is_url(folder) else ""
        manifest = Manifest.read(local, cls.kind)
        if temperature is not None:
            manifest.check_settings(folder, {"temperature": temperature})
        if dataset is not None:
            manifest.check_dataset(folder, dataset)
        if teacher is not None:
            manifest.check_teacher(folder, teacher)
        return cls(local, manifest, url)

    @property
    def names(self) -> tuple[str, ...]:
        """Arrays that every shard holds."""
        return LOGIT_FIELDS

    @property
    def optional(self) -> tuple[str, ...]:
        """Arrays that a shard may hold."""
        return (OTHERS,)

    def mass(self) -> float:
        """Mean share of the teacher's probability that the kept tokens hold, at the store's temperature."""
        indices = sorted(int(path.stem.rpartition("-")[2]) for path in self.folder.glob("shard-*.safetensors"))
        shards = [shard for index in indices if (shard := self._shard(index)) is not None]
        return float(np.concatenate([shard.arrays["mass"].astype(np.float64) for shard in shards]).mean())

    def logits(self, examples: Sequence[int]) -> TopLogits:
        """The teacher's stored logits at the answer tokens of some examples ``[N, K]``, in their order.

        Raises
        ------
        UserError
            If examples have no labels, or a shard is corrupt (the message names the file).
        """
        parts: list[dict[str, np.ndarray]] = []
        for example in examples:
            index, row = divmod(example, self.manifest.shard_rows)
            shard = self._shard(index)
            if shard is None or row >= len(shard.arrays["counts"]):
                raise UserError(
                    f"{self.place}: example {example} has no labels; label the rest with `potstill label --output"
                    f" {self.place}` and the same options.",
                    key="labels.missing",
                )
            offsets = self._offsets_in(index, shard)
            place = slice(offsets[row], offsets[row + 1])
            part = {name: shard.arrays[name][place] for name in ("indices", "logits", "log_sum_exp")}
            unknown = np.full_like(part["log_sum_exp"], np.nan)
            part[OTHERS] = shard.arrays[OTHERS][place] if OTHERS in shard.arrays else unknown
            parts.append(part)
        indices, logits, total, others = (
            torch.from_numpy(np.concatenate([part[name] for part in parts]).astype(kind))
            for name, kind in _TYPES_IN_MEMORY.items()
        )
        return TopLogits(indices, logits, total, self.temperature, others)

    def _label_info(self) -> dict[str, Any]:
        return {"signals": frozenset({"logits"})}

    def _offsets_in(self, index: int, shard: Shard) -> np.ndarray:
        """The offsets at which the tokens of each example of a shard begin, and the end of the last one."""
        if index not in self._offsets:
            self._offsets[index] = np.concatenate([[0], np.cumsum(shard.arrays["counts"], dtype=np.int64)])
        return self._offsets[index]
