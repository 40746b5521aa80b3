"""A client's round, held against loops written out by hand in plain PyTorch."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from coterie_api.v1alpha1.types import Optimizer, OptimizerName, Precision, Schedule, ScheduleName, Strategy, StrategyName, Training
from coterie_worker.training import initialize
from coterie_worker.training.round import round_seed

HEADER = """
import torch
from torch import nn
from coterie_worker.training import Task

class Base(Task):
    def build_model(self, parameters):
        return nn.Linear(2, 3)

    def load_data(self, path, split):
        generator = torch.Generator().manual_seed(5)
        return torch.randn(20, 2, generator=generator), torch.randint(3, (20,), generator=generator)
"""


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(20, 2, generator=generator), torch.randint(3, (20,), generator=generator)


def plain_round(
    start: np.ndarray, make, *, epochs: int = 1, seed: int = 3, index: int = 0, round_index: int = 0, mu: float = 0.0, rate=None
) -> np.ndarray:
    """The same round as a data scientist would write it; the update."""
    images, targets = data()
    model = nn.Linear(2, 3)
    before = torch.from_numpy(start.copy())
    nn.utils.vector_to_parameters(before.clone(), model.parameters())
    origin = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = make(model.parameters())
    peak = optimizer.param_groups[0]["lr"]
    generator = torch.Generator().manual_seed(round_seed(seed, index, round_index))
    step = 0
    for _ in range(epochs):
        for rows in torch.randperm(20, generator=generator).split(4):
            if rate is not None:
                optimizer.param_groups[0]["lr"] = peak * rate(step)
            loss = functional.cross_entropy(model(images[rows]), targets[rows])
            loss = loss + mu / 2 * sum(((p - o) ** 2).sum() for p, o in zip(model.parameters(), origin, strict=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return (nn.utils.parameters_to_vector(model.parameters()).detach() - before).numpy()


@pytest.mark.parametrize(
    ("spec", "make"),
    [
        (Optimizer(learning_rate=0.1), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        (Optimizer(momentum=0.0, weight_decay=0.1), lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1)),
        (Optimizer(nesterov=True), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
        (Optimizer(OptimizerName.ADAM), lambda p: torch.optim.Adam(p, lr=0.001)),
        (
            Optimizer(OptimizerName.ADAM, learning_rate=0.02, beta1=0.5, beta2=0.9, epsilon=1e-3),
            lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.5, 0.9), eps=1e-3),
        ),
        (Optimizer(OptimizerName.ADAMW, weight_decay=0.5), lambda p: torch.optim.AdamW(p, lr=0.001, weight_decay=0.5)),
    ],
)
def test_a_round_is_the_same_steps_as_in_plain_pytorch(trainer_of, line, spec, make):
    trainer, start = trainer_of(line, Training(local_epochs=2, batch_size=4, optimizer=spec))
    update = trainer.train(start, 4)

    assert update.examples == 20
    np.testing.assert_allclose(update.values, plain_round(start, make, epochs=2, round_index=4), rtol=1e-4, atol=1e-6)


def test_a_schedule_moves_the_rate_within_the_round(trainer_of, line):
    training = Training(batch_size=4, optimizer=Optimizer(learning_rate=0.3), schedule=Schedule(ScheduleName.LINEAR))
    trainer, start = trainer_of(line, training)
    expected = plain_round(
        start, lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9), round_index=5, rate=lambda step: 1 - (5 + step / 5) / 10
    )

    np.testing.assert_allclose(trainer.train(start, 5).values, expected, rtol=1e-4, atol=1e-6)


def test_fedprox_adds_the_gradient_of_its_proximal_term(trainer_of, line):
    trainer, start = trainer_of(line, strategy=Strategy(StrategyName.FED_PROX, proximal_mu=2.0))
    expected = plain_round(start, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), mu=2.0)
    without = plain_round(start, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9))

    update = trainer.train(start, 0).values
    np.testing.assert_allclose(update, expected, rtol=1e-4, atol=1e-6)
    assert np.linalg.norm(update) < np.linalg.norm(without)


def test_other_strategies_have_no_proximal_term_whatever_mu_says(trainer_of, line):
    trainer, start = trainer_of(line, strategy=Strategy(proximal_mu=2.0))
    expected = plain_round(start, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9))

    np.testing.assert_allclose(trainer.train(start, 0).values, expected, rtol=1e-4, atol=1e-6)


def test_the_same_round_gives_the_same_bits_whatever_was_trained_before(trainer_of, line):
    trainer, start = trainer_of(line)
    first = trainer.train(start, 2).values
    trainer.train(start + 1, 7)

    np.testing.assert_array_equal(trainer.train(start, 2).values, first)


def test_clients_and_rounds_shuffle_differently(trainer_of, line):
    trainer, start = trainer_of(line)
    other, _ = trainer_of(line, index=1)
    first = trainer.train(start, 0).values

    assert not np.array_equal(first, trainer.train(start, 1).values)
    assert not np.array_equal(first, other.train(start, 0).values)


RANDOM = (
    HEADER
    + """
import random
import numpy as np

class Dropping(Base):
    def build_model(self, parameters):
        return nn.Sequential(nn.Dropout(), nn.Linear(2, 3))

class Augmenting(Base):
    def loss(self, model, batch):
        return super().loss(model, batch) * (random.random() + np.random.rand())
"""
)


@pytest.mark.parametrize("name", ["Dropping", "Augmenting"])
def test_what_is_random_in_a_round_is_seeded_by_it_and_leaves_the_global_generators_alone(trainer_of, task_module, name):
    trainer, start = trainer_of(f"{task_module(RANDOM)}:{name}")

    def train(seed: int) -> tuple[list[float], list[float]]:
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        values = trainer.train(start, 0).values
        return values.tolist(), [torch.rand(1).item(), random.random(), np.random.rand()]

    torch.manual_seed(11)
    random.seed(11)
    np.random.seed(11)
    untouched = [torch.rand(1).item(), random.random(), np.random.rand()]

    assert train(11)[1] == untouched
    assert train(11)[0] == train(12)[0]


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
@pytest.mark.parametrize("name", list(OptimizerName))
def test_low_precision_stays_near_float32_and_gives_float32_updates(trainer_of, line, precision, name):
    optimizer = Optimizer(name, learning_rate=0.01)
    exact, start = trainer_of(line, Training(batch_size=4, optimizer=optimizer))
    trainer, _ = trainer_of(line, Training(batch_size=4, optimizer=optimizer, precision=precision))
    update, expected = trainer.train(start, 0).values, exact.train(start, 0).values

    assert update.dtype == np.float32
    assert not np.array_equal(update, expected)
    np.testing.assert_allclose(update, expected, atol=0.02)


def test_training_never_imports_torchs_compiler(tmp_path, line, job_of):
    job = job_of(line)
    made = initialize(tmp_path / "root", job)
    (tmp_path / "layout").write_bytes(made.layout.to_json())
    (tmp_path / "model").write_bytes(made.model)
    module, _, _ = line.partition(":")
    script = f"""
import sys, pathlib, pickle
sys.path.insert(0, {str(tmp_path / "code")!r})
from coterie_worker.layout import Layout, pack
from coterie_worker.training import Trainer
from coterie_worker.training.round import Round
home = pathlib.Path({str(tmp_path)!r})
job = pickle.loads((home / "job").read_bytes())
layout, model = Layout.from_json((home / "layout").read_bytes()), (home / "model").read_bytes()
Trainer(job, home, layout, model, index=0).train(pack(model, layout), 0)
print("torch._dynamo" in sys.modules, {module!r} in sys.modules)
"""
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["False", "True"]


BATCH_NORM = (
    HEADER
    + """
class Normed(Base):
    def build_model(self, parameters):
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
"""
)


def test_running_statistics_are_part_of_the_update_and_a_batch_of_one_is_left_out(trainer_of, task_module):
    trainer, start = trainer_of(f"{task_module(BATCH_NORM)}:Normed", Training(batch_size=19))  # 20 = 19 + 1
    update = trainer.train(start, 0)

    assert np.abs(update.values[-8:]).min() > 0


def test_a_client_that_learns_nothing_sends_exactly_zero_though_its_model_is_bfloat16(trainer_of, task_module):
    source = (
        HEADER
        + """
class Still(Base):
    def build_model(self, parameters):
        return nn.Linear(2, 3).to(torch.bfloat16)

    def loss(self, model, batch):
        return 0.0 * model(batch[0].to(torch.bfloat16)).sum()
"""
    )
    trainer, start = trainer_of(f"{task_module(source)}:Still")
    master = start + np.float32(1e-4)

    assert not trainer.train(master, 0).values.any()


def test_an_optimizer_of_the_tasks_own_takes_the_place_of_the_jobs(trainer_of, task_module):
    source = (
        HEADER + "\nclass Own(Base):\n    def optimizer(self, model):\n        return torch.optim.RMSprop(model.parameters(), lr=0.01)\n"
    )
    trainer, start = trainer_of(f"{task_module(source)}:Own")
    expected = plain_round(start, lambda p: torch.optim.RMSprop(p, lr=0.01))

    np.testing.assert_allclose(trainer.train(start, 0).values, expected, rtol=1e-4, atol=1e-6)


def test_a_loop_of_the_tasks_own_takes_the_place_of_ours(trainer_of, task_module):
    source = (
        HEADER
        + """
class Own(Base):
    def train_round(self, model, this):
        with torch.no_grad():
            for images, targets in this.batches():
                model.bias.add_(len(targets))
"""
    )
    trainer, start = trainer_of(f"{task_module(source)}:Own")

    np.testing.assert_allclose(trainer.train(start, 0).values, [0] * 6 + [20] * 3, atol=1e-5)


def test_a_model_of_buffers_alone_needs_no_optimizer(trainer_of, task_module):
    source = HEADER + "\nclass Fixed(Base):\n    def build_model(self, parameters):\n        return nn.BatchNorm1d(2, affine=False)\n"
    trainer, start = trainer_of(f"{task_module(source)}:Fixed")

    assert not trainer.train(start, 0).values.any()
