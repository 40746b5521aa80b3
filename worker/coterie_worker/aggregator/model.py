"""The job's model at the aggregator: parameters, moments, and what the server optimizer does to them."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from coterie_api.v1alpha1.training import Weighting
from coterie_worker.layout import Layout, pack
from coterie_worker.offload import cores
from coterie_worker.rounds import norm, server_optimizer, to_mean
from coterie_worker.secagg import Encoding
from coterie_worker.transport import Greeting, Vector, VectorKind, model_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from coterie_api.podconfig import JobConfig
    from coterie_worker.aggregator.checkpoint import Snapshot
    from coterie_worker.layout.dtypes import Vector as Values
    from coterie_worker.rounds import Moments
    from coterie_worker.secagg import PlainServer, ServerEpoch

FOLDER: Final = "initial"  # below the checkpoint: what `initialize` left
SHARD_ELEMENTS: Final = 1 << 18  # shorter vectors are unmasked in one thread


class Mapped:
    """A file that all who send it at a time share one map of: each map of its own would count as memory of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: Callable[[], np.memmap[Any, Any] | None] = lambda: None

    def words(self) -> NDArray[np.uint8]:
        """The file's bytes; its memory is free again once nobody holds them."""
        words = self._map()
        if words is None:
            words = np.memmap(self._path, np.uint8, "r")
            self._map = weakref.ref(words)
        return words


@dataclass(frozen=True, slots=True)
class Initial:
    """The initial model where it lies in the checkpoint; its file is as long as the model, so it is never kept in memory."""

    layout: Layout
    folder: Path
    greeting: Greeting

    @classmethod
    def load(cls, checkpoint: Path) -> Initial:
        """Find what `initialize` left. Raises OSError, LayoutError."""
        folder = checkpoint / FOLDER
        layout, model = folder / "layout.json", folder / "model.safetensors"
        mapped = Mapped(model)
        greeting = Greeting.of(lambda: (np.fromfile(layout, np.uint8), mapped.words()))
        return cls(Layout.from_json(layout.read_bytes()), folder, greeting)

    def file(self) -> bytes:
        """The safetensors file."""
        return (self.folder / "model.safetensors").read_bytes()


@dataclass(frozen=True, slots=True)
class Moved:
    """What a sum did."""

    update_norm: float  # of the mean's trainable part
    clamped: int


class Model:
    """Parameters and moments between rounds. One thread at a time."""

    def __init__(self, job: JobConfig, initial: Initial, snapshot: Snapshot | None) -> None:
        layout = initial.layout
        is_weighted = job.strategy.weighting is Weighting.EXAMPLES
        self.initial = initial
        self.encoding = Encoding(job.aggregation.scale, len(job.roster), layout.size, is_weighted, job.aggregation.ring_bits)
        self._optimizer = server_optimizer(job.strategy)
        self.version = snapshot.rounds_done if snapshot else 0
        self.parameters: Values = snapshot.parameters if snapshot else pack(initial.file(), layout)
        self.moments: Moments = snapshot.moments if snapshot else self._optimizer.init(layout.trainable)
        self._shards = cores() if self.encoding.size > SHARD_ELEMENTS else 1
        self._pool = ThreadPoolExecutor(self._shards)
        self.hash = self._hash()

    @property
    def vector(self) -> Vector:
        """What clients get."""
        return Vector(VectorKind.PARAMETERS, self.version, self.parameters)

    def apply(self, epoch: ServerEpoch | PlainServer) -> Moved:
        """Open the slot's sum and move on. The heavy call of a round.

        The parameters before stay as they are, for streams that still send them.
        """
        total = epoch.result(run=self._pool.map, shards=self._shards)
        decoded = self.encoding.decode(total.sum)
        mean = to_mean(decoded.sum, len(total.survivors) if decoded.weight is None else decoded.weight)
        parameters = self.parameters.copy()
        trainable = self.initial.layout.trainable
        self._optimizer.apply(self.moments, parameters, mean, trainable)
        self.parameters, self.version = parameters, self.version + 1
        self.hash = self._hash()
        return Moved(norm(mean[:trainable]), decoded.clamped)

    def _hash(self) -> bytes:
        return model_hash(self.initial.greeting.hash, self.version, self.parameters)
