"""The last words of pods, held to what may be told.

What a client's pod writes comes from a process that holds private data and runs the author's code. So its text is dropped; what
stays is a reason of the catalog, and names of code that fit a narrow alphabet.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from coterie_api.errors import InvalidObject
from coterie_api.fields import parse
from coterie_api.progress import Drop, DropReason, Progress, Termination
from coterie_api.v1alpha1.types import Reason

MAX_WORDS = 4096
ERROR_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")
WHERE = re.compile(r"[A-Za-z0-9_./-]{1,128}:[0-9]{1,7}")
INCIDENT = re.compile(r"[0-9a-f-]{4,36}")
OUT_OF_MEMORY = "OOMKilled"  # the kubelet's reason


def from_client(ended: dict[str, Any], client: str) -> Termination | None:
    """Return the last word of a container in a client's pod, without any text of its own."""
    if ended.get("reason") == OUT_OF_MEMORY:
        return _dropped(Drop(client, DropReason.OUT_OF_MEMORY))
    said = _read(ended)
    if said is None:
        return None
    drop = said.drop or _by_reason(said.reason, client)
    return _dropped(replace(hold(drop), client=client)) if drop is not None else None


def from_aggregator(ended: dict[str, Any]) -> Termination | None:
    """Return the last word of a container in the aggregator's pod, which holds no private data."""
    if ended.get("reason") == OUT_OF_MEMORY:
        return Termination(Reason.OUT_OF_MEMORY.value, "")
    said = _read(ended)
    if said is None or said.progress is None:
        return said
    return replace(said, progress=hold_all(said.progress))


def hold_all(progress: Progress) -> Progress:
    """Return the progress with what clients and the evaluator said about their failures held to the alphabet."""
    failure = progress.evaluation_failure
    return replace(progress, drops=tuple(hold(drop) for drop in progress.drops), evaluation_failure=hold(failure) if failure else None)


def hold(drop: Drop) -> Drop:
    """Return the drop without any name that does not look like one."""
    return replace(
        drop,
        error_class=drop.error_class if ERROR_CLASS.fullmatch(drop.error_class) else "",
        where=drop.where if WHERE.fullmatch(drop.where) else "",
        incident=drop.incident if INCIDENT.fullmatch(drop.incident) else "",
    )


def _dropped(drop: Drop) -> Termination:
    return Termination(drop.reason.value, "", drop)


def _by_reason(reason: str, client: str) -> Drop | None:
    known = next((known for known in DropReason if known.value == reason), None)
    return Drop(client, known) if known is not None else None


def _read(ended: dict[str, Any]) -> Termination | None:
    text = str(ended.get("message") or "")[:MAX_WORDS]
    try:
        return parse(Termination, json.loads(text), where="termination", strict=False) if text else None
    except (ValueError, InvalidObject):
        return None  # not written by a worker: a killed container, or an image that is not ours
