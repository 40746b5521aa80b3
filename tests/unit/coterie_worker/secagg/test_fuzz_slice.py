"""A short slice of the fuzzing, without the fuzzer: seeds, every input that was once a finding, and some random ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz import targets
from tests.fuzz.targets import TARGETS, seeds

from coterie_worker.secagg import ServerEpoch, Stage, client

CORPUS = Path(targets.__file__).with_name("corpus")


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_and_earlier_findings_pass(target: str) -> None:
    for data in [*seeds(target), *(path.read_bytes() for path in sorted((CORPUS / target).glob("*")))]:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_random_inputs_pass(target: str) -> None:
    @settings(max_examples=15 if target == "network" else 60, deadline=None)
    @given(st.binary(max_size=80))
    def run(data: bytes) -> None:
        TARGETS[target](data)

    run()


def test_the_seeds_of_the_network_open_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    result = ServerEpoch.result
    monkeypatch.setattr(ServerEpoch, "result", lambda self, **options: opened.append(1) or result(self, **options))
    for data in seeds("network"):
        TARGETS["network"](data)

    assert opened


def test_a_wrong_sum_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "plain_sum", lambda *_: np.zeros(13, np.uint32))
    with pytest.raises(AssertionError, match="wrong sum"):
        TARGETS["network"](seeds("network")[0])


def test_an_honest_dealer_that_is_disqualified_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.Verifier, "check", lambda *_: None)
    with pytest.raises(AssertionError, match="an honest dealer was disqualified"):
        TARGETS["client"](bytes([len(targets.STAGES), 3, 4, 3, 3, 0, 0, 0]))
    targets.scene.cache_clear()


def test_shares_without_a_quorum_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "check_quorum", lambda *_: None)
    stage = bytes([targets.STAGES.index(Stage.UNMASK)])
    with pytest.raises(AssertionError, match="without a quorum"):
        TARGETS["client"](stage + b"\3\4\1\0\0\0\0")
    targets.scene.cache_clear()
