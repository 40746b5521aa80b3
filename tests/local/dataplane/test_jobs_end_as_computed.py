"""A whole job in processes, against the same arithmetic done by hand."""

from __future__ import annotations

import ssl
import urllib.request

import pytest
from tests.local.dataplane.byhand import model_is_exact

from coterie_api.names import PORT_METRICS, PORT_STATUS
from coterie_api.podconfig import Aggregation, TenantPolicy
from coterie_api.v1alpha1.job import PublicEvaluation, SelectBy
from coterie_api.v1alpha1.sources import PersistentVolumeClaimSource, Source
from coterie_api.v1alpha1.training import Weighting
from coterie_api.v1alpha1.types import Evaluation, Strategy

pytestmark = pytest.mark.local
ROUNDS = 3
PUBLIC = PublicEvaluation(Source(persistent_volume_claim=PersistentVolumeClaimSource("public")))


@pytest.mark.parametrize(
    ("protocol", "weighting"), [("SecAggPlus", Weighting.UNIFORM), ("SecAggPlus", Weighting.EXAMPLES), ("None", Weighting.EXAMPLES)]
)
def test_a_job_ends_with_the_model_that_plain_averaging_gives(plane, tasks_are_importable, protocol, weighting) -> None:
    policy = TenantPolicy(secure_aggregation=protocol != "None")
    job = plane(
        3, rounds=ROUNDS, strategy=Strategy(weighting=weighting, weight_cap=64), aggregation=Aggregation(protocol, 3, 0, 3), policy=policy
    )

    job.start()

    assert job.aggregator.wait() == 0, job.aggregator.log
    assert [member.wait() for member in job.members] == [0, 0, 0]
    model_is_exact(job)
    assert [line["survivors"] for line in job.history] == [3] * ROUNDS
    assert job.slots == [1, 2, 3]
    word = job.aggregator.last_word
    assert (word.reason, word.progress.rounds_done) == ("RoundsCompleted", ROUNDS)


def test_the_evaluator_selects_the_model_and_never_holds_training_up(plane) -> None:
    job = plane(3, rounds=4, has_evaluator=True, evaluation=Evaluation(public=PUBLIC, select_by=SelectBy.LOSS))
    evaluator = job.evaluator()
    job.initialize()
    evaluator.start()
    job.aggregator.start()
    for member in job.members:
        member.start()

    assert job.aggregator.wait() == 0, job.aggregator.log

    assert job.history[-1]["loss"] is not None
    assert job.aggregator.last_word.progress.best_round is not None


def test_a_job_ends_without_the_evaluator_that_it_was_promised(plane) -> None:
    job = plane(3, rounds=1, has_evaluator=True)
    (job.evaluation / "1.json").write_text("not JSON")
    (job.evaluation / "0.json").write_text('{"version": 0, "accuracy": null, "loss": null, "metrics": {}, "examples": 0}')
    (job.evaluation / "7.json").write_text('{"version": 7, "loss": 0.1}')

    job.start()

    job.until(lambda seen: seen.rounds_done == 1, "the round is done")
    job.until(lambda seen: seen.phase == "Evaluating", "waits for the evaluator, within its bound")


class TestStatus:
    def test_status_is_for_the_operator_alone(self, plane) -> None:
        job = plane(3)
        job.initialize()
        job.aggregator.start()
        job.until(lambda seen: seen.phase == "Assembling", "the aggregator serves")

        stranger = job.authority.issue(uri="coterie://job/other/aggregator")
        (job.folder / "stranger.pem").write_bytes(stranger.certificate + stranger.key)
        context = ssl.create_default_context(cadata=job.authority.certificate.decode())
        context.check_hostname = False
        with pytest.raises((ssl.SSLError, OSError)):
            urllib.request.urlopen(f"https://{job.address}:{PORT_STATUS}/status", context=context, timeout=5)
        context.load_cert_chain(job.folder / "stranger.pem")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"https://{job.address}:{PORT_STATUS}/status", context=context, timeout=5)

    def test_metrics_tell_the_rounds(self, plane) -> None:
        job = plane(3)
        job.initialize()
        job.aggregator.start()
        job.until(lambda seen: seen.phase == "Assembling", "the aggregator serves")

        with urllib.request.urlopen(f"http://{job.address}:{PORT_METRICS}/metrics", timeout=5) as answer:
            text = answer.read().decode()

        assert "coterie_rounds 3.0" in text
        assert "coterie_survivors 0.0" in text
