"""What a client's loop may know of the round that it runs."""

from __future__ import annotations

import contextlib
import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from coterie_api.v1alpha1.types import Training
from coterie_worker.training.batches import Batches, shuffled

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one client.

    Attributes:
        index: from 0; of `rounds`.
        training: `spec.training`.
        proximal_mu: strength of FedProx's pull towards the round's first parameters; 0 for none.
        generator: for shuffling, seeded from (job seed, client, round).
        device: where model and batches are.
        data: the client's examples.
        smallest_batch: a last batch of an epoch that is smaller is left out.
    """

    index: int
    rounds: int
    training: Training
    proximal_mu: float
    generator: torch.Generator
    device: torch.device
    data: Batches
    smallest_batch: int = 1

    @property
    def steps(self) -> int:
        """Optimizer steps of this round; `smallest_batch` may save one an epoch."""
        if self.training.local_steps:
            return self.training.local_steps
        return (self.training.epochs or 1) * -(-self.data.size // self.training.batch_size)

    def batches(self) -> Iterator[Any]:
        """The round's batches, as many as `spec.training` says, in seeded random order."""
        return self.data.at(self._positions())

    def _positions(self) -> Iterator[Tensor]:
        if self.training.local_steps is None:
            for _ in range(self.training.epochs or 1):
                yield from self._epoch()
            return
        left = self.training.local_steps
        while left:
            for rows in self._epoch():
                yield rows
                left -= 1
                if not left:
                    return

    def _epoch(self) -> Iterator[Tensor]:
        return shuffled(self.data.size, self.training.batch_size, self.generator, least=self.smallest_batch)


def round_seed(job_seed: int, client_index: int, round_index: int) -> int:
    """Of shuffling, dropout and augmentation, 63 bits. Sampling under differential privacy is never seeded."""
    text = f"coterie/v1/round-seed\0{job_seed}\0{client_index}\0{round_index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators (dropout, augmentation) of torch, numpy and Python for the block, and put them back."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
