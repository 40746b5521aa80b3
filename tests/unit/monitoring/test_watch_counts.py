"""Watches count as synced from the moment when they have seen all there is, until they break."""

from __future__ import annotations

import asyncio
from typing import Any

from coterie_operator.cluster import POD, Change, Forbidden, Notice
from coterie_operator.loop import Backoff
from coterie_operator.loop.watchers import Watchers


class Scripted:
    """A cluster whose watch says what the test puts into the queue."""

    def __init__(self) -> None:
        self.says: asyncio.Queue[Any] = asyncio.Queue()

    async def watch(self, *_: object) -> Any:
        while True:
            said = await self.says.get()
            if isinstance(said, Exception):
                raise said
            yield said


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_watch_is_synced_after_its_list_and_not_after_its_end() -> None:
    cluster = Scripted()
    watchers = Watchers(cluster, lambda _: None, Backoff(1000, 1000))  # type: ignore[arg-type]
    task = asyncio.create_task(watchers.watch(POD, "n"))
    watchers._tasks["n", "Pod"] = task

    def counts() -> tuple[int, int]:
        return watchers.count(POD, synced=True), watchers.count(POD, synced=False)

    cluster.says.put_nowait(Notice(Change.ADDED, {}))
    await settle()
    assert counts() == (0, 1)

    cluster.says.put_nowait(Notice(Change.SYNCED, {}))
    await settle()
    assert counts() == (1, 0)

    cluster.says.put_nowait(Forbidden("no"))
    await settle()
    assert counts() == (0, 1)

    watchers.keep(set())
    assert counts() == (0, 0)
    await asyncio.gather(task, return_exceptions=True)
