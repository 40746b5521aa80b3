"""The client's optimizer as `spec.training.optimizer` declares it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from coterie_api.v1alpha1.types import Optimizer, OptimizerName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def build(spec: Optimizer, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """A new optimizer over `parameters`, which are not empty."""
    # One fused kernel call a step instead of several a tensor; for small models it is what a step spends outside autograd.
    common: dict[str, Any] = {"lr": spec.peak_learning_rate, "weight_decay": spec.weight_decay, "fused": _can_fuse(parameters)}
    if spec.name is OptimizerName.SGD:
        return torch.optim.SGD(parameters, momentum=spec.momentum, nesterov=spec.nesterov, **common)
    kind = torch.optim.Adam if spec.name is OptimizerName.ADAM else torch.optim.AdamW
    return kind(parameters, betas=(spec.beta1, spec.beta2), eps=spec.epsilon, **common)


def _can_fuse(parameters: Sequence[Tensor]) -> bool:
    return all(parameter.device.type in {"cpu", "cuda"} and parameter.is_floating_point() for parameter in parameters)
