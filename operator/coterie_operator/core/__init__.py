"""Pure decisions: from what was observed to what should be done."""

from coterie_operator.core.actions import Action, AddFinalizer, Create, CreateCertificate, Delete, Emit, Plan, RemoveFinalizer
from coterie_operator.core.children import BatchJob, Child, Children, Outcome, Pod
from coterie_operator.core.observed import Job, NamespaceState, Observed, Trouble
from coterie_operator.core.reconcile import reconcile

__all__ = [
    "Action",
    "AddFinalizer",
    "BatchJob",
    "Child",
    "Children",
    "Create",
    "CreateCertificate",
    "Delete",
    "Emit",
    "Job",
    "NamespaceState",
    "Observed",
    "Outcome",
    "Plan",
    "Pod",
    "RemoveFinalizer",
    "Trouble",
    "reconcile",
]
