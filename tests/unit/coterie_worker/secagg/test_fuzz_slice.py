"""A short slice of the fuzzing, without the fuzzer: seeds, every input that was once a finding, and some random ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz import arrivals, targets
from tests.fuzz.targets import TARGETS, seeds

from coterie_worker.secagg import PlainServer, ServerEpoch, Stage, client, graph
from coterie_worker.secagg import parameters as rules
from coterie_worker.transport import link
from coterie_worker.transport.messages import Control, Finished, Vector, VectorKind

CORPUS = Path(targets.__file__).with_name("corpus")
NETWORKS = {"network": ServerEpoch, "graph-network": ServerEpoch, "plain-network": PlainServer}


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_and_earlier_findings_pass(target: str) -> None:
    for data in [*seeds(target), *(path.read_bytes() for path in sorted((CORPUS / target).glob("*")))]:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_random_inputs_pass(target: str) -> None:
    @settings(max_examples=15 if target in NETWORKS else 60, deadline=None)
    @given(st.binary(max_size=80))
    def run(data: bytes) -> None:
        TARGETS[target](data)

    run()


def test_the_seeds_of_the_frames_bring_every_kind_of_message(monkeypatch: pytest.MonkeyPatch) -> None:
    came = []
    check = arrivals.check_message
    monkeypatch.setattr(arrivals, "check_message", lambda message: came.append(type(message)) or check(message))
    for data in seeds("frames"):
        TARGETS["frames"](data)

    assert {Control, Vector, Finished} < set(came)


def test_an_unnamed_error_of_a_decoder_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link.Partial, "add", lambda *_: [].pop())
    with pytest.raises(IndexError):
        TARGETS["frames"](seeds("frames")[1])


def test_a_vector_beyond_the_limits_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link.Receiver, "_allowed", lambda *_: (VectorKind.PARAMETERS, np.dtype("<f4")))
    beyond = bytes([1, 1, 255, 0, 2, 0, 0, 0])
    chunks = bytes([1, 2, 100, 0, 2, 0, 0, 0]) * 2 + bytes([1, 2, 55, 0, 2, 0, 0, 0])
    TARGETS["frames"](beyond + chunks + bytes([1, 4, 0, 0, 2, 0, 0, 0]))
    monkeypatch.setitem(arrivals.LIMITS.vector_bytes, VectorKind.PARAMETERS, 16_000)
    with pytest.raises(AssertionError, match="beyond the limits"):
        TARGETS["frames"](beyond + chunks + bytes([1, 4, 0, 0, 2, 0, 0, 0]))


@pytest.mark.parametrize("target", NETWORKS)
def test_the_seeds_of_a_network_open_sums(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = set()
    result = NETWORKS[target].result
    monkeypatch.setattr(
        NETWORKS[target], "result", lambda self, **options: opened.add(self.parameters.is_sparse) or result(self, **options)
    )
    for data in seeds(target):
        TARGETS[target](data)

    assert opened == {target == "graph-network"}


@pytest.mark.parametrize("target", NETWORKS)
def test_a_wrong_sum_would_be_found(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "plain_sum", lambda *_: np.zeros(13, np.uint32))
    with pytest.raises(AssertionError, match="wrong sum"):
        TARGETS[target](seeds(target)[0])


def test_the_graphs_of_the_fuzzer_stay_with_it() -> None:
    TARGETS["graph-network"](seeds("graph-network")[0])

    assert rules.COMPLETE_UP_TO == graph.COMPLETE_UP_TO > targets.IN_GRAPH
    assert graph.degree_for(1000, 100) == graph.Degree(96, 67)


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
