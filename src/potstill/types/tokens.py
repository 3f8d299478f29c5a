"""A batch of tokenised prompts and answers, the input of language models.

Shapes: B examples, T tokens, N answer tokens of the whole batch (row by row).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from potstill.types.moving import on_device, pinned

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Tokens:
    """A batch of tokenised prompts and answers, padded on the right.

    Attributes
    ----------
    input_ids
        ``[B, T]`` int64.
    attention
        ``[B, T]`` bool: False where padded.
    answer
        ``[B, T]`` bool: the tokens that the loss is computed on. Token ``t`` is predicted from the tokens before it.
    ids
        ``[B]`` int64 ids of the examples; an id refers to the same example in every run.
    """

    input_ids: Tensor
    attention: Tensor
    answer: Tensor
    ids: Tensor

    def __len__(self) -> int:
        return self.input_ids.shape[0]

    @property
    def targets(self) -> Tensor:
        """``[N]``: the answer tokens, row by row."""
        return self.input_ids[self.answer]

    def take(self, rows: Any) -> Tokens:
        """The examples of some rows: indices, a slice or a mask of ``[B]``."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def first_steps(self, horizon: int) -> Tokens:
        """The unchanged batch, because text has no horizon."""
        return self

    def to(self, device: Any, non_blocking: bool = True) -> Tokens:
        """Move every tensor to ``device``, by default without waiting for copies from pinned memory."""
        return on_device(self, device, non_blocking)

    def pin_memory(self) -> Tokens:
        """The same batch in page-locked memory; the data loader calls this."""
        return pinned(self)
