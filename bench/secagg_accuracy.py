"""What the ring costs in accuracy: FedAvg on Fashion-MNIST in one process, with exact sums and with sums of ring elements.

Usage: python -m bench.secagg_accuracy. Ten clients, uniform weights, the same seeds and batches; no masks, since sums of masked
vectors are the same sums.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from coterie_worker.entropy import system_entropy
from coterie_worker.secagg import Encoding
from coterie_worker.secagg.masks import elements

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "fashion-mnist"
CLIENTS, ROUNDS, LAST = 10, 10, 3
Updates = "Sequence[NDArray[np.float32]]"


def exact(updates: Updates) -> NDArray[np.float32]:
    return np.mean(updates, axis=0, dtype=np.float64).astype(np.float32)


def in_ring(ring_bits: int, scale: int) -> Callable[[Updates], NDArray[np.float32]]:
    def mean(updates: Updates) -> NDArray[np.float32]:
        encoding = Encoding(scale, CLIENTS, len(updates[0]), weighted=False, ring_bits=ring_bits)
        total = np.zeros(encoding.size, np.uint32)
        lanes = elements(total, ring_bits)
        for update in updates:
            np.add(lanes, elements(encoding.encode(update, 1, system_entropy), ring_bits), out=lanes)
        decoded = encoding.decode(total)
        print(f"  clamped {decoded.clamped}", file=sys.stderr)
        return decoded.sum / CLIENTS

    return mean


def train(mean: Callable[[Updates], NDArray[np.float32]]) -> list[float]:
    """Return the test accuracy after each round."""
    torch.manual_seed(7)
    torch.set_num_threads(1)
    sys.path.insert(0, str(EXAMPLE))
    task = importlib.import_module("fashion_task").FashionMnist({})
    model = task.build_model({"channels": 16})
    data = [task.load_data(EXAMPLE / "volumes" / f"shop-{i + 1:02}" / "fashion", "train") for i in range(CLIENTS)]
    test = task.load_data(EXAMPLE / "volumes" / "research" / "fashion-test", "test")
    current = parameters_to_vector(model.parameters()).detach().clone()
    accuracy = []
    for number in range(ROUNDS):
        updates = [_update(model, current, shard, 100 * number + i) for i, shard in enumerate(data)]
        current = current + torch.from_numpy(mean(updates))
        vector_to_parameters(current.clone(), model.parameters())
        with torch.no_grad():
            accuracy.append(float((model(test[0]).argmax(1) == test[1]).float().mean()))
    return accuracy


def _update(model: Any, current: torch.Tensor, shard: Any, seed: int) -> NDArray[np.float32]:
    vector_to_parameters(current.clone(), model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    images, labels = shard
    for rows in torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).split(64):
        optimizer.zero_grad()
        functional.cross_entropy(model(images.index_select(0, rows)), labels.index_select(0, rows)).backward()
        optimizer.step()
    return (parameters_to_vector(model.parameters()).detach() - current).numpy()


VARIANTS: Final[dict[str, Callable[[Updates], NDArray[np.float32]]]] = {
    "exact float sums": exact,
    "Z_2^32, scale 2^16": in_ring(32, 1 << 16),
    "Z_2^16, scale 2^11": in_ring(16, 1 << 11),
    "Z_2^16, scale 2^8": in_ring(16, 1 << 8),
}


def main() -> None:
    if not (EXAMPLE / "volumes" / "research").is_dir():
        subprocess.run([sys.executable, "prepare.py"], cwd=EXAMPLE, check=True)
    for name, mean in VARIANTS.items():
        accuracy = train(mean)
        print(
            f"{name}: mean of the last {LAST} rounds {np.mean(accuracy[-LAST:]):.4f}, rounds {[round(each, 4) for each in accuracy]}",
            flush=True,
        )


if __name__ == "__main__":
    main()
