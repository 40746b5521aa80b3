"""What a data scientist writes: a model, its data, and, where the defaults don't fit, loss and metrics.

    class Digits(Task):
        def build_model(self, parameters):
            return nn.Sequential(nn.Linear(64, parameters.get("hidden", 64)), nn.ReLU(), nn.Linear(64, 10))

        def load_data(self, path, split):
            file = np.load(path / f"{split}.npz")
            return torch.from_numpy(file["x"]), torch.from_numpy(file["y"])

The same code runs in every pod of a job: `initialize` builds the model, clients train it on private data, the evaluator
tests it on public data. None of them has a network; pre-trained tensors come through the job's `initialModel`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from torch.nn import functional
from torch.utils.data import default_collate

from coterie_worker.training import loop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.utils.data import Dataset

    from coterie_worker.training.round import Round

    Data = Sequence[Tensor] | Dataset[Any]
    Sums = Mapping[str, tuple[float | Tensor, float | Tensor]]


class Task:
    """A model and its data. Subclass it; `build_model` and `load_data` are all that must be there.

    A batch is what one indexes out of the data: for tensors, the tuple of their rows; the defaults take the last part for
    the targets and the others for the model's inputs. `parameters` are `spec.task.parameters`, free-form.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = parameters

    def build_model(self, parameters: Mapping[str, Any]) -> nn.Module:  # noqa: ARG002 - for subclasses
        """The model, initialized at random; called once in a process, after the job's seed was set."""
        raise TypeError(f"{type(self).__qualname__} does not define build_model(parameters)")

    def load_data(self, path: Path, split: str) -> Data:  # noqa: ARG002 - for subclasses
        """The examples below `path`: tensors of equal length, or a map-style Dataset; arrays become tensors by torch.from_numpy.

        `split` is "train" in a client and "test" in the evaluator. Whatever is random here must not use the global
        generators: they are seeded anew each round.
        """
        raise TypeError(f"{type(self).__qualname__} does not define load_data(path, split)")

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The mean loss of a batch, a scalar to minimize. Default: cross entropy of `model(*inputs)` against class indices."""
        *inputs, targets = batch
        return functional.cross_entropy(model(*inputs), targets)

    def metrics(self, model: nn.Module, batch: Any) -> Sums:
        """For each metric its sum over a batch and the count to divide by, so that batches and clients can be added up.

        `accuracy` and `loss` are the names that the history, the status and `selectBy` know; others are kept beside them.
        """
        *inputs, targets = batch
        logits = model(*inputs)
        correct = (logits.argmax(dim=1) == targets).sum()
        return {
            "accuracy": (correct, targets.numel()),
            "loss": (functional.cross_entropy(logits, targets, reduction="sum"), targets.numel()),
        }

    def synthetic(self, n: int, generator: torch.Generator) -> Data | None:  # noqa: ARG002 - for subclasses
        """`n` made-up examples of the right shapes, drawn from `generator`; None if the task has none.

        With it, `initialize` tries one batch before any tenant's pod starts.
        """
        return None

    def optimizer(self, model: nn.Module) -> Optimizer | None:  # noqa: ARG002 - for subclasses
        """An optimizer of the task's own, made anew each round, in place of `spec.training.optimizer`; None for that one.

        The learning rates that it starts with are scaled by the job's schedule.
        """
        return None

    def collate(self, examples: list[Any]) -> Any:
        """A batch of a list of examples, for data sets that aren't tensors. Default: torch's default_collate."""
        return default_collate(examples)

    def train_round(self, model: nn.Module, this: Round) -> None:
        """Train `model` in place through one round. Default: the loop that `spec.training` describes.

        One's own loop takes its batches from `this.batches()`, and excludes record-level differential privacy.
        """
        loop.train(model, this, self.loss, self.optimizer(model))


def resolve(entrypoint: str) -> type[Task]:
    """The class that `pkg.module:Class` names.

    Raises:
        ValueError, AttributeError, TypeError: the entrypoint is malformed, names nothing, or no subclass of Task.
        Exception: whatever the module raises while it is imported.
    """
    module_name, colon, class_name = entrypoint.partition(":")
    if not (module_name and colon and class_name):
        raise ValueError(f"task.entrypoint {entrypoint!r} is not of the form 'package.module:Class'")
    found: Any = importlib.import_module(module_name)
    for part in class_name.split("."):
        found = getattr(found, part)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise TypeError(f"task.entrypoint {entrypoint!r} is no subclass of coterie_worker.training.Task")
    return found
