"""Batches: each example once an epoch, in an order that the seed alone decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from coterie_api.v1alpha1.types import Training
from coterie_worker.training.batches import LoadedBatches, TensorBatches, batches_of, in_order, shuffled
from coterie_worker.training.failure import EmptyDataError
from coterie_worker.training.round import Round, round_seed

CPU = torch.device("cpu")
X, Y = torch.arange(10.0).reshape(5, 2), torch.arange(5)


class Pairs(Dataset):
    def __init__(self, size: int = 5):
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, position: int):
        return X[position], Y[position]


class Stream(IterableDataset):
    def __iter__(self):
        return iter([])


class Doubled(TensorDataset):
    def __getitem__(self, position: int):
        x, y = super().__getitem__(position)
        return 2 * x, y


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def round_of(training: Training, data, seed: int = 0, smallest: int = 1) -> Round:
    return Round(0, 1, training, 0.0, generator(seed), CPU, data, smallest)


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 3))
def test_an_epoch_visits_each_example_exactly_once(size, batch_size, seed):
    rows = list(shuffled(size, batch_size, generator(seed)))

    assert torch.cat(rows).sort().values.tolist() == list(range(size))
    assert all(len(part) == batch_size for part in rows[:-1])


def test_a_last_batch_of_one_is_left_out_only_where_it_would_do_harm():
    assert [len(part) for part in shuffled(9, 4, generator())] == [4, 4, 1]
    assert [len(part) for part in shuffled(9, 4, generator(), least=2)] == [4, 4]
    assert [len(part) for part in shuffled(1, 4, generator(), least=2)] == [1]


@pytest.mark.parametrize("data", [(X, Y), [X, Y], TensorDataset(X, Y), Subset(TensorDataset(X, Y), [0, 1, 2, 3, 4]), Pairs()])
def test_tensors_and_data_sets_give_the_same_batches(data):
    batches = batches_of(data, None, CPU)
    images, targets = next(iter(batches.at(in_order(5, 3))))

    assert batches.size == 5
    assert torch.equal(images, X[:3])
    assert torch.equal(targets, Y[:3])


def test_tensors_are_batched_whole_and_other_data_one_by_one():
    assert isinstance(batches_of(TensorDataset(X, Y), None, CPU), TensorBatches)
    assert isinstance(batches_of(Pairs(), None, CPU), LoadedBatches)


def test_a_subset_takes_its_own_rows():
    assert next(iter(batches_of(Subset(TensorDataset(X, Y), [4, 0]), None, CPU).at(in_order(2, 2))))[1].tolist() == [4, 0]


def test_a_data_set_that_changes_its_examples_is_not_taken_for_plain_tensors():
    images, _ = next(iter(batches_of(Doubled(X, Y), None, CPU).at(in_order(5, 5))))

    assert torch.equal(images, 2 * X)


def test_a_tasks_own_collate_sees_single_examples():
    batch = next(iter(batches_of((X, Y), lambda examples: [y.item() for _, y in examples], CPU).at(in_order(5, 3))))

    assert batch == [0, 1, 2]


@pytest.mark.parametrize("data", [(X[:0], Y[:0]), TensorDataset(X[:0]), Pairs(0)])
def test_no_examples_are_refused(data):
    with pytest.raises(EmptyDataError):
        batches_of(data, None, CPU)


@pytest.mark.parametrize("data", [Stream(), None, 3, {"x": 1}.keys(), ()])
def test_what_cannot_be_indexed_is_refused(data):
    with pytest.raises((TypeError, EmptyDataError)):
        batches_of(data, None, CPU)


class Named(dict):
    """An answer of parts by name, as np.load and some tokenizers give it."""


@pytest.mark.parametrize("data", [X.numpy(), (X.numpy(), Y.numpy()), [X, Y.numpy()], np.asarray([1, 2]), {"x": X, "y": Y}, Named(x=X)])
def test_arrays_and_parts_by_name_are_refused_with_the_way_to_tensors(data):
    with pytest.raises(TypeError, match=r"use torch\.from_numpy"):
        batches_of(data, None, CPU)


def test_tensors_beside_other_things_are_no_data_set_of_two():
    with pytest.raises(TypeError, match="tuple of tensors and other things, allowed: tensors alone"):
        batches_of((X, Y.tolist()), None, CPU)


def test_a_list_of_examples_may_hold_arrays_in_them():
    batches = batches_of([(row.numpy(), int(target)) for row, target in zip(X, Y, strict=True)], None, CPU)
    features, targets = next(iter(batches.at(in_order(5, 3))))

    assert torch.equal(features, X[:3])
    assert torch.equal(targets, Y[:3])


def test_tensors_of_different_lengths_are_refused_with_their_lengths():
    with pytest.raises(ValueError, match=r"lengths \[5, 4\]"):
        batches_of((X, Y[:4]), None, CPU)


@pytest.mark.parametrize(
    ("training", "steps"),
    [(Training(batch_size=2), 3), (Training(local_epochs=3, batch_size=2), 9), (Training(local_steps=7, batch_size=2), 7)],
)
def test_a_round_has_as_many_batches_as_the_job_says(training, steps):
    this = round_of(training, batches_of((X, Y), None, CPU))

    assert this.steps == steps
    assert len(list(this.batches())) == steps


def test_steps_go_through_the_data_before_they_repeat_an_example():
    batches = list(round_of(Training(local_steps=5, batch_size=2), batches_of((X, Y), None, CPU)).batches())

    assert sorted(torch.cat([targets for _, targets in batches[:3]]).tolist()) == [0, 1, 2, 3, 4]


def test_the_seed_alone_decides_the_order():
    def order(seed: int) -> list[int]:
        return torch.cat(
            [targets for _, targets in round_of(Training(local_epochs=4), batches_of((X, Y), None, CPU), seed).batches()]
        ).tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_seeds_differ_between_jobs_clients_and_rounds():
    seeds = {round_seed(job, client, index) for job in range(5) for client in range(5) for index in range(5)}

    assert len(seeds) == 125
    assert all(0 <= seed < 2**63 for seed in seeds)
