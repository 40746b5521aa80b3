"""What was asked of the API server, read from its audit log: who writes how often."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request."""

    user: str
    verb: str
    resource: str  # plural, with its subresource after a slash
    namespace: str
    name: str
    code: int  # of the answer

    @property
    def is_write(self) -> bool:
        """Whether it changes something, if it is allowed to: reviews of rights and tokens are questions, though they are created."""
        return self.verb in WRITES and not self.resource.endswith(("reviews", "/token"))


def requests(log: Path, start: int = 0) -> list[Request]:
    """Return what was asked since the log was `start` bytes long, without a line that isn't complete yet."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().split(b"\n")[:-1]
    return [_request(json.loads(line)) for line in lines]


def _request(event: dict[str, Any]) -> Request:
    target = event.get("objectRef", {})
    resource = "/".join(part for part in (target.get("resource", ""), target.get("subresource", "")) if part)
    code = event.get("responseStatus", {}).get("code", 0)
    return Request(event["user"]["username"], event["verb"], resource, target.get("namespace", ""), target.get("name", ""), code)
