"""What the values say of themselves: defaults that depend on each other, and consent."""

from __future__ import annotations

import pytest

from coterie_api.v1alpha1 import types
from coterie_api.v1alpha1.types import Grant, GrantedJobs, Optimizer, OptimizerName, Strategy, StrategyName, Training

IMAGE = "registry.example/train@sha256:abc"


def grant(*images: str, namespaces: tuple[str, ...] = ("research",)) -> Grant:
    return Grant(GrantedJobs(namespaces), images)


@pytest.mark.parametrize(
    ("images", "image"),
    [
        ((), IMAGE),
        ((IMAGE,), "registry.example/train@sha256:abcd"),
        ((IMAGE,), "registry.example/train"),
        ((IMAGE,), ""),
        (("registry.example/*",), "registry.example.evil.org/train"),
        (("registry.example/train:*",), "registry.example/train2:1"),
        (("registry.example/train",), "registry.example/train:1"),
    ],
)
def test_an_image_that_no_pattern_names_is_not_covered(images: tuple[str, ...], image: str) -> None:
    assert not grant(*images).covers("research", image)


@pytest.mark.parametrize("namespace", ["", "research2", "Research", "resear", "*"])
def test_a_namespace_that_is_not_listed_is_not_covered(namespace: str) -> None:
    assert not grant("*").covers(namespace, IMAGE)


@pytest.mark.parametrize("pattern", [IMAGE, "registry.example/*", "*"])
def test_a_named_image_of_a_listed_namespace_is_covered(pattern: str) -> None:
    assert grant(pattern).covers("research", IMAGE)


def test_one_grant_never_lends_its_images_to_another() -> None:
    grants = (grant(IMAGE, namespaces=("a",)), grant("other", namespaces=("b",)))
    spec = types.FederatedDatasetSpec(types.Source(), types.Identity("k"), grants=grants)

    assert spec.grants_to("a", IMAGE)
    assert not spec.grants_to("b", IMAGE)


def test_a_data_set_grants_nothing_by_itself() -> None:
    assert not types.FederatedDatasetSpec(types.Source(), types.Identity("k")).grants_to("research", IMAGE)


def test_an_optimizer_has_a_learning_rate_of_its_own() -> None:
    assert [Optimizer(name).peak_learning_rate for name in OptimizerName] == [0.1, 0.001, 0.001]
    assert Optimizer(OptimizerName.ADAM, 0.5).peak_learning_rate == 0.5


def test_a_strategy_has_a_step_size_of_its_own() -> None:
    assert [Strategy(name).step_size for name in StrategyName] == [1.0, 1.0, 1.0, 0.1, 0.1, 0.1]
    assert Strategy(StrategyName.FED_YOGI, server_learning_rate=0.5).step_size == 0.5


def test_only_fedprox_pulls() -> None:
    assert {name: Strategy(name).pull for name in StrategyName if Strategy(name).pull} == {StrategyName.FED_PROX: 0.01}


def test_a_round_is_one_epoch_unless_it_is_told_otherwise() -> None:
    assert [Training().epochs, Training(local_epochs=3).epochs, Training(local_steps=9).epochs] == [1, 3, None]
