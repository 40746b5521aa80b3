"""Whether enough data sets can take part, and the parameters of secure aggregation that follow from those that do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from coterie_api.podconfig import Aggregation
from coterie_api.v1alpha1.quorum import Minimums, Quorum, quorum
from coterie_api.v1alpha1.ring import clip_in_force, scale
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJobSpec, Frozen, FrozenDataset, Protocol, Reason, Requirements
from coterie_operator.core.observed import Observed, stamp
from coterie_operator.core.rules.consent import Applicant, Standing, standing, worker_image
from coterie_operator.core.rules.termination import some
from coterie_operator.core.verdict import Stage, TenantReason, Verdict
from coterie_operator.manifests.naming import DatasetKey, JobKey
from coterie_operator.manifests.parts import job_config, spec_hash

# Most of an epoch's cost is there whatever its slots, but each slot costs every pair of clients something: few clients share the
# keys of many slots at once, many those of few.
SHARED_AT_ONCE: Final = 640  # clients times slots
FEWEST_SLOTS: Final = 8
MOST_SLOTS: Final = 64


@dataclass(frozen=True, slots=True)
class Choice:
    """Every data set's standing, and what the able ones amount to."""

    standings: tuple[Standing, ...]
    needs: Quorum

    @property
    def able(self) -> tuple[DatasetKey, ...]:
        return tuple(sorted((entry.key for entry in self.standings if entry.is_able), key=str))

    @property
    def missing(self) -> tuple[Standing, ...]:
        """Required data sets that can't take part."""
        return tuple(entry for entry in self.standings if entry.required and not entry.is_able)

    @property
    def has_quorum(self) -> bool:
        return bool(self.able) and self.needs.is_possible and not self.missing

    @property
    def objections(self) -> tuple[Standing, ...]:
        """What stands against a quorum: of the required data sets if one of them can't take part, else of all."""
        return self.missing or tuple(entry for entry in self.standings if not entry.is_able)

    @property
    def lack(self) -> str:
        """What a quorum lacks, in words; empty if there is one."""
        if self.missing:
            return "required data sets can't take part"
        if self.has_quorum:
            return ""
        return f"{len(self.able)} of {len(self.standings)} data sets can take part; {self.needs.min_survivors} are needed"


def minimums(spec: FederatedJobSpec, tenants: tuple[FrozenDataset, ...]) -> Minimums:
    """Return the wishes of the job and of its strictest tenants.

    Without secure aggregation and without a wish, a majority of all data sets that the job names is the quorum: a majority of
    those that happen to be able would be no quorum at all.
    """
    asked = spec.participants.min_clients
    if asked is None and spec.secure_aggregation.protocol is Protocol.NONE:
        asked = len(spec.participants.datasets) // 2 + 1
    clients = max((entry.min_clients for entry in tenants), default=0)
    threshold = max((entry.threshold for entry in tenants), default=0)
    return Minimums(asked, clients, threshold, max((entry.colluders for entry in tenants), default=0))


def needs(spec: FederatedJobSpec, tenants: tuple[FrozenDataset, ...]) -> Quorum:
    """Return the parameters for a roster."""
    secure = spec.secure_aggregation
    return quorum(len(tenants), secure.protocol, secure.colluders, minimums(spec, tenants))


def aggregation(spec: FederatedJobSpec, tenants: tuple[FrozenDataset, ...]) -> Aggregation:
    """Return the parameters of secure aggregation as pods are told."""
    found, secure = needs(spec, tenants), spec.secure_aggregation
    units = scale(len(tenants), secure.ring_bits, secure.clip)
    return Aggregation(
        secure.protocol.value,
        found.threshold,
        found.colluders,
        found.min_survivors,
        secure.ring_bits,
        units,
        slots_per_epoch=max(FEWEST_SLOTS, min(MOST_SLOTS, SHARED_AT_ONCE // max(len(tenants), 1))),
    )


def choose(seen: Observed, spec: FederatedJobSpec) -> Choice:
    """Return who can take part. A tenant that asks for more company than there is steps back, the strictest first.

    So does one that wants updates told less finely, or clamped closer, than in a sum of those who are there.
    """
    image = worker_image(spec, seen.settings.worker_image)
    standings = tuple(standing(Applicant(seen, spec, ref, image)) for ref in spec.participants.datasets)
    while True:
        able = tuple(_freeze(seen.datasets[entry.key]) for entry in standings if entry.is_able)
        shy = max(able, key=_company, default=None)
        if shy is not None and _company(shy) > len(able):
            standings = tuple(_step_back(entry, shy, len(able)) for entry in standings)
            continue
        fitted = tuple(_fit(seen, spec, entry, len(able)) for entry in standings)
        if fitted == standings:
            return Choice(standings, needs(spec, able))
        standings = fitted


def verdict(seen: Observed, job: JobKey, spec: FederatedJobSpec) -> Verdict:
    """Return whether a job that has not started may start now."""
    choice = choose(seen, spec)
    if choice.lack:
        return _waiting(choice)
    cohort = spec.strategy.cohort_size
    if cohort is not None and cohort < choice.needs.min_survivors:
        found = f"spec.strategy.cohortSize: found {cohort}, allowed: at least {choice.needs.min_survivors}, the fewest updates in a sum"
        return Verdict(Stage.FAILING, Reason.INVALID_SPEC, found)
    return Verdict(Stage.FREEZING, Reason.ADMITTED, frozen=_freeze_job(seen, job, spec, choice))


def _waiting(choice: Choice) -> Verdict:
    """Return why the job waits, in the words that its tenants' status has, so that nobody has to look for the cause there."""
    told = [f"{entry.key}: {entry.message}" for entry in choice.objections]
    if not told:
        return Verdict(Stage.WAITING, Reason.QUORUM_NOT_MET, choice.lack)
    return Verdict(Stage.WAITING, _as_reason(choice.objections[0].reason), f"{choice.lack}; {some(told)}")


def _as_reason(text: str) -> Reason | TenantReason:
    return next((reason for reason in TenantReason if reason.value == text), None) or Reason(text)


def _freeze_job(seen: Observed, job: JobKey, spec: FederatedJobSpec, choice: Choice) -> Frozen:
    tenants = tuple(_freeze(seen.datasets[key]) for key in choice.able)
    frozen = Frozen(
        time=stamp(seen.now),
        spec_hash="",
        worker_image=worker_image(spec, seen.settings.worker_image),
        operator_image=spec.aggregator.image or seen.settings.operator_image,
        datasets=tuple(sorted(tenants, key=lambda entry: (entry.namespace, entry.name))),
    )
    return replace(frozen, spec_hash=spec_hash(job_config(job, spec, frozen, aggregation(spec, frozen.datasets))))


def _freeze(dataset: FederatedDataset) -> FrozenDataset:
    asked = dataset.spec.requirements
    meta = dataset.metadata
    return FrozenDataset(
        meta.namespace,
        meta.name,
        meta.uid,
        meta.generation,
        dataset.spec.identity.public_key,
        asked.min_clients,
        asked.threshold,
        asked.colluders,
    )


def _company(entry: FrozenDataset) -> int:
    """Two honest tenants beside the colluders: of a single one they would learn the update."""
    return max(entry.min_clients, entry.threshold, entry.colluders + 2 if entry.colluders else 0)


def _fit(seen: Observed, spec: FederatedJobSpec, entry: Standing, members: int) -> Standing:
    """Return the standing of a tenant that may limit how updates are told, in a sum of so many."""
    message = _too_fine(seen.datasets[entry.key].spec.requirements, spec, members) if entry.is_able else ""
    return replace(entry, reason=TenantReason.REQUIREMENT_NOT_MET.value, message=message) if message else entry


def _too_fine(asked: Requirements, spec: FederatedJobSpec, members: int) -> str:
    bits = spec.secure_aggregation.ring_bits
    units = scale(members, bits, spec.secure_aggregation.clip)
    clip = clip_in_force(members, bits, units)
    if asked.ring_bits is not None and bits < asked.ring_bits:
        return f"the data set asks for a ring of {asked.ring_bits} bits and the job's secureAggregation.ringBits is {bits}"
    if asked.scale is not None and units > asked.scale:
        return f"the data set allows {asked.scale} rounding steps per 1.0 and with {members} tenants the job has {units}"
    if asked.clip is not None and clip > asked.clip:
        return f"the data set allows a clip of {asked.clip:g} and with {members} tenants the job's is {clip:g}"
    return ""


def _step_back(entry: Standing, shy: FrozenDataset, there: int) -> Standing:
    if entry.key != DatasetKey(shy.namespace, shy.name):
        return entry
    message = f"the data set asks for {_company(shy)} clients and only {there} can take part"
    return replace(entry, reason=TenantReason.REQUIREMENT_NOT_MET.value, message=message)
