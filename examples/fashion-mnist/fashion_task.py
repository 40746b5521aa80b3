"""Fashion-MNIST, 28 x 28 pixels: a small convolutional network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coterie_worker.training import Task


class FashionMnist(Task):
    """`parameters.channels` is the width of the first layer; the second has twice as many."""

    def build_model(self, parameters: Mapping[str, Any]) -> nn.Module:
        channels = parameters.get("channels", 16)
        return nn.Sequential(
            nn.Conv2d(1, channels, kernel_size=5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * channels * 7 * 7, 10),
        )

    def load_data(self, path: Path, split: str) -> tuple[Tensor, ...]:
        images = torch.from_numpy(np.load(path / f"{split}-images.npy")).unsqueeze(1)
        labels = torch.from_numpy(np.load(path / f"{split}-labels.npy"))
        return (images.float() / 255 - 0.286) / 0.353, labels.long()

    def synthetic(self, n: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        return torch.randn(n, 1, 28, 28, generator=generator), torch.randint(10, (n,), generator=generator)
