"""Target providers: the teachers' outputs for a batch, computed live or read from a label store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from potstill.types import ModelInfo, Output, Request


class TargetProvider(ABC):
    """Provides the teachers' outputs for a batch.

    Attributes
    ----------
    infos
        The teachers by name; their ``signals`` are those that this provider can return.
    stored
        Whether outputs are read from disk; the data loader then reads them with the batch. Live outputs are computed in
        the training step, after the student's rollouts.
    """

    infos: Mapping[str, ModelInfo]
    stored: bool = False

    @property
    def provides(self) -> frozenset[str]:
        """Signals that all teachers have."""
        return frozenset.intersection(*(info.signals for info in self.infos.values()))

    @abstractmethod
    def outputs(self, batch: Any, requests: Mapping[str, Request]) -> dict[str, Output]:
        """The teachers' outputs for Windows or Tokens, by name, without gradients, on the batch's device.

        Parameters
        ----------
        batch
            Windows or Tokens.
        requests
            What each teacher must return, by name. A stored forecast may be longer than the requested horizon.
        """

    def dataset(self, dataset: Any) -> Any:
        """The data set to train on. A store that holds its inputs returns them, so nothing is generated again."""
        return dataset


@dataclass
class TrainingData:
    """The data of a training: the data set, the provider of the teachers' outputs, and the cost of stored labels.

    Attributes
    ----------
    dataset
        Its ``batch`` returns Windows or Tokens for a list of ids.
    provider
        Provides the teachers' outputs; None for training on the ground truth alone.
    labelling
        Seconds that the teacher took for the labels that this run reads.
    """

    dataset: Any
    provider: TargetProvider | None = None
    labelling: float = 0.0
