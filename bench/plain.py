"""Plain federated averaging as fast as this machine allows: two processes of one thread, a barrier after every round.

The same shards, batches, order and starting point as the federated job, without anything that a federation needs: no
network, no masks, no files. Its seconds are the ideal, its accuracy the reference.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.sharedctypes import RawArray
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np

from coterie_api.podconfig import JobConfig

PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Plain:
    """Seconds and test accuracy of each round."""

    seconds: list[float]
    accuracy: list[float]


def train(job: JobConfig, folder: Path, initial: bytes, shards: list[tuple[str, int]]) -> Plain:
    """Run the job's rounds. `shards` are (folder, examples) in the roster's order; the first process tests each model."""
    context = get_context("spawn")
    size = _size(initial)
    sums = [RawArray("f", size) for _ in range(PROCESSES)]
    barrier = context.Barrier(PROCESSES)
    queue = context.Queue()
    parts = _balance([examples for _, examples in shards])
    arguments = [(rank, parts[rank], job, folder, initial, shards, sums, barrier, queue) for rank in range(PROCESSES)]
    processes = [context.Process(target=_run, args=each) for each in arguments]
    for process in processes:
        process.start()
    result = queue.get()
    for process in processes:
        process.join()
    return Plain(*result)


def _balance(examples: list[int]) -> list[list[int]]:
    """Largest first, each to the process with less to do."""
    parts: list[list[int]] = [[] for _ in range(PROCESSES)]
    for index in sorted(range(len(examples)), key=lambda i: -examples[i]):
        min(parts, key=lambda part: sum(examples[i] for i in part)).append(index)
    return parts


def _size(initial: bytes) -> int:
    from safetensors.torch import load

    return sum(tensor.numel() for tensor in load(initial).values())


def _run(
    rank: int,
    mine: list[int],
    job: JobConfig,
    folder: Path,
    initial: bytes,
    shards: list[Any],
    sums: list[Any],
    barrier: Barrier,
    queue: Any,
) -> None:
    import sys

    import torch
    from safetensors.torch import load
    from torch.nn import functional
    from torch.nn.utils import parameters_to_vector, vector_to_parameters

    from coterie_worker.training.batches import shuffled
    from coterie_worker.training.round import round_seed

    torch.set_num_threads(1)
    sys.path.insert(0, str(folder))
    module, _, name = job.task.entrypoint.partition(":")
    task = getattr(__import__(module), name)(dict(job.task.parameters))
    model = task.build_model(dict(job.task.parameters))
    model.load_state_dict(load(initial))
    data = {index: task.load_data(Path(shards[index][0]), "train") for index in mine}
    test = task.load_data(folder / "volumes" / "research" / "fashion-test", "test") if rank == 0 else None
    views = [torch.from_numpy(np.frombuffer(each, np.float32)) for each in sums]
    total = sum(examples for _, examples in shards)
    current = parameters_to_vector(model.parameters()).detach().clone()
    seconds, accuracy = [], []
    for round_index in range(job.rounds):
        barrier.wait()
        begin = time.perf_counter()
        update = torch.zeros_like(current)
        for index in mine:
            vector_to_parameters(current.clone(), model.parameters())
            optimizer = torch.optim.SGD(
                model.parameters(), lr=job.training.optimizer.learning_rate, momentum=job.training.optimizer.momentum
            )
            images, labels = data[index]
            generator = torch.Generator().manual_seed(round_seed(job.seed, index, round_index))
            for rows in shuffled(len(labels), job.training.batch_size, generator):
                optimizer.zero_grad()
                functional.cross_entropy(model(images.index_select(0, rows)), labels.index_select(0, rows)).backward()
                optimizer.step()
            update += (parameters_to_vector(model.parameters()).detach() - current) * (shards[index][1] / total)
        views[rank].copy_(update)
        barrier.wait()
        current = current + sum(views)
        seconds.append(time.perf_counter() - begin)
        barrier.wait()
        if test is not None:
            vector_to_parameters(current.clone(), model.parameters())
            with torch.no_grad():
                accuracy.append(float((model(test[0]).argmax(1) == test[1]).float().mean()))
    if rank == 0:
        queue.put((seconds, accuracy))
