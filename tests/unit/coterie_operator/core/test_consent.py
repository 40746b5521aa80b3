"""Who may take part: one table whose keys are sentences, and what follows for the job."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import World

from coterie_api.errors import Fault, FieldError
from coterie_api.fields import parse
from coterie_api.v1alpha1.conditions import SENTENCES, ConditionStatus, ConditionType
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob, Reason, TenantState
from coterie_operator.cluster import FEDERATED_DATASET
from coterie_operator.core.observed import Job, NamespaceState, Observed, stamp
from coterie_operator.core.rules import consent
from coterie_operator.core.rules.consent import Applicant, grant_in_force, standing
from coterie_operator.core.rules.quorum import choose, verdict
from coterie_operator.manifests.naming import DatasetKey, JobKey
from coterie_operator.settings import Settings

A = "hospital-a"


def grant(**changes: Any) -> dict[str, Any]:
    return {"jobs": {"namespaces": ["research"]}, "images": [builders.IMAGE], **changes}


def seen_with(job: dict[str, Any], *datasets: dict[str, Any], state: NamespaceState = NamespaceState.ACTIVE) -> Observed:
    typed = parse(FederatedJob, {**job, "metadata": {**job["metadata"], "uid": "u1"}}, "")
    parsed = [parse(FederatedDataset, raw, "") for raw in datasets]
    return Observed(
        now=builders.START,
        settings=Settings(),
        job=Job(typed.metadata, typed.spec),
        datasets={DatasetKey(entry.metadata.namespace, entry.metadata.name): entry for entry in parsed},
        namespaces=dict.fromkeys(["research", *builders.TENANTS], state),
    )


def objection(seen: Observed, image: str = builders.IMAGE) -> str:
    assert seen.job is not None
    assert seen.job.spec is not None
    return standing(Applicant(seen, seen.job.spec, seen.job.spec.participants.datasets[0], image)).reason


SECURE = {"secureAggregation": {"protocol": "None"}}

TABLE: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "a data set that grants the namespace and the image can take part": ("", {}, {}),
    "a data set that grants any image can take part": ("", {"grants": [grant(images=["*"])]}, {}),
    "one of several grants is enough": ("", {"grants": [grant(jobs={"namespaces": ["other"]}), grant()]}, {}),
    "a data set without grants does not grant": ("NotGranted", {"grants": []}, {}),
    "a grant to another namespace does not grant": ("NotGranted", {"grants": [grant(jobs={"namespaces": ["others"]})]}, {}),
    "a grant to a namespace with the same beginning does not grant": (
        "NotGranted",
        {"grants": [grant(jobs={"namespaces": ["research-2"]})]},
        {},
    ),
    "a grant of another image does not grant": ("NotGranted", {"grants": [grant(images=["registry.example/train:2"])]}, {}),
    "a grant of an image prefix without a star does not grant": ("NotGranted", {"grants": [grant(images=["registry.example/train"])]}, {}),
    "two halves of two grants do not grant": (
        "NotGranted",
        {"grants": [grant(images=["registry.example/other"]), grant(jobs={"namespaces": ["others"]})]},
        {},
    ),
    "a data set without a key can not be recognized": ("NoIdentity", {"identity": {"publicKey": ""}}, {}),
    "a data set that asks for secure aggregation refuses a job without": ("RequirementNotMet", {}, SECURE),
    "a data set that does not ask for secure aggregation allows a job without": (
        "",
        {"requirements": {"secureAggregation": False}},
        SECURE,
    ),
    "a data set with a budget is refused as long as budgets are not built": (
        "NotImplemented",
        {"budget": {"unit": "Record", "epsilon": 1, "delta": 1e-6}},
        {},
    ),
}


@pytest.mark.parametrize(("expected", "dataset", "job"), TABLE.values(), ids=TABLE.keys())
def test_standing(expected: str, dataset: dict[str, Any], job: dict[str, Any]) -> None:
    assert objection(seen_with(builders.job(**job), builders.dataset(A, **dataset))) == expected


@pytest.mark.parametrize(("fault", "says"), [(Fault.INVALID, "not allowed"), (Fault.NOT_IMPLEMENTED, "not offered by this version")])
def test_a_data_set_at_fault_is_told_by_its_field_and_never_by_its_value(monkeypatch: pytest.MonkeyPatch, fault: Fault, says: str) -> None:
    monkeypatch.setattr(consent, "validate_dataset", lambda _: (FieldError("spec.x", "secret", "public", fault),))
    found = choose(*_with_spec(seen_with(builders.job(), builders.dataset(A)))).standings[0]

    assert found.reason == fault.value
    assert found.message.startswith("the data set's spec.x ")
    assert says in found.message
    assert "secret" not in found.message
    assert not any(other in found.message for other in consent.WRONG.values() if says not in other)


def test_an_absent_and_an_ungranted_data_set_read_the_same() -> None:
    absent = choose(*_with_spec(seen_with(builders.job()))).standings[0]
    ungranted = choose(*_with_spec(seen_with(builders.job(), builders.dataset(A, grants=[])))).standings[0]
    other_image = choose(*_with_spec(seen_with(builders.job(), builders.dataset(A, grants=[grant(images=["other"])])))).standings[0]

    assert absent == ungranted == other_image
    assert absent.message == SENTENCES[Reason.NOT_GRANTED]


def _with_spec(seen: Observed) -> tuple[Observed, Any]:
    assert seen.job is not None
    return seen, seen.job.spec


NARROW = {"ringBits": 16, "clip": 0.5}
HOW_FINE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "the narrow ring is the job's to choose": ({}, NARROW, ""),
    "a data set may ask for the wide ring": ({"ringBits": 32}, NARROW, "a ring of 32 bits and the job's secureAggregation.ringBits is 16"),
    "the wide ring is enough for anyone": ({"ringBits": 16}, {}, ""),
    "a data set may limit the scale": ({"scale": 16380}, NARROW, "16380 rounding steps per 1.0 and with 4 tenants the job has 16382"),
    "the scale of those who are there counts": ({"scale": 16382}, NARROW, ""),
    "a data set may limit the clip": ({"clip": 0.4}, NARROW, "a clip of 0.4 and with 4 tenants the job's is"),
    "a clip as large as the limit is fine": ({"clip": 0.5}, NARROW, ""),
    "without a clip the job's is large": ({"clip": 1}, {}, "a clip of 1 and with 4 tenants the job's is 8192"),
}


@pytest.mark.parametrize("law", HOW_FINE)
def test_a_data_set_may_limit_how_finely_updates_are_told(law: str) -> None:
    asked, secure, says = HOW_FINE[law]
    datasets = [builders.dataset(name, requirements=asked if name == A else {}) for name in builders.TENANTS[:4]]
    choice = choose(*_with_spec(seen_with(builders.job(4, secureAggregation=secure), *datasets)))
    mine = next(entry for entry in choice.standings if entry.key.namespace == A)

    assert says in mine.message
    assert (mine.reason, len(choice.able)) == (("RequirementNotMet", 3) if says else ("", 4))


def test_a_data_set_that_leaves_makes_the_others_look_again() -> None:
    """The scale grows as the ring is divided among fewer."""
    asked = {A: {"ringBits": 32}, builders.TENANTS[1]: {"scale": 16382}}
    datasets = [builders.dataset(name, requirements=asked.get(name, {})) for name in builders.TENANTS[:4]]
    choice = choose(*_with_spec(seen_with(builders.job(4, secureAggregation=NARROW), *datasets)))

    assert len(choice.able) == 2
    assert not choice.has_quorum


def test_a_tenant_that_fears_more_colluders_gets_a_stronger_job_or_steps_back() -> None:
    datasets = [builders.dataset(name, requirements={"colluders": 2} if name == A else {}) for name in builders.TENANTS[:4]]
    choice = choose(*_with_spec(seen_with(builders.job(4), *datasets)))
    few = choose(*_with_spec(seen_with(builders.job(3), *datasets[:3])))

    assert (choice.needs.colluders, choice.needs.threshold, len(choice.able)) == (2, 4, 4)
    assert next(entry for entry in few.standings if entry.key.namespace == A).message.startswith("the data set asks for 4 clients")


def test_a_data_set_that_is_being_deleted_does_not_grant() -> None:
    raw = builders.dataset(A)
    raw["metadata"]["deletionTimestamp"] = stamp(builders.START)

    assert objection(seen_with(builders.job(), raw)) == "NotGranted"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (NamespaceState.TERMINATING, "TenantNamespaceTerminating"),
        (NamespaceState.DENIED, "TenantAccessMissing"),
        (NamespaceState.ABSENT, "TenantNamespaceTerminating"),
    ],
)
def test_a_closed_namespace_can_not_take_part(state: NamespaceState, expected: str) -> None:
    assert objection(seen_with(builders.job(), builders.dataset(A), state=state)) == expected


@pytest.mark.parametrize(("after", "holds"), [(-1, True), (0, False), (1, False)])
def test_a_grant_ends_at_its_expiry(after: int, holds: bool) -> None:
    expires = builders.START + timedelta(hours=1)
    dataset = parse(FederatedDataset, builders.dataset(A, grants=[grant(expires=stamp(expires))]), "")

    found = grant_in_force(dataset, "research", builders.IMAGE, expires + timedelta(seconds=after))

    assert (found is not None) is holds


async def test_nothing_starts_anywhere_without_consent() -> None:
    world = await World().start(**{name.replace("-", "_"): builders.dataset(name, grants=[]) for name in builders.TENANTS})

    await world.settle()

    assert await world.children() == []
    consent = await world.condition(ConditionType.CONSENT_GRANTED)
    assert (consent.status, consent.reason) == (ConditionStatus.FALSE, "NotGranted")


SMALL = "2 of 5 data sets can take part; 3 are needed; "
ABSENT = SENTENCES[Reason.NOT_GRANTED]
NONE = "the data set asks for secure aggregation and the job's protocol is None"


async def _waits(world: World) -> tuple[str, str, str, str]:
    """Return the reasons of ConsentGranted and Admitted, and the one message that both and the status have."""
    await world.settle()
    granted, admitted = [await world.condition(kind) for kind in (ConditionType.CONSENT_GRANTED, ConditionType.ADMITTED)]
    status = (await world.job()).status
    assert granted.status is admitted.status is ConditionStatus.FALSE
    assert granted.message == admitted.message == status.message
    assert await world.children() == []
    return granted.reason, admitted.reason, status.message, status.state.value


async def test_a_job_that_waits_says_for_whom_and_why() -> None:
    secure = {"requirements": {"colluders": 9}}
    shy = {name.replace("-", "_"): builders.dataset(name, **secure) for name in builders.TENANTS[:3]}

    there = {"hospital-a": 5, "hospital-b": 4, "hospital-c": 3}  # they step back one by one
    named = "; ".join(f"{name}/visits: the data set asks for 11 clients and only {n} can take part" for name, n in there.items())
    told = ("RequirementNotMet", "RequirementNotMet", SMALL + named, "Pending")
    assert await _waits(await World().start(**shy)) == told


async def test_a_job_without_secure_aggregation_that_all_refuse_says_so_and_names_the_first_of_them() -> None:
    *reasons, message, _ = await _waits(await World().start(builders.job(secureAggregation={"protocol": "None"})))

    assert reasons == ["RequirementNotMet"] * 2
    assert message.count(NONE) == 3
    assert message.endswith("; and 2 more")


async def test_an_absent_and_an_ungranted_data_set_read_the_same_in_what_the_job_says() -> None:
    others = {name.replace("-", "_"): None for name in builders.TENANTS[2:]}
    absent = await _waits(await World().start(**others))
    ungranted = await _waits(await World().start(**{**others, "hospital_c": builders.dataset("hospital-c", grants=[])}))

    told = "; ".join(f"{name}/visits: {ABSENT}" for name in builders.TENANTS[2:])
    assert absent == ungranted == ("NotGranted", "NotGranted", SMALL + told, "Pending")


async def test_of_required_data_sets_that_are_missing_those_alone_are_named() -> None:
    job = builders.job()
    job["spec"]["participants"]["datasets"][1]["required"] = True
    *reasons, message, _ = await _waits(await World().start(job, hospital_a=None, hospital_b=builders.dataset("hospital-b", identity={})))

    assert reasons == ["NoIdentity"] * 2
    assert message.startswith("required data sets can't take part; hospital-b/visits: the data set's spec.identity.publicKey is empty")
    assert "hospital-a" not in message


def test_a_job_that_all_grant_and_that_is_too_small_names_nobody() -> None:
    seen, spec = _with_spec(seen_with(builders.job(2), *(builders.dataset(name) for name in builders.TENANTS[:2])))
    found = verdict(seen, JobKey(*builders.JOB, "u1"), spec)

    assert (found.reason, found.message) == (Reason.QUORUM_NOT_MET, "2 of 2 data sets can take part; 3 are needed")


async def test_a_job_that_waited_for_a_tenant_can_still_be_refused() -> None:
    keyless = {name.replace("-", "_"): builders.dataset(name, identity={}) for name in builders.TENANTS[:3]}
    world = await World().start(builders.job(strategy={"cohortSize": 4}), **keyless)
    assert (await _waits(world))[:2] == ("NoIdentity", "NoIdentity")

    for name in builders.TENANTS[:3]:
        raw = builders.dataset(name, requirements={"minClients": 5})
        await world.cluster.patch(FEDERATED_DATASET, name, "visits", {"spec": raw["spec"]})
    await world.settle()

    assert (await world.condition(ConditionType.FAILED)).reason == "InvalidSpec"
    assert (await world.condition(ConditionType.ADMITTED)).reason == "NoIdentity"


async def test_nothing_starts_in_the_namespace_of_a_tenant_who_did_not_grant() -> None:
    world = await World().start(hospital_b=builders.dataset("hospital-b", grants=[]))

    await world.until_running()

    assert set(await world.clients()) == set(builders.TENANTS) - {"hospital-b"}
    assert {namespace for _, namespace, _ in await world.names()} == {"research", *builders.TENANTS} - {"hospital-b"}
    skipped = [tenant for tenant in (await world.job()).status.tenants if tenant.state is TenantState.SKIPPED]
    assert [(tenant.namespace, tenant.reason) for tenant in skipped] == [("hospital-b", "NotGranted")]


async def test_the_job_waits_for_a_required_data_set() -> None:
    job = builders.job()
    job["spec"]["participants"]["datasets"][1]["required"] = True
    world = await World().start(job, hospital_b=None)
    await world.settle()
    assert await world.children() == []

    await world.cluster.create(FEDERATED_DATASET, builders.dataset("hospital-b"))
    await world.settle()

    assert set(await world.clients()) == set(builders.TENANTS)


@pytest.mark.parametrize("granted", [0, 1, 2])
async def test_fewer_than_three_tenants_are_no_quorum_for_secure_aggregation(granted: int) -> None:
    left_out = {name.replace("-", "_"): None for name in builders.TENANTS[granted:]}
    world = await World().start(**left_out)

    await world.settle()

    assert await world.children() == []
    assert (await world.condition(ConditionType.ADMITTED)).status is ConditionStatus.FALSE


async def test_a_tenant_that_asks_for_more_company_than_there_is_steps_back() -> None:
    shy = builders.dataset("hospital-c", requirements={"minClients": 6})
    world = await World().start(hospital_c=shy)

    await world.settle()

    assert set(await world.clients()) == set(builders.TENANTS) - {"hospital-c"}
    tenants = {tenant.namespace: tenant for tenant in (await world.job()).status.tenants}
    assert tenants["hospital-c"].reason == "RequirementNotMet"


async def test_a_tenants_own_minimum_raises_that_of_the_job() -> None:
    world = await World().start(hospital_c=builders.dataset("hospital-c", requirements={"minClients": 5}))

    await world.settle()

    secure = (await world.job()).status.secure_aggregation
    assert secure is not None
    assert secure.min_survivors == 5


async def test_a_job_that_is_not_allowed_says_which_field_and_fails() -> None:
    world = await World().start(builders.job(secureAggregation={"protocol": "HomomorphicEncryption"}))

    await world.settle()

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason) == (ConditionStatus.TRUE, "NotImplemented")
    assert "spec.secureAggregation.protocol" in failed.message
    assert await world.children() == []


async def test_without_secure_aggregation_the_status_says_so_plainly() -> None:
    tenants = {name.replace("-", "_"): builders.dataset(name, requirements={"secureAggregation": False}) for name in builders.TENANTS}
    world = await World().start(builders.job(secureAggregation={"protocol": "None"}), **tenants)

    await world.settle()

    status = (await world.job()).status
    assert status.secure_aggregation is not None
    assert status.privacy is not None
    assert status.secure_aggregation.protocol == "None"
    assert any("Secure aggregation is off" in sentence for sentence in status.privacy.guarantees)
    assert any("nothing bounds" in sentence for sentence in status.privacy.guarantees)
    assert not any("anonym" in sentence.lower() for sentence in status.privacy.guarantees)
