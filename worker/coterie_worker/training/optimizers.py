"""The client's optimizer as `spec.training.optimizer` declares it."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, Final

import torch

from coterie_api.v1alpha1.types import Optimizer, OptimizerName

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

_ANSWER: Final = "__dynamo_disable"  # of torch/_compile.py


def build(spec: Optimizer, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """A new optimizer over `parameters`, which are not empty."""
    _spare_compiler()
    # One fused kernel call a step instead of several a tensor; for small models it is what a step spends outside autograd.
    common: dict[str, Any] = {"lr": spec.peak_learning_rate, "weight_decay": spec.weight_decay, "fused": _can_fuse(parameters)}
    if spec.name is OptimizerName.SGD:
        return torch.optim.SGD(parameters, momentum=spec.momentum, nesterov=spec.nesterov, **common)
    kind = torch.optim.Adam if spec.name is OptimizerName.ADAM else torch.optim.AdamW
    return kind(parameters, betas=(spec.beta1, spec.beta2), eps=spec.epsilon, **common)


def bare_step(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """The step of an optimizer that `build` made, without what torch wraps around it.

    The wrappers run hooks and profiling, of which there are none here, and import torch's compiler, of which a client has
    no use: 2 s of processor time and 160 MB with torch 2.15, half the start-up of a small job.
    """
    step = inspect.unwrap(type(optimizer).step)

    @torch.no_grad()
    def call() -> None:
        step(optimizer)

    return call


def _spare_compiler() -> None:
    """Keep torch from importing its compiler when an optimizer is made.

    `add_param_group` is wrapped so that it is never compiled; the wrapper asks `torch._dynamo` the first time, and keeps the
    answer on the function. The answer is put there. A torch without that wrapper is left alone, as is a process that compiles.
    """
    function = getattr(torch.optim.Optimizer.add_param_group, "__wrapped__", None)
    if function is not None and "torch._dynamo" not in sys.modules and not hasattr(function, _ANSWER):
        setattr(function, _ANSWER, function)


def _can_fuse(parameters: Sequence[Tensor]) -> bool:
    return all(parameter.device.type in {"cpu", "cuda"} and parameter.is_floating_point() for parameter in parameters)
