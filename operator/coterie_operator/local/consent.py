"""Whether a job in a workspace can start at all: here nobody can grant anything later, so what a cluster waits for is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie_api.v1alpha1.types import Reason
from coterie_operator.core.observed import Job, NamespaceState, Observed
from coterie_operator.core.rules.consent import Standing, worker_image
from coterie_operator.core.rules.quorum import choose
from coterie_operator.local.workspace import BadInput, Workspace
from coterie_operator.manifests.naming import DatasetKey

if TYPE_CHECKING:
    from datetime import datetime

    from coterie_operator.settings import Settings


def refuse_without_quorum(workspace: Workspace, settings: Settings, now: datetime) -> None:
    """Judge consent once, as the control plane does in each pass. Raises BadInput with a line for each data set that stands aside."""
    job = workspace.job
    datasets = {DatasetKey(entry.metadata.namespace, entry.metadata.name): entry for entry in workspace.datasets}
    spaces = {job.metadata.namespace, *(key.namespace for key in datasets)}
    seen = Observed(now, settings, Job(job.metadata, job.spec), datasets, dict.fromkeys(spaces, NamespaceState.ACTIVE))
    choice = choose(seen, job.spec)
    if choice.lack:
        name = f"FederatedJob {job.metadata.namespace}/{job.metadata.name}"
        raise BadInput(f"{name} would wait for ever: {choice.lack}", *(_line(seen, entry, workspace) for entry in choice.objections))


def _line(seen: Observed, entry: Standing, workspace: Workspace) -> str:
    """Return why a data set stands aside. All manifests are the reader's own, so that absent and ungranted are told apart."""
    if entry.reason != Reason.NOT_GRANTED:
        return f"{entry.key}: {entry.message}"
    if entry.key not in seen.datasets:
        return f"{entry.key}: no FederatedDataset of this name in {workspace.folder}"
    job = workspace.job
    image = worker_image(job.spec, seen.settings.worker_image)
    return f"{entry.key}: no grant of it is in force for the job's namespace {job.metadata.namespace} and its clients' image {image}"
