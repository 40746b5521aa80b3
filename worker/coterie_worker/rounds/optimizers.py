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
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from coterie_worker.rounds.chunks import CHUNK, chunks

Vector: TypeAlias = NDArray[np.float32]
Moments: TypeAlias = dict[str, Vector]

MOMENTUM = "momentum"
FIRST_MOMENT = "first_moment"
SECOND_MOMENT = "second_moment"


class ServerOptimizerName(StrEnum):
    """`spec.strategy.name`."""

    FED_AVG = "FedAvg"
    FED_PROX = "FedProx"
    FED_AVG_M = "FedAvgM"
    FED_ADAGRAD = "FedAdagrad"
    FED_ADAM = "FedAdam"
    FED_YOGI = "FedYogi"


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Numbers of the server optimizers, under the names of the papers in parentheses.

    Attributes:
        learning_rate: η, above 0.
        momentum: β of FedAvgM, in [0, 1).
        beta1: β₁ of the adaptive ones, in [0, 1). The paper takes 0 for FedAdagrad, 0.9 for the others.
        beta2: β₂ of FedAdam and FedYogi, in [0, 1).
        tau: τ, the degree of adaptivity, above 0.
    """

    learning_rate: float = 1.0
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("learning_rate", "tau"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"strategy: {name} is {value!r}, must be finite and above 0")
        for name in ("momentum", "beta1", "beta2"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"strategy: {name} is {value!r}, must be at least 0 and below 1")


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


def server_optimizer(name: ServerOptimizerName, numbers: Hyperparameters) -> ServerOptimizer:
    """Return the server optimizer that `spec.strategy` names."""
    floor = numbers.tau**2
    adaptive = {FIRST_MOMENT: 0.0, SECOND_MOMENT: floor}
    match name:
        case ServerOptimizerName.FED_AVG | ServerOptimizerName.FED_PROX:
            return ServerOptimizer({}, _averaging(numbers))
        case ServerOptimizerName.FED_AVG_M:
            return ServerOptimizer({MOMENTUM: 0.0}, _with_momentum(numbers))
        case ServerOptimizerName.FED_ADAGRAD:
            return ServerOptimizer(adaptive, _adaptive(numbers, _adagrad))
        case ServerOptimizerName.FED_ADAM:
            return ServerOptimizer(adaptive, _adaptive(numbers, _adam))
        case ServerOptimizerName.FED_YOGI:
            return ServerOptimizer(adaptive, _adaptive(numbers, _yogi))


def _averaging(numbers: Hyperparameters) -> Step:
    rate = np.float32(numbers.learning_rate)

    def step(_: Moments, parameters: Vector, mean: Vector, scratch: Vector) -> None:
        np.multiply(mean, rate, out=scratch)
        parameters += scratch

    return step


def _with_momentum(numbers: Hyperparameters) -> Step:
    rate, beta = np.float32(numbers.learning_rate), np.float32(numbers.momentum)

    def step(moments: Moments, parameters: Vector, mean: Vector, scratch: Vector) -> None:
        velocity = moments[MOMENTUM]
        velocity *= beta
        velocity += mean
        np.multiply(velocity, rate, out=scratch)
        parameters += scratch

    return step


SecondMoment: TypeAlias = Callable[[Vector, Vector, np.float32], None]  # v, Δ² (may be overwritten), 1 - β₂


def _adaptive(numbers: Hyperparameters, second_moment: SecondMoment) -> Step:
    rate, tau, beta1 = np.float32(numbers.learning_rate), np.float32(numbers.tau), np.float32(numbers.beta1)
    rest1, rest2 = np.float32(1 - numbers.beta1), np.float32(1 - numbers.beta2)

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
