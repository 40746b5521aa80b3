"""Server optimizers against a second, plain reading of the papers in float64."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_api.v1alpha1.training import Strategy, StrategyName
from coterie_worker.rounds import server_optimizer
from coterie_worker.rounds.chunks import CHUNK

ADAPTIVE = (StrategyName.FED_ADAGRAD, StrategyName.FED_ADAM, StrategyName.FED_YOGI)
every_strategy = pytest.mark.parametrize("name", list(StrategyName))


def mcmahan_2017(x, deltas, s):
    """Federated averaging: the server adds the mean of the clients' updates, times its learning rate."""
    for delta in deltas:
        x = x + s.step_size * delta
    return x


def hsu_2019(x, deltas, s):
    """Section 4.2: v <- beta v + delta_w; w <- w - v, where delta_w there is before minus after."""
    v = 0.0 * x
    for delta in deltas:
        v = s.momentum * v - delta
        x = x - s.step_size * v
    return x


def reddi_2021(x, deltas, s, second):
    """Algorithm 2, line by line."""
    m, v = 0.0 * x, 0.0 * x + s.tau**2
    for delta in deltas:
        m = s.beta1 * m + (1 - s.beta1) * delta
        v = second(v, delta, s)
        x = x + s.step_size * m / (np.sqrt(v) + s.tau)
    return x


def adagrad(v, delta, s):
    return v + delta**2


def yogi(v, delta, s):
    return v - (1 - s.beta2) * delta**2 * np.sign(v - delta**2)


def adam(v, delta, s):
    return s.beta2 * v + (1 - s.beta2) * delta**2


READINGS = {
    StrategyName.FED_AVG: mcmahan_2017,
    StrategyName.FED_PROX: mcmahan_2017,
    StrategyName.FED_AVG_M: hsu_2019,
    StrategyName.FED_ADAGRAD: lambda x, deltas, s: reddi_2021(x, deltas, s, adagrad),
    StrategyName.FED_ADAM: lambda x, deltas, s: reddi_2021(x, deltas, s, adam),
    StrategyName.FED_YOGI: lambda x, deltas, s: reddi_2021(x, deltas, s, yogi),
}


def run(strategy, start, deltas, trainable=None):
    optimizer = server_optimizer(strategy)
    parameters = start.astype(np.float32)
    trainable = parameters.size if trainable is None else trainable
    moments = optimizer.init(trainable)
    for delta in deltas:
        optimizer.apply(moments, parameters, delta.astype(np.float32), trainable)
    return parameters


fractions = st.floats(0, 0.99)
strategies = st.builds(
    Strategy,
    name=st.sampled_from(StrategyName),
    server_learning_rate=st.floats(0.01, 3),
    momentum=fractions,
    beta1=fractions,
    beta2=fractions,
    tau=st.floats(1e-3, 1),
)


@given(strategies, st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_every_optimizer_agrees_with_the_second_reading(strategy, seed, rounds):
    draw = np.random.default_rng(seed)
    start, deltas = draw.normal(size=5), draw.normal(size=(rounds, 5))

    expected = READINGS[strategy.name](start, deltas, strategy)

    assert expected == pytest.approx(run(strategy, start, deltas), rel=2e-4, abs=2e-4)


@every_strategy
def test_chunks_leave_no_seam(name):
    strategy = Strategy(name=name)
    draw = np.random.default_rng(5)
    start, deltas = draw.normal(size=2 * CHUNK + 3), draw.normal(size=(3, 2 * CHUNK + 3))

    expected = READINGS[name](start, deltas, strategy)

    assert np.abs(expected - run(strategy, start, deltas)).max() < 2e-4


def test_three_numbers_by_hand():
    start, delta = np.array([1.0, 2.0, 3.0]), np.array([[0.5, -1.0, 0.0]])

    assert run(Strategy(name=StrategyName.FED_AVG), start, delta).tolist() == [1.5, 1.0, 3.0]
    twice = run(Strategy(name=StrategyName.FED_AVG_M, momentum=0.5), start, np.repeat(delta, 2, axis=0))
    assert twice.tolist() == [1.0 + 0.5 + 0.75, 2.0 - 1.0 - 1.5, 3.0]
    # Adagrad: v = 1 + Δ², m = Δ, x += m / (√v + 1), with Δ = √3 (so √v = 2).
    grown = run(Strategy(name=StrategyName.FED_ADAGRAD, server_learning_rate=1.0, beta1=0.0, tau=1.0), start, np.full((1, 3), np.sqrt(3)))
    assert (start + np.sqrt(3) / 3) == pytest.approx(grown)


# The reading can tell the optimizers apart: a mistake in one formula is seen.
MISTAKES = {
    "bias correction": (StrategyName.FED_ADAM, lambda x, d, s: reddi_2021(x, d / (1 - s.beta1), s, adam)),
    "v begins at zero": (StrategyName.FED_ADAM, lambda x, d, s: reddi_2021(x, d, s, lambda v, e, t: adam(v * (v != t.tau**2), e, t))),
    "yogi without its sign": (StrategyName.FED_YOGI, lambda x, d, s: reddi_2021(x, d, s, lambda v, e, t: v + (1 - t.beta2) * e**2)),
    "yogi is adam": (StrategyName.FED_YOGI, lambda x, d, s: reddi_2021(x, d, s, adam)),
    "adam is adagrad": (StrategyName.FED_ADAM, lambda x, d, s: reddi_2021(x, d, s, adagrad)),
    "momentum forgotten": (StrategyName.FED_AVG_M, mcmahan_2017),
    "momentum damped": (StrategyName.FED_AVG_M, lambda x, d, s: hsu_2019(x, d * (1 - s.momentum), s)),
    "update subtracted": (StrategyName.FED_AVG, lambda x, d, s: mcmahan_2017(x, -d, s)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistaken_formula_is_seen(mistake):
    name, wrong = MISTAKES[mistake]
    strategy = Strategy(name=name, tau=0.1, beta2=0.5)
    start, deltas = np.zeros(4), np.array([[0.3, -0.2, 0.05, 1.0], [0.1, 0.1, -0.4, 0.2], [-0.3, 0.02, 0.3, 0.1]])

    result = run(strategy, start, deltas)

    assert np.abs(READINGS[name](start, deltas, strategy) - result).max() < 1e-6
    assert np.abs(wrong(start, deltas, strategy) - result).max() > 1e-4


@every_strategy
def test_buffers_take_the_mean_whatever_the_optimizer(name):
    strategy = Strategy(name=name, server_learning_rate=0.25, momentum=0.5)
    deltas = np.array([[1.0, 1.0, 2.0, -4.0], [1.0, 1.0, 0.5, 1.0]])

    parameters = run(strategy, np.array([0.0, 0.0, 10.0, 20.0]), deltas, trainable=2)

    assert parameters[2:].tolist() == [12.5, 17.0]
    assert READINGS[name](np.zeros(2), deltas[:, :2], strategy) == pytest.approx(parameters[:2], rel=1e-5)


@every_strategy
def test_a_model_of_buffers_alone_is_fine(name):
    assert run(Strategy(name=name), np.array([1.0]), np.array([[2.0]]), trainable=0).tolist() == [3.0]


@every_strategy
def test_no_update_moves_nothing(name):
    assert run(Strategy(name=name), np.array([1.0, -2.0]), np.zeros((5, 2))).tolist() == [1.0, -2.0]


@every_strategy
def test_the_mean_is_only_read(name):
    optimizer = server_optimizer(Strategy(name=name))
    mean = np.array([1.0, 2.0], dtype=np.float32)

    optimizer.apply(optimizer.init(2), np.zeros(2, np.float32), mean, 2)

    assert mean.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(("name", "vectors"), [(StrategyName.FED_AVG, 0), (StrategyName.FED_AVG_M, 1), *((n, 2) for n in ADAPTIVE)])
def test_moments_are_all_that_is_kept_and_steps_need_no_further_vector(name, vectors):
    length = 40 * CHUNK
    optimizer = server_optimizer(Strategy(name=name))
    moments, parameters, mean = optimizer.init(length), np.zeros(length, np.float32), np.ones(length, np.float32)
    tracemalloc.start()

    optimizer.apply(moments, parameters, mean, length)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert vectors * length * 4 == sum(vector.nbytes for vector in moments.values())
    assert peak < length * 4 / 8


def test_moments_stay_float32():
    optimizer = server_optimizer(Strategy(name=StrategyName.FED_YOGI))
    moments = optimizer.init(3)

    optimizer.apply(moments, np.zeros(3, np.float32), np.ones(3, np.float32), 3)

    assert {np.dtype(np.float32)} == {vector.dtype for vector in moments.values()}


WRONG = {
    "parameters are float64": lambda m, p, d: (m, p.astype(np.float64), d, 3),
    "the mean is longer": lambda m, p, d: (m, p, np.ones(5, np.float32), 3),
    "the mean is shorter": lambda m, p, d: (m, p, d[:2], 3),
    "the mean is a matrix": lambda m, p, d: (m, p, d.reshape(2, 2), 3),
    "a moment is too long": lambda m, p, d: (dict.fromkeys(m, np.ones(4, np.float32)), p, d, 3),
    "a moment is missing": lambda m, p, d: ({"first_moment": m["first_moment"]}, p, d, 3),
    "moments of another optimizer": lambda m, p, d: ({"momentum": m["first_moment"]}, p, d, 3),
    "trainable beyond the vector": lambda m, p, d: (m, p, d, 5),
    "trainable below zero": lambda m, p, d: (m, p, d, -1),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_vector_is_refused_and_nothing_changes(case):
    optimizer = server_optimizer(Strategy(name=StrategyName.FED_ADAM))
    moments, parameters, mean = optimizer.init(3), np.zeros(4, np.float32), np.ones(4, np.float32)

    with pytest.raises(ValueError, match="must be"):
        optimizer.apply(*WRONG[case](moments, parameters, mean))

    assert parameters.tolist() == [0, 0, 0, 0]
    assert moments["first_moment"].tolist() == [0, 0, 0]
