"""Handwritten digits, 8 x 8 pixels: a network of two layers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coterie_worker.training import Task


class Digits(Task):
    """`parameters.hidden` is the width of the middle layer."""

    def build_model(self, parameters: Mapping[str, Any]) -> nn.Module:
        hidden = parameters.get("hidden", 64)
        return nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))

    def load_data(self, path: Path, split: str) -> tuple[Tensor, ...]:
        with np.load(path / f"{split}.npz") as file:
            return torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])

    def synthetic(self, n: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        return torch.rand(n, 64, generator=generator), torch.randint(10, (n,), generator=generator)
