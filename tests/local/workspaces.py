"""Small workspaces for `coterie run`: three tenants, a linear model, data of a few numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

TASK = """
import os, signal, time
from pathlib import Path
import numpy as np
import torch
from torch import nn
from coterie_worker.training import Task


class Line(Task):
    def build_model(self, parameters):
        return nn.Linear(4, 3)

    def load_data(self, path, split):
        with np.load(Path(path) / f"{split}.npz") as file:
            return torch.from_numpy(file["x"]), torch.from_numpy(file["y"])

    def loss(self, model, batch):
        behave(self.parameters.get("behavior", ""))
        return super().loss(model, batch)


def behave(behavior):
    if behavior == "raise":
        raise ValueError("Smith, John has private data")
    if behavior == "sleep":
        time.sleep(0.3)
"""

PREPARE = """
import sys
from pathlib import Path
import numpy as np

folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
rng = np.random.default_rng(0)
weights = rng.normal(size=(4, 3))
for name in ("research/test/test", "red/data/train", "green/data/train", "blue/data/train"):
    x = rng.normal(size=(40, 4)).astype(np.float32)
    file = folder / "volumes" / f"{name}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, x=x, y=(x @ weights).argmax(1))
"""

TENANTS = ("red", "green", "blue")


def job(**spec: Any) -> dict[str, Any]:
    """A job of three rounds over three tenants."""
    return {
        "apiVersion": "coterie.dev/v1alpha1",
        "kind": "FederatedJob",
        "metadata": {"name": "line", "namespace": "research"},
        "spec": {
            "rounds": 3,
            "seed": 1,
            "task": {"entrypoint": "line_task:Line"},
            "training": {"localEpochs": 1, "batchSize": 8, "optimizer": {"name": "SGD", "learningRate": 0.5}},
            "participants": {"datasets": [{"namespace": tenant, "name": "data"} for tenant in TENANTS]},
            "privacy": {"mode": "None"},
            "evaluation": {"public": {"source": {"persistentVolumeClaim": {"claimName": "test"}}}, "selectBy": "accuracy"},
            "roundDeadlineSeconds": 30,
            **spec,
        },
    }


def dataset(tenant: str, **spec: Any) -> dict[str, Any]:
    """A tenant's data set, without a key: embedded mode makes one."""
    grants = [{"jobs": {"namespaces": ["research"]}, "images": ["*"]}]
    return {
        "apiVersion": "coterie.dev/v1alpha1",
        "kind": "FederatedDataset",
        "metadata": {"name": "data", "namespace": tenant},
        "spec": {"source": {"persistentVolumeClaim": {"claimName": "data"}}, "grants": grants, **spec},
    }


def write(folder: Path, *objects: dict[str, Any]) -> Path:
    """Write a workspace with these manifests (JSON is YAML), the task and `prepare.py`, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "line_task.py").write_text(TASK)
    (folder / "prepare.py").write_text(PREPARE)
    found = objects or (job(), *map(dataset, TENANTS))
    (folder / "job.yaml").write_text("\n---\n".join(json.dumps(obj) for obj in found))
    return folder
