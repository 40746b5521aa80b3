"""What the refusal of a creation means: recognized by what does not change from one attempt to the next, told in our words.

Amounts stay out: they are the namespace's own affair, and they change all the time.

Source: Kubernetes' quota, LimitRanger, PodSecurity, ServiceAccount and ValidatingAdmissionPolicy admission plugins.
"""

from __future__ import annotations

import re
from typing import Final

from coterie_api.v1alpha1.conditions import Reason
from coterie_operator.core.children import Obstacle

EXCEEDED: Final = re.compile(r"exceeded quota: ([^,]+), requested: (.*?), used: ")
DEMANDED: Final = re.compile(r"failed quota: ([^:]+): must specify ([a-z0-9./,-]+)")
BOUND: Final = re.compile(r"(minimum|maximum) (\S+) (?:usage )?per (Container|Pod|PersistentVolumeClaim)", re.IGNORECASE)
KNOWN: Final = (
    (re.compile(r"violates PodSecurity \"([a-z]+)"), "the namespace's Pod Security Standard {} does not allow it"),
    (re.compile(r"ValidatingAdmissionPolicy '([^']+)'"), "the ValidatingAdmissionPolicy {} does not allow it"),
    (re.compile(r"webhook \"([^\"]+)\""), "the admission webhook {} does not allow it, or can't be asked"),
    (re.compile(r"serviceaccount \"([^\"]+)\" not found"), "its ServiceAccount {} does not exist"),
    (re.compile(r"no PriorityClass with name (\S+) was found"), "its PriorityClass {} does not exist"),
)


def refusal(text: str) -> Obstacle | None:
    """Return what a refusal means, or None if it is none of those that are known."""
    if (found := EXCEEDED.search(text)) is not None:
        names = sorted({part.partition("=")[0].strip() for part in found[2].split(",") if part.strip()})
        return _quota(f"ResourceQuota {found[1]} does not allow it: too little is left of {', '.join(names)}")
    if (found := DEMANDED.search(text)) is not None:
        return _quota(f"ResourceQuota {found[1]} demands that it state {', '.join(sorted(found[2].split(',')))}")
    if "exceeded quota" in text or "failed quota" in text:
        return _quota("a ResourceQuota does not allow it")
    if (found := BOUND.search(text)) is not None:
        return Obstacle(Reason.POD_REFUSED, f"a LimitRange does not allow it: {found[1].lower()} {found[2]} per {found[3]}")
    for pattern, sentence in KNOWN:
        if (found := pattern.search(text)) is not None:
            return Obstacle(Reason.POD_REFUSED, sentence.format(found[1].rstrip(",.:")))
    return None


def _quota(message: str) -> Obstacle:
    return Obstacle(Reason.QUOTA_EXCEEDED, message)
