"""Semantic rules over whole objects: what neither the schema nor its CEL says.

Whatever this version does not build yet is refused with the reason NotImplemented and the name of the field: a field that
protects somebody must never be ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie_api.errors import Fault, FieldError
from coterie_api.fields import show
from coterie_api.v1alpha1.choices import unread
from coterie_api.v1alpha1.job import PrivacyMode, Protocol
from coterie_api.v1alpha1.pods import ExposureType
from coterie_api.v1alpha1.quorum import COMPLETE_UP_TO, Minimums, Quorum, quorum
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob, Grant, Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

OFFERED = "not offered by this version of Coterie"


def validate_job(job: FederatedJob) -> tuple[FieldError, ...]:
    """Return what is wrong with a job that has parsed; empty if it may start."""
    return (*_missing_in_job(job), *_shared_namespaces(job), *_wrong_in_job(job), *_too_few(job))


def validate_dataset(dataset: FederatedDataset) -> tuple[FieldError, ...]:
    """Return what is wrong with a data set that has parsed; empty if it may take part."""
    return (*_missing_in_dataset(dataset), *missing_identity(dataset))


def missing_identity(dataset: FederatedDataset) -> tuple[FieldError, ...]:
    """Return the error of a data set whose owner has not written down a public key yet; embedded mode makes a pair itself."""
    if dataset.spec.identity.public_key:
        return ()
    return (FieldError("spec.identity.publicKey", "nothing", "the public half of a key pair made by `coterie keygen`"),)


def warn_job(job: FederatedJob) -> tuple[FieldError, ...]:
    """Return what is allowed but probably not meant."""
    return tuple(_doubtful_in_job(job))


def warn_dataset(dataset: FederatedDataset) -> tuple[FieldError, ...]:
    """Return what is allowed but probably not meant."""
    return tuple(_doubtful_in_dataset(dataset))


def job_quorum(job: FederatedJob) -> Quorum:
    """Return the quorum if every data set of the job takes part."""
    participants, secure = job.spec.participants, job.spec.secure_aggregation
    return quorum(len(participants.datasets), secure.protocol, secure.colluders, Minimums(participants.min_clients))


def _missing(field: str, found: object, allowed: str) -> FieldError:
    return FieldError(field, show(found), f"{allowed}; anything else is {OFFERED}", Fault.NOT_IMPLEMENTED)


def _missing_in_job(job: FederatedJob) -> Iterator[FieldError]:
    spec = job.spec
    if spec.privacy.mode is not PrivacyMode.NONE:
        yield _missing("spec.privacy.mode", spec.privacy.mode, "None")
    if spec.secure_aggregation.protocol is Protocol.HOMOMORPHIC_ENCRYPTION:
        yield _missing("spec.secureAggregation.protocol", spec.secure_aggregation.protocol, "SecAggPlus or None")
    if spec.evaluation.federated is not None:
        yield _missing("spec.evaluation.federated", {"everyRounds": spec.evaluation.federated.every_rounds}, "nothing")
    if spec.initial_model is not None and spec.initial_model.job is not None:
        yield _missing("spec.initialModel.job", spec.initial_model.job, "initialModel.source")
    if spec.aggregator.exposure.type is not ExposureType.CLUSTER_IP:
        yield _missing("spec.aggregator.exposure.type", spec.aggregator.exposure.type, "ClusterIP")


def _shared_namespaces(job: FederatedJob) -> Iterator[FieldError]:
    """Thresholds count tenants, so a second data set of one tenant would be counted as a second tenant."""
    seen: set[str] = set()
    for index, ref in enumerate(job.spec.participants.datasets):
        if ref.namespace in seen:
            yield _missing(f"spec.participants.datasets[{index}].namespace", ref.namespace, "one data set of each namespace")
        seen.add(ref.namespace)


def _wrong_in_job(job: FederatedJob) -> Iterator[FieldError]:
    spec = job.spec
    if spec.training.sampling_probability is not None and spec.privacy.mode is PrivacyMode.NONE:
        found = show(spec.training.sampling_probability)
        yield FieldError("spec.training.samplingProbability", found, "nothing, unless privacy.mode is other than None")
    if spec.training.schedule.warmup_rounds >= spec.rounds:
        found = show(spec.training.schedule.warmup_rounds)
        yield FieldError("spec.training.schedule.warmupRounds", found, f"fewer than the {spec.rounds} rounds of the job")
    if spec.secure_aggregation.colluders and spec.secure_aggregation.protocol is Protocol.NONE:
        found = show(spec.secure_aggregation.colluders)
        yield FieldError("spec.secureAggregation.colluders", found, "nothing with protocol None: the aggregator sees every update")


def _too_few(job: FederatedJob) -> Iterator[FieldError]:
    spec, needs = job.spec, job_quorum(job)
    if not needs.is_possible:
        blame = "spec.secureAggregation.colluders" if spec.secure_aggregation.colluders else "spec.participants.datasets"
        found = show(spec.secure_aggregation.colluders) if spec.secure_aggregation.colluders else f"{needs.members} data sets"
        yield FieldError(
            blame, found, f"{needs.min_survivors} data sets or more with {spec.secure_aggregation.protocol} and {needs.colluders} colluders"
        )
    cohort = spec.strategy.cohort_size
    if cohort is not None and cohort < needs.min_survivors:
        yield FieldError("spec.strategy.cohortSize", show(cohort), f"at least {needs.min_survivors}, the fewest updates in a sum")
    elif cohort is not None and cohort < needs.members and needs.is_sparse:
        allowed = f"nothing, with {spec.secure_aggregation.protocol} and more than {COMPLETE_UP_TO} data sets: all are asked in each round"
        yield FieldError("spec.strategy.cohortSize", show(cohort), f"{allowed}, since each client is hidden by its neighbors")


def _missing_in_dataset(dataset: FederatedDataset) -> Iterator[FieldError]:
    spec = dataset.spec
    if spec.budget is not None:
        yield _missing("spec.budget", {"epsilon": spec.budget.epsilon, "delta": spec.budget.delta}, "nothing")
    if spec.privacy_domain is not None:
        yield _missing("spec.privacyDomain", spec.privacy_domain, "nothing")
    if set(spec.requirements.modes) - {PrivacyMode.NONE}:
        yield _missing("spec.requirements.modes", [str(mode) for mode in spec.requirements.modes], "None, or an empty list")
    if spec.requirements.metrics is not Metrics.NEVER:
        yield _missing("spec.requirements.metrics", spec.requirements.metrics, "Never")
    if spec.pod.queue_name is not None:
        yield _missing("spec.pod.queueName", spec.pod.queue_name, "nothing")
    if spec.max_concurrent_jobs is not None:
        yield _missing("spec.maxConcurrentJobs", spec.max_concurrent_jobs, "nothing")
    for index, grant in enumerate(spec.grants):
        yield from _missing_in_grant(grant, f"spec.grants[{index}]")


def _missing_in_grant(grant: Grant, where: str) -> Iterator[FieldError]:
    if grant.max_epsilon_per_job is not None:
        yield _missing(f"{where}.maxEpsilonPerJob", grant.max_epsilon_per_job, "nothing")


def _doubtful_in_job(job: FederatedJob) -> Iterator[FieldError]:
    spec, needs = job.spec, job_quorum(job)
    if needs.tolerated_drops == 0 and needs.members > 1:
        found = f"{needs.members} data sets"
        yield FieldError("spec.participants", found, f"more than {needs.min_survivors}, or a round fails as soon as one client drops")
    cohort = spec.strategy.cohort_size
    if cohort == needs.min_survivors < needs.members:
        yield FieldError("spec.strategy.cohortSize", show(cohort), f"more than {cohort}, or a round fails as soon as one client drops")
    if spec.secure_aggregation.protocol is Protocol.NONE:
        yield FieldError(
            "spec.secureAggregation.protocol", show(spec.secure_aggregation.protocol), "SecAggPlus, or the aggregator sees every update"
        )
    deadline = spec.active_deadline_seconds
    if deadline is not None and deadline < spec.round_deadline_seconds:
        yield FieldError("spec.activeDeadlineSeconds", show(deadline), f"at least roundDeadlineSeconds ({spec.round_deadline_seconds})")
    yield from unread(spec)


def _doubtful_in_dataset(dataset: FederatedDataset) -> Iterator[FieldError]:
    if not dataset.spec.grants:
        yield FieldError("spec.grants", "nothing", "at least one grant, or no job may use the data")
    for index, grant in enumerate(dataset.spec.grants):
        for image in grant.images:
            if "@sha256:" not in image:
                allowed = "a reference pinned by @sha256:…, since a tag can be moved to other code"
                yield FieldError(f"spec.grants[{index}].images", show(image), allowed)
