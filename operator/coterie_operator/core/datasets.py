"""What a data set is told: whether it may take part in jobs, and how many use it now. Pure and level-based, as the decision about a job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from coterie_api.errors import FieldError
from coterie_api.v1alpha1.conditions import SENTENCES, Condition, ConditionStatus, DatasetConditionType, set_condition
from coterie_api.v1alpha1.types import FederatedDatasetStatus, FederatedJobStatus, ObjectMeta, Reason, TenantState
from coterie_operator.core.observed import stamp
from coterie_operator.core.rules.suspend import is_suspended
from coterie_operator.core.rules.ttl import is_finished
from coterie_operator.core.status import shorten

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Dataset:
    """The FederatedDataset as the API server has it, with what is wrong with it; only its owner reads what is told here."""

    metadata: ObjectMeta
    status: FederatedDatasetStatus = FederatedDatasetStatus()  # noqa: RUF009 - a frozen value
    errors: tuple[FieldError, ...] = ()

    @property
    def use(self) -> Use:
        """What a job that uses this very object has among its uses."""
        return Use(self.metadata.namespace, self.metadata.name, self.metadata.uid)


@dataclass(frozen=True, slots=True)
class Use:
    """One data set in the roster of one job; a recreated data set has another uid and is another one."""

    namespace: str
    name: str
    uid: str


def uses(job: FederatedJobStatus) -> frozenset[Use]:
    """Return the data sets that a job uses now: those of its roster, while it is started, not suspended and not over.

    A tenant that the job has lost for good is not used any more.
    """
    if job.frozen is None or is_finished(job) or is_suspended(job):
        return frozenset()
    lost = {(tenant.namespace, tenant.name) for tenant in job.tenants if tenant.state is TenantState.FAILED}
    roster = (Use(entry.namespace, entry.name, entry.uid) for entry in job.frozen.datasets)
    return frozenset(use for use in roster if (use.namespace, use.name) not in lost)


def dataset_status(dataset: Dataset, active_jobs: int, now: datetime) -> FederatedDatasetStatus:
    """Return the status that a data set should have; equal to the present one if nothing has changed."""
    reason, message = _judge(dataset.errors)
    answer = ConditionStatus.FALSE if dataset.errors else ConditionStatus.TRUE
    generation = dataset.metadata.generation
    accepted = Condition(DatasetConditionType.ACCEPTED.value, answer, reason.value, stamp(now), shorten(message), generation)
    conditions = set_condition(dataset.status.conditions, accepted)
    return replace(dataset.status, observed_generation=generation, conditions=conditions, active_jobs=active_jobs)


def _judge(errors: tuple[FieldError, ...]) -> tuple[Reason, str]:
    if not errors:
        return Reason.ACCEPTED, SENTENCES[Reason.ACCEPTED]
    return Reason(errors[0].fault.value), "; ".join(map(str, errors))
