"""A task that trains in an instant, and fails, hangs or misbehaves where a test has put a file that says so."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from coterie_worker.training import Task

if TYPE_CHECKING:
    from pathlib import Path


PAUSE = threading.Event()


class Line(Task):
    """A linear regression."""

    def build_model(self, parameters):
        return nn.Linear(8, parameters.get("outputs", 1))

    def load_data(self, path: Path, split: str):
        file = np.load(path / f"{split}.npz")
        self.misbehavior = path / "misbehave"
        if self.how == "nothing":
            return torch.empty(0, 8), torch.empty(0, 1)
        return torch.from_numpy(file["x"]), torch.from_numpy(file["y"])

    def loss(self, model, batch):
        x, y = batch
        return functional.mse_loss(model(x), y)

    def metrics(self, model, batch):
        x, y = batch
        return {"loss": (functional.mse_loss(model(x), y, reduction="sum"), y.numel())}

    def train_round(self, model, this):
        if self.how == "hold":
            (self.misbehavior.parent / "reached").touch()
            while self.how == "hold":
                PAUSE.wait(0.01)
        if self.how == "raise":
            raise ValueError("could not convert string to float: 'Smith, John'")
        super().train_round(model, this)
        if self.how == "nan":
            with torch.no_grad():
                model.bias.fill_(float("nan"))
        if self.how == "huge":
            with torch.no_grad():
                model.bias.fill_(1e30)
        if self.how == "shape":
            model.bias = nn.Parameter(torch.zeros(2))

    @property
    def how(self) -> str:
        return self.misbehavior.read_text() if self.misbehavior.exists() else ""
