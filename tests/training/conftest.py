"""A small recipe, and terms defined for one test."""

from __future__ import annotations

import multiprocessing
import signal
import socket
from collections.abc import Callable

import pytest
import run_apart
from torch import nn
from training_fakes import PROCESSES, small_recipe

from potstill.objectives.base import USER_TERMS, Term


@pytest.fixture
def recipe(tiny_teacher, small_csv, quick_trainer):
    return small_recipe(tiny_teacher, small_csv)


@pytest.fixture
def term():
    """Defines a term of the user's own for one test."""
    before = dict(USER_TERMS)

    def define(name, call, *, trained=False):
        bases = (Term, nn.Module) if trained else (Term,)
        return type(name.title(), bases, {"name": name, "__call__": call, "__module__": f"test_{name}"})

    yield define
    USER_TERMS.clear()
    USER_TERMS.update(before)


@pytest.fixture(scope="session")
def launch() -> Callable[..., list[int | None]]:
    """Runs ``potstill`` in several processes, as a launcher does, and gives their exit codes.

    Where one ends with an error or is killed, the others are killed if they do not end. ``moment`` is that of one rank;
    more options are those of ``run_apart.run``.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["potstill.cli", "potstill.verbs", "run_apart"])

    def start(
        *arguments: object,
        processes: int = PROCESSES,
        moment: str | None = None,
        number: int = signal.SIGKILL,
        rank: int = 0,
        **options: object,
    ) -> list[int | None]:
        shared = {"WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        children = []
        for place in range(processes):
            environment = {**shared, "RANK": place, "LOCAL_RANK": place, "LOCAL_WORLD_SIZE": processes}
            own = moment if place == rank else None
            given = [str(argument) for argument in arguments], own, number, environment if processes > 1 else {}
            children.append(context.Process(target=run_apart.run, args=given, kwargs=options))
        for child in children:
            child.start()
        children[rank].join()
        for child in children:
            if children[rank].exitcode != 0:
                child.join(timeout=5)
                child.kill()
            child.join()
        return [child.exitcode for child in children]

    return start


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
