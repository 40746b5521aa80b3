"""Plain federated averaging as fast as this machine allows: two processes of one thread, a barrier after every round.

The same shards, batches, order and starting point as the federated job, without anything that a federation needs: no
network, no masks, no files. Its seconds are the ideal, its accuracy the reference.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from coterie_api.v1alpha1.types import FederatedJobSpec

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier


PROCESSES: Final = 2
PATIENCE_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Shard:
    """One client's data."""

    folder: Path
    examples: int


@dataclass(frozen=True, slots=True)
class Work:
    """What one of the processes does; `test` is empty but in the first."""

    rank: int
    mine: list[int]  # positions in `shards`, which is in the roster's order
    shards: list[Shard]
    spec: FederatedJobSpec
    initial: bytes
    code: Path
    test: Path | None


class Training:
    """The rounds of `spec`, one at a time; the first process tests each model while the clock stands."""

    def __init__(self, spec: FederatedJobSpec, code: Path, initial: bytes, shards: list[Shard], test: Path) -> None:
        from safetensors.numpy import load

        context = get_context("spawn")
        size = sum(tensor.size for tensor in load(initial).values())
        sums = [RawArray("f", size) for _ in range(PROCESSES)]
        self._start, self._said = context.Barrier(PROCESSES + 1), context.Queue()
        self._both = both = context.Barrier(PROCESSES)  # kept: it must still be there when the processes open it
        parts = _balance([shard.examples for shard in shards])
        works = [Work(rank, parts[rank], shards, spec, initial, code, None if rank else test) for rank in range(PROCESSES)]
        for work in works:
            context.Process(target=_run, args=(work, sums, self._start, both, self._said), daemon=True).start()

    def next_round(self) -> tuple[float, float]:
        """Return seconds and test accuracy of one more round; raises BrokenBarrierError, queue.Empty if a process has died."""
        self._start.wait(PATIENCE_SECONDS)
        result: tuple[float, float] = self._said.get(timeout=PATIENCE_SECONDS)
        return result


def _balance(examples: list[int]) -> list[list[int]]:
    """Largest first, each to the process with less to do."""
    parts: list[list[int]] = [[] for _ in range(PROCESSES)]
    for index in sorted(range(len(examples)), key=lambda i: -examples[i]):
        min(parts, key=lambda part: sum(examples[i] for i in part)).append(index)
    return parts


def _run(work: Work, sums: list[Any], start: Barrier, both: Barrier, said: Queue[Any]) -> None:
    import torch
    from safetensors.torch import load
    from torch.nn.utils import parameters_to_vector, vector_to_parameters

    torch.set_num_threads(1)
    task = _task(work)
    model = task.build_model(dict(work.spec.task.parameters))
    model.load_state_dict(load(work.initial))
    data = {index: task.load_data(work.shards[index].folder, "train") for index in work.mine}
    test = task.load_data(work.test, "test") if work.test else None
    views = [torch.from_numpy(np.frombuffer(each, np.float32)) for each in sums]
    current = parameters_to_vector(model.parameters()).detach().clone()
    for round_index in range(work.spec.rounds):
        start.wait()
        begin = time.perf_counter()
        views[work.rank].copy_(_weighted_updates(work, model, data, current, round_index))
        both.wait()
        current = current + sum(views)
        seconds = time.perf_counter() - begin
        if test is not None:
            vector_to_parameters(current.clone(), model.parameters())
            with torch.no_grad():
                said.put((seconds, float((model(test[0]).argmax(1) == test[1]).float().mean())))


def _task(work: Work) -> Any:
    sys.path.insert(0, str(work.code))
    module, _, name = work.spec.task.entrypoint.partition(":")
    return getattr(import_module(module), name)(dict(work.spec.task.parameters))


def _weighted_updates(work: Work, model: Any, data: dict[int, Any], current: Any, round_index: int) -> Any:
    """One local epoch of plain SGD for each of this process's clients, batch by batch as the federated job's clients do."""
    import torch
    from torch.nn import functional
    from torch.nn.utils import parameters_to_vector, vector_to_parameters

    from coterie_worker.training.batches import shuffled
    from coterie_worker.training.round import round_seed

    training, total = work.spec.training, sum(shard.examples for shard in work.shards)
    update = torch.zeros_like(current)
    for index in work.mine:
        vector_to_parameters(current.clone(), model.parameters())
        optimizer = torch.optim.SGD(model.parameters(), lr=training.optimizer.peak_learning_rate, momentum=training.optimizer.momentum)
        images, labels = data[index]
        generator = torch.Generator().manual_seed(round_seed(work.spec.seed, index, round_index))
        for rows in shuffled(len(labels), training.batch_size, generator):
            optimizer.zero_grad()
            functional.cross_entropy(model(images.index_select(0, rows)), labels.index_select(0, rows)).backward()
            optimizer.step()
        update += (parameters_to_vector(model.parameters()).detach() - current) * (work.shards[index].examples / total)
    return update
