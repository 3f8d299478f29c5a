"""One training step, from a batch to its loss; used by the trainer, the timing of the control and the plan.

The trained module consists of student and objective. The teachers, live or stored, are not part of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from potstill.families.base import Forecaster, Model
from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.recipe import RolloutConfig
from potstill.teaching.base import TargetProvider
from potstill.training.average import WeightAverage
from potstill.training.rollout import on_policy
from potstill.training.sharding import is_sharded, load_whole, whole_weights
from potstill.types import Output, Request, Tokens, Windows


class DistillationModule(nn.Module):
    """Student and objective as one module, so that the weights of terms are trained and checkpointed too.

    Parameters
    ----------
    student, objective
        The model to train, and the loss.
    ema
        Decay of the moving average of the student's weights; None: there is none.
    """

    def __init__(self, student: Model, objective: Objective, ema: float | None = None):
        super().__init__()
        self.student_module = student.module
        self.objective = objective
        self.student = student
        self.average = WeightAverage(student.module, ema) if ema is not None else None

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block, the student has the averaged weights, if there is an average."""
        if self.average is None:
            yield
            return
        with self.average.applied():
            yield

    def forward(
        self,
        batch: Windows | Tokens,
        targets: Mapping[str, Output],
        horizon: int,
        shares: Mapping[str, float] | None = None,
        progress: float = 0.0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total loss and the value of each term; arguments as in ``Objective.forward``."""
        request = self.objective.student_request(horizon)
        output = self.student.forward(batch, request)
        # without targets no term compares with a teacher
        if request.without_covariates and targets and isinstance(batch, Windows) and not batch.stands_alone:
            output.without_covariates = self.student.forward(batch.alone(), Request(horizon)).forecast
        with torch.autocast(batch.ids.device.type, enabled=False):
            return self.objective(LossInputs(batch, output, targets), shares, progress)

    def activation_checkpointing_enable(self, **options: Any) -> None:
        """Enable activation checkpointing of the student, for transformers' argument ``activation_checkpointing``."""
        module: Any = self.student_module
        module.activation_checkpointing_enable(**options)

    def gradient_checkpointing_enable(self, **options: Any) -> None:
        """The same under transformers' older name."""
        module: Any = self.student_module
        module.gradient_checkpointing_enable(**options)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Each weight under one name: safetensors rejects tied weights (such as embeddings) under two names.

        Sharded weights are whole in it; all processes must call this.
        """
        if is_sharded(self):
            return whole_weights(self)
        state = super().state_dict(*args, **kwargs)
        for name in self._second_names(state):
            del state[name]
        return state

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Load what :meth:`state_dict` returned."""
        if is_sharded(self):
            load_whole(self, state_dict)
            return SimpleNamespace(missing_keys=[], unexpected_keys=[])
        second = self._second_names(super().state_dict())
        whole = {**state_dict, **{name: state_dict[first] for name, first in second.items() if first in state_dict}}
        return super().load_state_dict(whole, *args, **kwargs)

    @staticmethod
    def _second_names(state: dict[str, Tensor]) -> dict[str, str]:
        """For every further name of a tied weight, its first name."""
        first: dict[tuple[int, torch.Size], str] = {}
        places = {name: (tensor.data_ptr(), tensor.shape) for name, tensor in state.items() if tensor.numel()}
        for name, place in places.items():
            first.setdefault(place, name)
        return {name: first[place] for name, place in places.items() if first[place] != name}


class TrainingStep:
    """Computes the loss of a batch: rollouts, the teachers' outputs, the horizon, the forward passes.

    Parameters
    ----------
    module
        Student and objective, bound to the models.
    provider
        Returns the teachers' outputs; None for training on the ground truth alone.
    horizon
        Steps of the future that the loss uses; 0 for language models. Batches with a shorter future use all of it.
    seed
        Every random draw depends on the seed, the step and the window ids alone, so that a resumed run draws the same.
    rollout
        Share of the windows whose context is extended by the student's own forecast before the teacher forecasts;
        default: none.
    random_horizon
        Vary the horizon from step to step, in whole patches, so that the student also learns short horizons.
    steps
        Steps of the whole training, over which a schedule of α runs.
    """

    def __init__(
        self,
        module: DistillationModule,
        provider: TargetProvider | None,
        horizon: int,
        seed: int,
        rollout: RolloutConfig | None = None,
        random_horizon: bool = False,
        steps: int = 1,
    ):
        self.module, self.provider = module, provider
        self.horizon, self.seed = horizon, seed
        self.rollout, self.random_horizon = rollout or RolloutConfig(), random_horizon
        self.steps = steps
        self.requests = module.objective.teacher_requests(horizon)

    def __call__(
        self,
        model: nn.Module,
        batch: Any,
        targets: Mapping[str, Output] | None,
        step: int,
        shares: Mapping[str, float] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and term values of a batch.

        Parameters
        ----------
        model
            The module, or the wrapper that a trainer puts around it.
        batch
            Windows or Tokens, on the student's device.
        targets
            Stored outputs of the teachers, read by the data loader; None with live teachers or without a teacher.
        step
            Number of the optimizer step, from 0.
        shares
            See ``Objective.forward``.
        """
        longest = min(self.horizon, batch.future.shape[1]) if isinstance(batch, Windows) else self.horizon
        if self.provider is not None and targets is None and self.module.objective.needs_teacher(batch):
            if isinstance(batch, Windows) and isinstance(self.module.student, Forecaster):
                batch = on_policy(batch, self.module.student, self.rollout, self.seed, step)
            # always the full horizon, as in a label store, even if this step uses a shorter one
            requests = {name: replace(request, horizon=longest) for name, request in self.requests.items()}
            targets = self.provider.outputs(batch, requests)
        horizon = min(longest, self._horizon_of(step))
        targets = {name: output.first_steps(horizon) for name, output in (targets or {}).items()}
        return model(batch.first_steps(horizon), targets, horizon, shares, self._progress(step))

    def alpha(self, step: int) -> float:
        """The weight α of the soft term at a step, from 0."""
        return self.module.objective.alpha(self._progress(step))

    def _progress(self, step: int) -> float:
        """0 at the first step, 1 at the last."""
        return min(1.0, step / max(1, self.steps - 1))

    def _horizon_of(self, step: int) -> int:
        student = self.module.student
        patch = student.horizon_multiple if isinstance(student, Forecaster) else self.horizon
        if not self.random_horizon or self.horizon <= patch:
            return self.horizon
        # depends on (seed, step) alone, so that a resumed run draws the same; half of the steps use the full horizon
        rng = random.Random(f"{self.seed}/{step}")
        return self.horizon if rng.random() < 0.5 else patch * rng.randint(1, self.horizon // patch)
