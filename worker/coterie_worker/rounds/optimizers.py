"""Server optimizers: how the mean of the updates moves the parameters.

Each is two functions without hidden state: `init(length)` makes the moments, `apply` moves parameters and moments in
place. The mean of the updates (after minus before) plays the role of the negative gradient, so it is *added*.

    FedAvg      x += η Δ                                            McMahan et al. 2017, arXiv:1602.05629, Algorithm 1
    FedAvgM     u  = β u + Δ;  x += η u                             Hsu et al. 2019, arXiv:1909.06335, section 4.2
    adaptive    m  = β₁ m + (1 - β₁) Δ;  x += η m / (√v + τ)        Reddi et al. 2021, arXiv:2003.00295, Algorithm 2
      FedAdagrad  v += Δ²
      FedAdam     v  = β₂ v + (1 - β₂) Δ²
      FedYogi     v -= (1 - β₂) Δ² sign(v - Δ²)

As in that paper there is no bias correction, and v starts at τ². FedProx changes what clients do; here it is FedAvg.
Memory: one chunk of scratch, and the moments: none (FedAvg), one vector (FedAvgM) or two (the adaptive ones).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from coterie_api.v1alpha1.training import Strategy, StrategyName
from coterie_worker.rounds.chunks import CHUNK, chunks

Vector: TypeAlias = NDArray[np.float32]
Moments: TypeAlias = dict[str, Vector]

MOMENTUM = "momentum"
FIRST_MOMENT = "first_moment"
SECOND_MOMENT = "second_moment"


Step: TypeAlias = Callable[[Moments, Vector, Vector, Vector], None]  # moments, parameters, mean, scratch: one chunk of each


@dataclass(frozen=True, slots=True)
class ServerOptimizer:
    """A server optimizer with its numbers filled in."""

    moments: dict[str, float]  # name → value that each of its elements starts with
    step: Step

    def init(self, length: int) -> Moments:
        """Return the moments before the first round, each float32[length], where length is the layout's `trainable`."""
        return {name: np.full(length, value, dtype=np.float32) for name, value in self.moments.items()}

    def apply(self, moments: Moments, parameters: Vector, mean: Vector, trainable: int) -> None:
        """Move `parameters` and `moments` in place by the mean of the updates; `mean` is only read.

        The first `trainable` elements go through the optimizer. The rest are float buffers (running means of
        BatchNorm): they take the weighted mean of the clients' buffers, whatever the optimizer and its learning rate.

        Raises:
            ValueError: a vector of another type or length; then nothing has changed.
        """
        self._check(moments, parameters, mean, trainable)
        scratch = np.empty(min(CHUNK, max(trainable, 1)), dtype=np.float32)
        for part in chunks(trainable):
            piece = {name: vector[part] for name, vector in moments.items()}
            self.step(piece, parameters[part], mean[part], scratch[: part.stop - part.start])
        parameters[trainable:] += mean[trainable:]

    def _check(self, moments: Moments, parameters: Vector, mean: Vector, trainable: int) -> None:
        if not 0 <= trainable <= parameters.size:
            raise ValueError(f"trainable length is {trainable}, must be from 0 to {parameters.size}")
        if moments.keys() != self.moments.keys():
            raise ValueError(f"moments are {sorted(moments)}, must be {sorted(self.moments)}")
        lengths = {"parameters": (parameters, parameters.size), "mean": (mean, parameters.size)}
        lengths |= {name: (vector, trainable) for name, vector in moments.items()}
        for name, (vector, length) in lengths.items():
            if vector.dtype != np.float32 or vector.shape != (length,):
                raise ValueError(f"{name} is {vector.dtype}{list(vector.shape)}, must be float32[{length}]")


def server_optimizer(strategy: Strategy) -> ServerOptimizer:
    """Return the server optimizer that `spec.strategy` names, with its numbers."""
    adaptive = {FIRST_MOMENT: 0.0, SECOND_MOMENT: strategy.tau**2}
    match strategy.name:
        case StrategyName.FED_AVG | StrategyName.FED_PROX:
            return ServerOptimizer({}, _averaging(strategy))
        case StrategyName.FED_AVG_M:
            return ServerOptimizer({MOMENTUM: 0.0}, _with_momentum(strategy))
        case StrategyName.FED_ADAGRAD:
            return ServerOptimizer(adaptive, _adaptive(strategy, _adagrad))
        case StrategyName.FED_ADAM:
            return ServerOptimizer(adaptive, _adaptive(strategy, _adam))
        case StrategyName.FED_YOGI:
            return ServerOptimizer(adaptive, _adaptive(strategy, _yogi))


def _averaging(strategy: Strategy) -> Step:
    rate = np.float32(strategy.step_size)

    def step(_: Moments, parameters: Vector, mean: Vector, scratch: Vector) -> None:
        np.multiply(mean, rate, out=scratch)
        parameters += scratch

    return step


def _with_momentum(strategy: Strategy) -> Step:
    rate, beta = np.float32(strategy.step_size), np.float32(strategy.momentum)

    def step(moments: Moments, parameters: Vector, mean: Vector, scratch: Vector) -> None:
        velocity = moments[MOMENTUM]
        velocity *= beta
        velocity += mean
        np.multiply(velocity, rate, out=scratch)
        parameters += scratch

    return step


SecondMoment: TypeAlias = Callable[[Vector, Vector, np.float32], None]  # v, Δ² (may be overwritten), 1 - β₂


def _adaptive(strategy: Strategy, second_moment: SecondMoment) -> Step:
    rate, tau, beta1 = np.float32(strategy.step_size), np.float32(strategy.tau), np.float32(strategy.beta1)
    rest1, rest2 = np.float32(1 - strategy.beta1), np.float32(1 - strategy.beta2)

    def step(moments: Moments, parameters: Vector, mean: Vector, scratch: Vector) -> None:
        first, second = moments[FIRST_MOMENT], moments[SECOND_MOMENT]
        first *= beta1
        np.multiply(mean, rest1, out=scratch)
        first += scratch
        np.multiply(mean, mean, out=scratch)
        second_moment(second, scratch, rest2)
        np.sqrt(second, out=scratch)
        scratch += tau
        np.divide(first, scratch, out=scratch)
        scratch *= rate
        parameters += scratch

    return step


def _adagrad(second: Vector, squares: Vector, _: np.float32) -> None:
    second += squares


def _adam(second: Vector, squares: Vector, rest: np.float32) -> None:
    squares -= second  # v + (1 - β₂)(Δ² - v) is β₂ v + (1 - β₂) Δ² without a second scratch vector
    squares *= rest
    second += squares


def _yogi(second: Vector, squares: Vector, rest: np.float32) -> None:
    sign = np.sign(second - squares)
    squares *= sign
    squares *= rest
    second -= squares
