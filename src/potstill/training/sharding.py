"""Fully sharded training (FSDP2): each process holds a part of every weight and of the optimizer's state.

``torch.distributed.fsdp.fully_shard`` turns weights into distributed tensors. Blocks are gathered one at a time when
they compute. Checkpoints hold whole tensors, so that any number of processes, sharded or not, continues from them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from potstill.errors import UserError
from potstill.families.base import Model
from potstill.families.blocks import open_block
from potstill.ranks import launched_with_fsdp, world_size
from potstill.recipe import TrainingConfig


def is_requested(config: TrainingConfig) -> bool:
    """Whether the recipe or the launcher asks for FSDP, and there are several processes."""
    return bool(config.arguments.get("fsdp") or launched_with_fsdp()) and world_size() > 1


def check_sharding(config: Any, student: Model, freezes: bool) -> None:
    """Raise UserError for what does not work with sharded weights."""
    if config.arguments.get("fsdp_config") not in (None, {}, {"version": 2}):
        raise UserError(
            "training.arguments.fsdp_config: Potstill shards each block of a model with FSDP2, without options; leave"
            " it out.",
            key="training.fsdp_without_options",
        )
    if not is_requested(config):
        return
    rollout = getattr(config, "rollout", None)
    refused = {
        "training.algorithm: gkd": config.algorithm == "gkd",
        "training.ema": getattr(config, "ema", None) is not None,
        "training.rollout": rollout is not None and rollout.share > 0,
        f"a {student.family} student": student.passes_vary,
        "weights that are frozen at first (student.grow.frozen)": freezes,
    }
    for what in (what for what, asked in refused.items() if asked):
        raise UserError(
            f"training.arguments.fsdp: {what} needs whole weights in every process; leave it out, or train"
            " without FSDP.",
            key="training.not_with_fsdp",
        )


def block_bytes(module: nn.Module) -> int:
    """The size of the weights that :func:`shard_blocks` divides."""
    return sum(weight.numel() * weight.element_size() for block in _blocks(module) for weight in block.parameters())


def is_sharded(module: nn.Module) -> bool:
    """Whether the weights of a module are distributed tensors."""
    return any(hasattr(weight, "full_tensor") for weight in module.parameters())


def shard(module: nn.Module) -> None:
    """Shard a module that is trained, in place: its blocks one by one, and all other weights together."""
    from torch.distributed.fsdp import fully_shard

    shard_blocks(module)
    fully_shard(module, mesh=_mesh(module))


def shard_blocks(module: nn.Module) -> None:
    """Shard the blocks of a module in place; its other weights, such as embeddings, stay whole.

    So the module need not be called as a whole, as it is for training.
    """
    from torch.distributed.fsdp import fully_shard

    for block in _blocks(module):
        open_block(block)
        fully_shard(block, mesh=_mesh(module), reshard_after_forward=True)


@contextmanager
def sharded_blocks(models: list[Any]) -> Iterator[None]:
    """Within the block, the ``module`` of each of these frozen models is sharded; afterwards it is whole again.

    Models whose passes vary are left whole: the processes would wait for one another in different blocks.
    """
    models = [model for model in models if not model.passes_vary]
    skeletons = [_without_weights(model.module) for model in models]
    for model in models:
        shard_blocks(model.module)
    yield  # after an error in one process the others take no part in gathering, so nothing is restored
    for model, skeleton in zip(models, skeletons, strict=True):
        _fill(skeleton, whole_weights(model.module))
        model.module = skeleton


def whole_weights(module: nn.Module) -> dict[str, Tensor]:
    """The state of a module as whole tensors, each under one name; all processes must call this."""
    first = dict(module.named_parameters())
    again = {name for name, _ in module.named_parameters(remove_duplicate=False)} - first.keys()
    state = nn.Module.state_dict(module)
    return {name: _whole(tensor) for name, tensor in state.items() if name not in again}


def load_whole(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Load what :func:`whole_weights` returned: each process takes its part."""
    weights = {**dict(module.named_buffers()), **dict(module.named_parameters())}
    with torch.no_grad():
        for name, tensor in state.items():
            weights[name].copy_(_part_of(tensor, weights[name]))


def whole_state(optimizer: Any) -> dict[str, Any]:
    """The state of an optimizer as whole tensors; all processes must call this."""
    state = optimizer.state_dict()
    moments = {number: {name: _whole(value) for name, value in one.items()} for number, one in state["state"].items()}
    return {**state, "state": moments}


def shard_state(optimizer: Any) -> None:
    """Take each process's part of a state that was loaded as whole tensors."""
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                state[name] = _part_of(value, weight)


def _whole(value: Any) -> Any:
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def _part_of(value: Tensor, like: Any) -> Tensor:
    """This process's part of a whole tensor, distributed as ``like``; without communication."""
    if not hasattr(like, "full_tensor") or hasattr(value, "full_tensor"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The entries of the outermost lists of layers, apart from those that share weights with other modules."""
    blocks: list[nn.Module] = []
    inside: set[str] = set()
    for name, one in module.named_modules():
        if isinstance(one, nn.ModuleList) and not any(name.startswith(f"{outer}.") for outer in inside):
            inside.add(name)
            blocks += [block for block in one if any(True for _ in block.parameters())]
    return [block for block in blocks if not _shares_weights(block, module)]


def _shares_weights(block: nn.Module, module: nn.Module) -> bool:
    own = {id(weight) for weight in block.parameters()}
    uses = [id(weight) for _, weight in module.named_parameters(remove_duplicate=False)]
    within = [id(weight) for _, weight in block.named_parameters(remove_duplicate=False)]
    return sum(use in own for use in uses) > len(within)


def _without_weights(module: nn.Module) -> nn.Module:
    """A copy on the meta device, which takes no memory."""
    empty = {id(w): nn.Parameter(torch.empty_like(w, device="meta"), w.requires_grad) for w in module.parameters()}
    return copy.deepcopy(module, dict(empty))


def _fill(skeleton: nn.Module, weights: dict[str, Tensor]) -> None:
    first = {id(weight): name for name, weight in skeleton.named_parameters()}
    frozen = {name: nn.Parameter(tensor, requires_grad=False) for name, tensor in weights.items()}
    tied = {name: frozen[first[id(w)]] for name, w in skeleton.named_parameters(remove_duplicate=False)}
    skeleton.load_state_dict({**weights, **tied}, assign=True)


def _mesh(module: nn.Module) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(next(module.parameters()).device.type, (world_size(),))
