"""Who may take part: whether a data set grants this job, and whether the job is strong enough for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coterie_api.errors import Fault
from coterie_api.v1alpha1.conditions import SENTENCES
from coterie_api.v1alpha1.types import (
    DatasetRef,
    FederatedDataset,
    FederatedJobSpec,
    FrozenDataset,
    Grant,
    Protocol,
    Reason,
)
from coterie_api.v1alpha1.validate import validate_dataset
from coterie_operator.core.observed import NamespaceState, Observed, moment
from coterie_operator.core.verdict import TenantReason
from coterie_operator.manifests.naming import DatasetKey

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether one data set can take part; an empty reason says that it can."""

    key: DatasetKey
    required: bool = False
    reason: str = ""
    message: str = ""

    @property
    def is_able(self) -> bool:
        return not self.reason


@dataclass(frozen=True, slots=True)
class Applicant:
    """A data set that a job asks for, beside what the job asks of it."""

    seen: Observed
    spec: FederatedJobSpec
    ref: DatasetRef
    image: str

    @property
    def key(self) -> DatasetKey:
        return DatasetKey(self.ref.namespace, self.ref.name)

    @property
    def dataset(self) -> FederatedDataset | None:
        return self.seen.datasets.get(self.key)


EXPIRED = "the owner's grant of the data set has expired"

Objection = tuple[str, str]  # reason, sentence
Check = Callable[[Applicant], Objection | None]


def standing(applicant: Applicant) -> Standing:
    """Return the first objection to a data set's taking part, in the order of `CHECKS`."""
    for check in CHECKS:
        objection = check(applicant)
        if objection is not None:
            return Standing(applicant.key, applicant.ref.required, *objection)
    return Standing(applicant.key, applicant.ref.required)


def worker_image(spec: FederatedJobSpec, default: str) -> str:
    """Return the image that a job wants to run on the data."""
    return spec.clients.image or default


def grant_in_force(dataset: FederatedDataset, job_namespace: str, image: str, now: datetime) -> Grant | None:
    """Return a grant that lets a job of that namespace run that image now."""
    grants = (grant for grant in dataset.spec.grants if grant.covers(job_namespace, image))
    return next((grant for grant in grants if grant.expires is None or now < moment(grant.expires)), None)


def expiry(dataset: FederatedDataset, job_namespace: str, image: str) -> datetime | None:
    """Return when the last of the grants for a job of that namespace and image ends; None if one never does, or there is none."""
    grants = [grant for grant in dataset.spec.grants if grant.covers(job_namespace, image)]
    ends = [moment(grant.expires) for grant in grants if grant.expires is not None]
    return max(ends) if ends and len(ends) == len(grants) else None


def revocation(seen: Observed, entry: FrozenDataset, image: str) -> Objection | None:
    """Return why a data set of the roster is no longer there, or None. After the start only this acts."""
    key = DatasetKey(entry.namespace, entry.name)
    if seen.namespace(entry.namespace) is NamespaceState.TERMINATING:
        return _of(Reason.TENANT_NAMESPACE_TERMINATING)
    dataset = seen.datasets.get(key)
    namespace = seen.job.metadata.namespace if seen.job else ""
    if dataset is None or grant_in_force(dataset, namespace, image, seen.now) is None:
        has_ended = dataset is not None and expiry(dataset, namespace, image) is not None
        return (Reason.CONSENT_REVOKED.value, EXPIRED) if has_ended else _of(Reason.CONSENT_REVOKED)
    # The roster pins the key: another key is another tenant, whoever owns the object.
    return None if dataset.spec.identity.public_key == entry.public_key else _of(Reason.CONSENT_REVOKED)


def _of(reason: Reason) -> Objection:
    return reason.value, SENTENCES[reason]


def _not_granted(applicant: Applicant) -> Objection | None:
    """An absent data set and one that does not grant read the same, so that a job's author can't find out what exists."""
    dataset = applicant.dataset
    namespace = applicant.seen.job.metadata.namespace if applicant.seen.job else ""
    if dataset is None or dataset.metadata.deletion_timestamp is not None:
        return _of(Reason.NOT_GRANTED)
    grant = grant_in_force(dataset, namespace, applicant.image, applicant.seen.now)
    return _of(Reason.NOT_GRANTED) if grant is None else None


def _namespace_closed(applicant: Applicant) -> Objection | None:
    state = applicant.seen.namespace(applicant.ref.namespace)
    if state is NamespaceState.DENIED:
        return _of(Reason.TENANT_ACCESS_MISSING)
    return _of(Reason.TENANT_NAMESPACE_TERMINATING) if state is not NamespaceState.ACTIVE else None


def _no_identity(applicant: Applicant) -> Objection | None:
    if applicant.dataset is None or applicant.dataset.spec.identity.public_key:
        return None
    return TenantReason.NO_IDENTITY.value, "the data set's spec.identity.publicKey is empty: its owner makes one with `coterie keygen`"


WRONG = {Fault.INVALID: "has a value that is not allowed", Fault.NOT_IMPLEMENTED: "is not offered by this version"}


def _not_accepted(applicant: Applicant) -> Objection | None:
    errors = validate_dataset(applicant.dataset) if applicant.dataset is not None else ()
    # The values of a tenant's object are not told to the job's author; the field's name is enough to talk about it.
    return (errors[0].fault.value, f"the data set's {errors[0].field} {WRONG[errors[0].fault]}") if errors else None


def _too_weak(applicant: Applicant) -> Objection | None:
    if applicant.dataset is None:
        return None
    asked = applicant.dataset.spec.requirements
    mode = applicant.spec.privacy.mode
    if asked.secure_aggregation and applicant.spec.secure_aggregation.protocol is Protocol.NONE:
        return TenantReason.REQUIREMENT_NOT_MET.value, "the data set asks for secure aggregation and the job's protocol is None"
    if asked.modes and mode not in asked.modes:
        allowed = ", ".join(asked.modes)
        return TenantReason.REQUIREMENT_NOT_MET.value, f"the data set allows privacy modes {allowed} and the job's is {mode}"
    return None


CHECKS: tuple[Check, ...] = (_not_granted, _namespace_closed, _no_identity, _not_accepted, _too_weak)
