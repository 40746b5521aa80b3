"""Cut Debian's copy of Fashion-MNIST into one shard for each of ten tenants and one public test set.

Each class is dealt to the tenants in proportions drawn from a Dirichlet distribution (alpha 0.5), so that each tenant sees
other clothes than the next; the seed is fixed, so that everyone gets the same shards. Claim c of namespace n is the folder
volumes/n/c.
"""

import gzip
import sys
from pathlib import Path

import numpy as np

SOURCE = Path("/usr/share/datasets/fashion-mnist")
INSTALL = "apt-get install dataset-fashion-mnist"
TENANTS = tuple(f"shop-{number:02d}" for number in range(1, 11))
SEED = 20
ALPHA = 0.5
SMALLEST_SHARD = 1000


def prepare(folder: Path, source: Path = SOURCE) -> None:
    """Write the volumes below `folder`.

    Raises:
        FileNotFoundError: the data set is not installed; the message says how to.
    """
    images, labels = read(source, "train")
    public = folder / "volumes" / "research" / "fashion-test"
    save(public, "test", *read(source, "t10k"))
    rng = np.random.default_rng(SEED)
    for tenant, rows in zip(TENANTS, deal(labels, rng), strict=True):
        save(folder / "volumes" / tenant / "fashion", "train", images[rows], labels[rows])


def read(source: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8[n, 28, 28], and labels, uint8[n]."""
    images, labels = source / f"{split}-images-idx3-ubyte.gz", source / f"{split}-labels-idx1-ubyte.gz"
    for file in (images, labels):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing; on Debian and Ubuntu install it with: {INSTALL}")
    with gzip.open(images) as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(labels) as file:
        return pixels, np.frombuffer(file.read(), np.uint8, offset=8)


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


def save(folder: Path, split: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Each file whole or not at all, the labels last, so that an interrupted run leaves no half shard."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images", images), ("labels", labels)):
        draft = folder / f"{split}-{name}.tmp.npy"
        np.save(draft, array)
        draft.replace(folder / f"{split}-{name}.npy")


if __name__ == "__main__":
    try:
        prepare(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
    except FileNotFoundError as error:
        sys.exit(str(error))
