"""Why the API server refuses a pod, read from what quotas, limit ranges and admission of Kubernetes 1.31 to 1.37 say."""

# ruff: noqa: E501, ISC004 - the texts of Kubernetes stand here as they are

from __future__ import annotations

from typing import Any

import pytest

from coterie_api.v1alpha1.conditions import Reason
from coterie_operator.core.refusals import refusal
from coterie_operator.observe.obstacles import refusal_obstacle


def event(reason: str, message: str, when: str = "2026-08-01T12:00:00Z") -> dict[str, Any]:
    return {"kind": "Event", "metadata": {"creationTimestamp": when}, "reason": reason, "message": message, "lastTimestamp": when}


REFUSALS = {
    "a quota": (
        'Error creating: pods "x-7k2lp" is forbidden: exceeded quota: compute, requested: limits.memory=4Gi,pods=1, used: limits.memory=2Gi,pods=3, '
        "limited: limits.memory=4Gi,pods=3",
        Reason.QUOTA_EXCEEDED,
        "ResourceQuota compute does not allow it: too little is left of limits.memory, pods",
    ),
    "a quota on what is not stated": (
        'Error creating: pods "x-7k2lp" is forbidden: failed quota: compute: must specify limits.cpu for: client; limits.memory for: client',
        Reason.QUOTA_EXCEEDED,
        "ResourceQuota compute demands that it state limits.cpu",
    ),
    "a standard": (
        'Error creating: pods "x-7k2lp" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "client" '
        "must set securityContext.allowPrivilegeEscalation=false)",
        Reason.POD_REFUSED,
        "Pod Security Standard restricted",
    ),
    "a range": (
        'Error creating: pods "x-7k2lp" is forbidden: maximum memory usage per Container is 1Gi, but limit is 4Gi',
        Reason.POD_REFUSED,
        "a LimitRange does not allow it: maximum memory per Container",
    ),
    "a policy": (
        "ValidatingAdmissionPolicy 'images.example' with binding 'images' denied request: only images of registry.example",
        Reason.POD_REFUSED,
        "ValidatingAdmissionPolicy images.example",
    ),
    "a webhook": (
        'Internal error occurred: failed calling webhook "validate.example": failed to call webhook: Post "https://x.y.svc:443/": no endpoints',
        Reason.POD_REFUSED,
        "admission webhook validate.example",
    ),
    "an account": (
        'Error creating: pods "x-" is forbidden: error looking up service account hospital-b/trainer: serviceaccount "trainer" not found',
        Reason.POD_REFUSED,
        "its ServiceAccount trainer does not exist",
    ),
    "a priority": (
        'Error creating: pods "x-" is forbidden: no PriorityClass with name urgent was found',
        Reason.POD_REFUSED,
        "its PriorityClass urgent does not exist",
    ),
}


@pytest.mark.parametrize(("said", "reason", "told"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refused_pod_is_told_by_what_refuses_it_and_without_amounts(said: str, reason: Reason, told: str) -> None:
    found = refusal_obstacle([event("FailedCreate", said)])

    assert found is not None
    assert found == refusal(said)
    assert found.reason is reason
    assert told in found.message
    assert not any(amount in found.message for amount in ("Gi", "=", "7k2lp"))


def test_a_refusal_of_an_unknown_kind_is_told_without_its_words() -> None:
    found = refusal_obstacle([event("FailedCreate", 'Error creating: pods "x" is forbidden: Smith, John')])

    assert found is not None
    assert found.reason is Reason.POD_REFUSED
    assert "Smith" not in found.message
