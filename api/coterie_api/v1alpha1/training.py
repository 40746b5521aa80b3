"""What is trained and how: the public constants of a job, the same in every pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from coterie_api.shape import About, Rule

Rate = Annotated[float, About(above=0, maximum=1000, format="double")]
Fraction = Annotated[float, About(minimum=0, below=1, format="double")]
Steps = Annotated[int, About(minimum=1, maximum=1_000_000, format="int64")]


@dataclass(frozen=True, slots=True)
class Task:
    """The user's code: a class of the worker image that implements the Task API."""

    entrypoint: Annotated[
        str,
        About(
            "The class to run, as module:Class, importable in the worker image.",
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$",
            pattern_says="module:Class, for example digits:Digits",
            max_length=256,
        ),
    ]
    parameters: Annotated[
        Mapping[str, Any],
        About("Free values passed to the task's build_model; never anything that privacy accounting needs.", max_properties=64),
    ] = field(default_factory=dict)


class OptimizerName(StrEnum):
    """Optimizers of the client's loop."""

    SGD = "SGD"
    ADAM = "Adam"
    ADAMW = "AdamW"


@dataclass(frozen=True, slots=True)
class Optimizer:
    """The client's optimizer; it starts anew in each round."""

    name: Annotated[OptimizerName, About("SGD, Adam or AdamW, as PyTorch defines them.")] = OptimizerName.SGD
    learning_rate: Annotated[Rate | None, About("Peak learning rate; unset means 0.1 for SGD and 0.001 for Adam and AdamW.")] = None
    momentum: Annotated[Fraction, About("Momentum of SGD.")] = 0.9
    nesterov: Annotated[bool, About("Nesterov momentum of SGD.")] = False
    weight_decay: Annotated[
        float, About("Weight decay: L2 for SGD and Adam, decoupled for AdamW.", minimum=0, maximum=10, format="double")
    ] = 0.0
    beta1: Annotated[Fraction, About("Decay of the first moment of Adam and AdamW.")] = 0.9
    beta2: Annotated[Fraction, About("Decay of the second moment of Adam and AdamW.")] = 0.999
    epsilon: Annotated[float, About("Added to the denominator of Adam and AdamW.", above=0, maximum=1, format="double")] = 1e-8

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="nesterov",
            # has(): the API server judges `default: {}` of the object around it before it fills in nested defaults.
            cel="!has(self.nesterov) || !self.nesterov || self.momentum > 0.0",
            message="true only with momentum above 0",
            holds=lambda self: not self.nesterov or self.momentum > 0,
        ),
    )

    @property
    def peak_learning_rate(self) -> float:
        """`learning_rate`, or the default of this optimizer."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 0.1 if self.name is OptimizerName.SGD else 0.001


class ScheduleName(StrEnum):
    """How the learning rate moves over the whole job."""

    CONSTANT = "Constant"
    COSINE = "Cosine"
    LINEAR = "Linear"
    STEP = "Step"


@dataclass(frozen=True, slots=True)
class Schedule:
    """The factor on the peak learning rate: a function of the job's progress, (rounds done + part of this round) / rounds."""

    name: Annotated[ScheduleName, About("Constant, Cosine, Linear (both fall to finalFactor at the end) or Step.")] = ScheduleName.CONSTANT
    warmup_rounds: Annotated[int, About("Rounds over which the factor first grows linearly to 1.", minimum=0, maximum=100_000)] = 0
    final_factor: Annotated[float, About("Factor at the end of Cosine and Linear.", minimum=0, maximum=1, format="double")] = 0.0
    step_rounds: Annotated[int, About("Rounds between two steps of Step.", minimum=1, maximum=100_000)] = 10
    step_factor: Annotated[float, About("Factor of each step of Step.", above=0, maximum=1, format="double")] = 0.1


class Precision(StrEnum):
    """Arithmetic of forward and backward; updates stay float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@dataclass(frozen=True, slots=True)
class Training:
    """The client's loop."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="localSteps",
            cel="!(has(self.localEpochs) && has(self.localSteps))",
            message="only one of localEpochs and localSteps",
            holds=lambda self: self.local_epochs is None or self.local_steps is None,
        ),
    )

    local_epochs: Annotated[
        int | None, About("Passes over the client's data in one round; 1 if localSteps is unset too.", minimum=1, maximum=1000)
    ] = None
    local_steps: Annotated[Steps | None, About("Optimizer steps in one round, instead of localEpochs.")] = None
    batch_size: Annotated[int, About("Examples in one step.", minimum=1, maximum=1_048_576)] = 32
    sampling_probability: Annotated[
        float | None,
        About("Poisson probability of each record to be in a step; only with differential privacy.", above=0, maximum=1, format="double"),
    ] = None
    optimizer: Annotated[Optimizer, About("The client's optimizer.")] = Optimizer()
    schedule: Annotated[Schedule, About("How the learning rate moves over the whole job.")] = Schedule()
    precision: Annotated[Precision, About("Arithmetic of the client's loop: float32, or autocast to bfloat16 or float16.")] = (
        Precision.FLOAT32
    )

    @property
    def epochs(self) -> int | None:
        """Local epochs of a round; None if the loop counts steps."""
        return self.local_epochs or (None if self.local_steps else 1)


class StrategyName(StrEnum):
    """How updates become the next parameters."""

    FED_AVG = "FedAvg"
    FED_PROX = "FedProx"
    FED_AVG_M = "FedAvgM"
    FED_ADAGRAD = "FedAdagrad"
    FED_ADAM = "FedAdam"
    FED_YOGI = "FedYogi"


class Weighting(StrEnum):
    """How much each client's update counts in the mean."""

    UNIFORM = "Uniform"
    EXAMPLES = "Examples"


@dataclass(frozen=True, slots=True)
class Strategy:
    """The server's side of a round (FedProx also adds its term to the client's loss)."""

    name: Annotated[StrategyName, About("FedAvg, FedProx, FedAvgM, FedAdagrad, FedAdam or FedYogi.")] = StrategyName.FED_AVG
    weighting: Annotated[Weighting, About("Uniform, or Examples (only with privacy.mode None).")] = Weighting.UNIFORM
    weight_cap: Annotated[
        int, About("Examples from which on a client counts in full, with weighting Examples.", minimum=1, maximum=2**31 - 1)
    ] = 8192
    cohort_size: Annotated[
        int | None, About("Clients asked in each round; unset asks all that are connected.", minimum=1, maximum=1000)
    ] = None
    proximal_mu: Annotated[
        float, About("Strength of FedProx's pull towards the round's parameters.", minimum=0, maximum=1000, format="double")
    ] = 0.01
    server_learning_rate: Annotated[
        Rate | None, About("Factor on the mean update; unset means 1 for FedAvg, FedProx and FedAvgM, and 0.1 for the adaptive strategies.")
    ] = None
    momentum: Annotated[Fraction, About("Server momentum of FedAvgM.")] = 0.9
    beta1: Annotated[Fraction, About("Decay of the first moment of FedAdagrad, FedAdam and FedYogi.")] = 0.9
    beta2: Annotated[Fraction, About("Decay of the second moment of FedAdam and FedYogi.")] = 0.99
    tau: Annotated[
        float, About("Adaptivity: added to the denominator of the adaptive strategies.", above=0, maximum=1, format="double")
    ] = 0.001

    @property
    def step_size(self) -> float:
        """`server_learning_rate`, or the default of this strategy."""
        if self.server_learning_rate is not None:
            return self.server_learning_rate
        plain = (StrategyName.FED_AVG, StrategyName.FED_PROX, StrategyName.FED_AVG_M)
        return 1.0 if self.name in plain else 0.1

    @property
    def pull(self) -> float:
        """FedProx's mu for the client's loss; 0 for every other strategy."""
        return self.proximal_mu if self.name is StrategyName.FED_PROX else 0.0
