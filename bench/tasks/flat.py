"""A model of so many zeros and nothing else; nobody trains it, for light clients make their updates up."""

from __future__ import annotations

from typing import Any

import torch

from coterie_worker.training import Task


class Flat(Task):
    """One parameter of `values` zeros."""

    def build_model(self, parameters: Any) -> torch.nn.Module:
        model = torch.nn.Module()
        model.flat = torch.nn.Parameter(torch.zeros(parameters["values"]))
        return model

    def load_data(self, path: Any, split: str) -> Any:  # noqa: ARG002
        return torch.zeros(1)
