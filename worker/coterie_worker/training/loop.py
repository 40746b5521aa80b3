"""One client's round: seeded batches, forward, backward, step.

The loop is measured against the same steps in plain PyTorch, so it does per step what a plain loop does; whatever a job
doesn't ask for (schedule, autocast, FedProx) is decided before the loop, not in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from coterie_api.v1alpha1.types import Precision
from coterie_worker.training import optimizers, schedule

if TYPE_CHECKING:
    from coterie_worker.training.round import Round

# A round starts with a new scale. torch's own first guess, 65536, would skip the first steps of every round.
FIRST_LOSS_SCALE: Final = 1024.0


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Forward, backward and step at one precision."""

    forward: Callable[[Any], Tensor]
    backward: Callable[[Tensor], None]
    step: Callable[[], object]


Loss = Callable[[nn.Module, Any], Tensor]


def train(model: nn.Module, this: Round, loss: Loss, own: torch.optim.Optimizer | None = None) -> None:
    """Run the round that `spec.training` describes; the model is left trained.

    Args:
        model: on `this.device`.
        this: the round.
        loss: of a model and a batch, a scalar.
        own: the task's own optimizer, new; None for the one that `spec.training.optimizer` describes.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        return  # only buffers, if anything, are learned
    optimizer = own or optimizers.build(this.training.optimizer, parameters)
    peaks = [group["lr"] for group in optimizer.param_groups]
    rate = schedule.in_round(this.training.schedule, this.index, this.rounds, this.steps)
    pull = _pull(parameters, this)
    arithmetic = _arithmetic(partial(loss, model), this, optimizer, optimizer.step if own else optimizers.bare_step(optimizer))
    forward, backward, step = arithmetic.forward, arithmetic.backward, arithmetic.step
    for number, batch in enumerate(this.batches()):
        if rate is not None:
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * rate(number)
        for parameter in parameters:
            parameter.grad = None
        backward(forward(batch))
        if pull is not None:
            pull()
        step()


def _pull(parameters: list[nn.Parameter], this: Round) -> Callable[[], None] | None:
    """FedProx: add the gradient of mu/2·‖w - w₀‖² (Li et al., Federated Optimization in Heterogeneous Networks, eq. 2)."""
    if not this.proximal_mu:
        return None
    start = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def pull() -> None:
        for parameter, origin in zip(parameters, start, strict=True):
            if parameter.grad is not None:
                parameter.grad.add_(parameter - origin, alpha=this.proximal_mu)

    return pull


def _arithmetic(loss: Callable[[Any], Tensor], this: Round, optimizer: torch.optim.Optimizer, step: Callable[[], object]) -> Arithmetic:
    precision = this.training.precision
    if precision is Precision.FLOAT32:
        return Arithmetic(loss, torch.autograd.backward, step)
    autocast = torch.autocast(this.device.type, dtype=getattr(torch, precision.value))

    def forward(batch: Any) -> Tensor:
        with autocast:
            return loss(batch)

    if precision is Precision.BFLOAT16:
        return Arithmetic(forward, torch.autograd.backward, step)
    return _scaled(forward, optimizer, this)


def _scaled(forward: Callable[[Any], Tensor], optimizer: torch.optim.Optimizer, this: Round) -> Arithmetic:
    """float16 gradients vanish below 6e-8, so the loss is scaled up and the gradients down again."""
    scaler = torch.amp.GradScaler(this.device.type, init_scale=FIRST_LOSS_SCALE)

    def backward(loss: Tensor) -> None:
        torch.autograd.backward(scaler.scale(loss))
        scaler.unscale_(optimizer)

    def step() -> None:
        scaler.step(optimizer)
        scaler.update()

    return Arithmetic(forward, backward, step)
