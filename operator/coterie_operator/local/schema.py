"""The schema of our own kinds, as the in-memory cluster applies it: defaults in, unknown fields dropped, bad values refused.

It is read from the same types as the CustomResourceDefinitions, so that both clusters store the same object.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

from coterie_api.errors import InvalidObject
from coterie_api.fields import dump, parse
from coterie_api.v1alpha1.changes import refused_changes
from coterie_api.v1alpha1.dataset import FederatedDatasetSpec
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob, FederatedJobSpec
from coterie_operator.cluster import FEDERATED_DATASET, FEDERATED_JOB, Kind, Object
from coterie_operator.local.admission import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPES: Final[Mapping[Kind, type[FederatedJob | FederatedDataset]]] = {FEDERATED_JOB: FederatedJob, FEDERATED_DATASET: FederatedDataset}
SPECS: Final[Mapping[Kind, type]] = {FEDERATED_JOB: FederatedJobSpec, FEDERATED_DATASET: FederatedDatasetSpec}


def admit(kind: Kind, obj: Object) -> Object:
    """Return `obj` as the API server would store it. Raises Invalid with every error of the schema."""
    cls = TYPES.get(kind)
    if cls is None:
        return obj
    try:
        stored = dump(parse(cls, obj, where="", strict=False))
    except InvalidObject as error:
        raise invalid(kind, obj, "schema", str(error)) from None
    result = {member: value for member, value in obj.items() if member not in {"spec", "status"}}
    result["spec"] = stored.get("spec", {})
    if "status" in obj:
        result["status"] = stored.get("status", {})
    return copy.deepcopy(result)


def refuse_spec_changes(kind: Kind, before: Object, after: Object) -> None:
    """Raise Invalid if a field changes that our schema calls immutable."""
    for error in refused_changes(SPECS[kind], before["spec"], after["spec"]) if kind in SPECS else ():
        raise invalid(kind, before, error.field, f"{error.field.rpartition('.')[2]} can't be changed")
