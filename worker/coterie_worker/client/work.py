"""The part of a client that touches data: from parameters to ring elements. Torch comes in with the first call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from coterie_api.progress import Drop, DropReason, Termination
from coterie_api.v1alpha1.training import Weighting
from coterie_worker.entropy import system_entropy
from coterie_worker.rounds import update_weight
from coterie_worker.secagg import Encoding, NotFinite

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from coterie_api.podconfig import JobConfig
    from coterie_worker.layout import Layout
    from coterie_worker.training import Trainer, Update


class Withdrawn(Exception):
    """This client can take no part in the job; `word` says why, without data."""

    def __init__(self, drop: Drop, word: Termination) -> None:
        super().__init__(word.message)
        self.drop = drop
        self.word = word


class Missed(Exception):
    """There is no update of this client in this slot; `drop` says why, without data."""

    def __init__(self, drop: Drop) -> None:
        super().__init__(drop.reason.value)
        self.drop = drop


class Work(Protocol):
    """What the shell asks for, from one thread, one call at a time."""

    def prepare(self) -> None:
        """Load the libraries, before anything is known of the model."""

    def load(self, layout: Layout, initial: bytes) -> None:
        """Load task, model and data. Raises Withdrawn."""

    def update(self, parameters: NDArray[np.float32], round_index: int) -> NDArray[np.uint32]:
        """Train, and encode the update: uint32[Encoding.size]. Raises Missed."""


class TaskWork:
    """Trains the job's task on this pod's data."""

    def __init__(self, job: JobConfig, data: Path, index: int) -> None:
        self._job, self._data, self._index = job, data, index
        self._trainer: Trainer | None = None

    def prepare(self) -> None:
        import coterie_worker.training  # noqa: F401 - torch takes longer than all the rest

    def load(self, layout: Layout, initial: bytes) -> None:
        from coterie_worker.training import TaskFailure, Trainer

        try:
            self._trainer = Trainer(self._job, self._data, layout, initial, index=self._index)
        except TaskFailure as failure:
            raise Withdrawn(failure.drop, failure.termination) from None

    def update(self, parameters: NDArray[np.float32], round_index: int) -> NDArray[np.uint32]:
        return encode(self._job, self._train(parameters, round_index), self._index)

    def _train(self, parameters: NDArray[np.float32], round_index: int) -> Update:
        from coterie_worker.training import TaskFailure

        assert self._trainer is not None, "load comes before update"
        try:
            return self._trainer.train(parameters, round_index)
        except TaskFailure as failure:
            raise Missed(failure.drop) from None


def encode(job: JobConfig, update: Update, index: int) -> NDArray[np.uint32]:
    """An update as ring elements, weighted as the job says. Raises Missed."""
    encoding = Encoding(
        job.aggregation.scale,
        len(job.roster),
        update.values.size,
        weighted=job.strategy.weighting is Weighting.EXAMPLES,
        ring_bits=job.aggregation.ring_bits,
    )
    try:
        return encoding.encode(update.values, update_weight(job.strategy, update.examples), system_entropy)
    except NotFinite:
        raise Missed(Drop(job.roster[index].client, DropReason.NOT_FINITE)) from None
