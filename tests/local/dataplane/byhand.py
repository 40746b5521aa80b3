"""A job's rounds computed by hand, to hold what the processes made against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coterie_api.v1alpha1.training import Weighting
from coterie_worker.layout import pack
from coterie_worker.training import Trainer, load_initial

if TYPE_CHECKING:
    from tests.local.dataplane.pods import DataPlane


def trained_by_hand(plane: DataPlane) -> np.ndarray:
    """FedAvg by examples in float64 over the very same clients, without Coterie's rounds, wire and encoding."""
    initial = load_initial(plane.checkpoint)
    vector = pack(initial.model, initial.layout).astype(np.float64)
    trainers = [Trainer(plane.job, member.place("/data"), initial.layout, initial.model, index=i) for i, member in enumerate(plane.members)]
    for number in range(plane.job.rounds):
        updates = [trainer.train(vector.astype(np.float32), number) for trainer in trainers]
        is_uniform = plane.job.strategy.weighting is Weighting.UNIFORM
        weights = [1.0 if is_uniform else min(1.0, update.examples / plane.job.strategy.weight_cap) for update in updates]
        vector += np.average([update.values for update in updates], axis=0, weights=weights)
    return vector


def model_is_exact(job: DataPlane) -> None:
    """Every client was in every round's sum exactly once."""
    by_hand = trained_by_hand(job)
    model = job.model()
    tensors = {entry.name: by_hand[entry.offset : entry.end] for entry in load_initial(job.checkpoint).layout.in_vector}
    for name, expected in tensors.items():
        # One stochastic rounding of 1/65536 per client and round, divided by a weight of at least 20/64, and what it grows to.
        np.testing.assert_allclose(model[name].ravel(), expected, atol=job.job.rounds * 2e-4)
