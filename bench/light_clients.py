"""Light clients: the real shell, stream and protocol of a client, without a task; several share a process.

    python -m bench.light_clients UPLOADS ROOT…

Client i adds (i + 1) / 65536 to every parameter, which the ring holds exactly. None keeps a model, and at most UPLOADS of a
process make an update at a time, so that a hundred of them fit a machine.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coterie_api.names import EXIT_OK, PATH_STATE
from coterie_api.podconfig import ClientRole
from coterie_worker.client.shell import Client, Parameters
from coterie_worker.client.state import SlotRecord
from coterie_worker.client.work import encode
from coterie_worker.config import Pod
from coterie_worker.offload import offload
from coterie_worker.secagg import adverts, client, consistency, keys
from coterie_worker.transport import model_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coterie_api.podconfig import JobConfig
    from coterie_worker.layout import Layout
    from coterie_worker.transport import Vector

STEP = 1 / 65536
FEW = 10
NOTHING = np.empty(0, np.float32)


class MadeUp:
    """An update of equal values, with the fields that an `Update` has."""

    examples = 1

    def __init__(self, size: int, value: float) -> None:
        self.values = np.broadcast_to(np.float32(value), size)  # takes no memory


class NoWork:
    """Work without a task."""

    def __init__(self, job: JobConfig, index: int) -> None:
        self._job, self._index = job, index
        self._update: Any = None

    def prepare(self) -> None:
        """There is nothing to import."""

    def load(self, layout: Layout, initial: bytes) -> None:  # noqa: ARG002
        """Only the length counts."""
        self._update = MadeUp(layout.size, (self._index + 1) * STEP)

    def update(self, parameters: NDArray[np.float32], round_index: int) -> NDArray[np.uint32]:  # noqa: ARG002
        """The same in each round."""
        return encode(self._job, self._update, self._index)


class Pool(ThreadPoolExecutor):
    """Threads of all clients of this process; no client ends them."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Others still work."""


class LightClient(Client):
    """A client that holds no model and waits for its turn to make an update."""

    def share(self, threads: Pool, turns: asyncio.Semaphore) -> None:
        """Use what all clients of the process use."""
        self._work = NoWork(self._job, self._role.index)
        self._heavy = self._maskers = threads
        self._turns = turns

    async def _take_model(self, vector: Vector) -> None:
        values = vector.words.view("<f4")
        digest = await offload(values.size, model_hash, self._initial_hash, vector.tag, values)
        self._model = Parameters(vector.tag, NOTHING, digest)
        self._begin_work()

    async def _round(self, *arguments: Any) -> None:
        async with self._turns:
            await super()._round(*arguments)
            await self._connection.settled(600)  # the update is gone then


async def take_part(root: Path, threads: Pool, turns: asyncio.Semaphore) -> int:
    """One client, to its end."""
    pod = Pod(root)
    job, spec_hash = pod.job()
    with SlotRecord(pod.at(PATH_STATE)) as record:
        light = LightClient(pod, job, spec_hash, pod.role(ClientRole), record)
        light.share(threads, turns)
        return (await light.run()).code


def verify_once() -> None:
    """Check each distinct signature once per process: a hundred clients on one core are slower than any on its own."""
    once = lru_cache(maxsize=None)(keys.verify)
    for module in (adverts, client, consistency):
        if hasattr(module, "verify"):
            module.verify = once


async def all_of(roots: list[Path], uploads: int) -> bool:
    """Every client of this process; whether all ended well."""
    if len(roots) > FEW:
        verify_once()
    threads, turns = Pool(2), asyncio.Semaphore(uploads)
    codes = await asyncio.gather(*(take_part(root, threads, turns) for root in roots))
    return all(code == EXIT_OK for code in codes)


if __name__ == "__main__":
    sys.exit(not asyncio.run(all_of([Path(root) for root in sys.argv[2:]], int(sys.argv[1]))))
