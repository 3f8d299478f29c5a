"""Read the next shard and write the last one while a teacher on an accelerator labels the current one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")


def overlapped(
    items: Sequence[Item],
    read: Callable[[Item], Read],
    make: Callable[[Item, Read], Made],
    write: Callable[[Item, Made], None],
) -> None:
    """Read, make and write every item in order; reading and writing have a thread each.

    At most one item is read ahead, and at most one is being written. An error of any of the three ends the work; what
    was written before stays.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        written: Future[None] | None = None
        for item, ready in _ahead(items, read, reader):
            made = make(item, ready)
            if written is not None:
                written.result()
            written = writer.submit(write, item, made)
        if written is not None:
            written.result()


def _ahead(
    items: Sequence[Item], read: Callable[[Item], Read], reader: ThreadPoolExecutor
) -> Iterator[tuple[Item, Read]]:
    """Items with what was read of them; the next one is read meanwhile."""
    following = reader.submit(read, items[0]) if items else None
    for number, item in enumerate(items):
        assert following is not None
        ready = following.result()
        if number + 1 < len(items):
            following = reader.submit(read, items[number + 1])
        yield item, ready
