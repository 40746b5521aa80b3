"""Cut scikit-learn's digits into one shard for each tenant and one public test set.

Each class is dealt to the tenants in proportions drawn from a Dirichlet distribution (alpha 0.5), so that each tenant sees
other digits than the next; the seed is fixed, so that everyone gets the same shards. Claim c of namespace n is the folder
volumes/n/c.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TENANTS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d", "hospital-e")
SEED = 20
ALPHA = 0.5
SMALLEST_SHARD = 60
TEST_SHARE = 0.2


def prepare(folder: Path) -> None:
    """Write the volumes below `folder`."""
    digits = load_digits()
    images, labels = (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(labels))
    test, train = np.split(order, [round(TEST_SHARE * len(order))])
    save(folder / "volumes" / "research" / "digits-test" / "test.npz", images[test], labels[test])
    for tenant, rows in zip(TENANTS, deal(labels[train], rng), strict=True):
        save(folder / "volumes" / tenant / "digits" / "train.npz", images[train][rows], labels[train][rows])


def deal(labels: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """The rows of each tenant; drawn again until nobody's shard is tiny."""
    while True:
        shards: list[list[np.ndarray]] = [[] for _ in TENANTS]
        for label in np.unique(labels):
            rows = rng.permutation(np.flatnonzero(labels == label))
            cuts = np.cumsum(rng.dirichlet([ALPHA] * len(TENANTS)))[:-1]
            for shard, part in zip(shards, np.split(rows, (cuts * len(rows)).astype(int)), strict=True):
                shard.append(part)
        dealt = [np.sort(np.concatenate(parts)) for parts in shards]
        if min(map(len, dealt)) >= SMALLEST_SHARD:
            return dealt


def save(file: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Whole or not at all, so that an interrupted run leaves no half shard."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".tmp.npz")
    np.savez(draft, images=images, labels=labels)
    draft.replace(file)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
