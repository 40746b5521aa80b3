"""Errors of the contracts.

```text
CoterieApiError
└── InvalidObject      a manifest or a configuration file says something that is not allowed: its author must change it
```
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """Why a field is refused; equal to the reason of the condition that reports it."""

    INVALID = "InvalidSpec"
    NOT_IMPLEMENTED = "NotImplemented"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is not allowed: where it is, what was found there and what may be there."""

    field: str  # path from the root of the object: spec.participants.datasets[2].name
    found: str
    allowed: str
    fault: Fault = Fault.INVALID

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.field}: found {self.found}, allowed: {self.allowed}"


class CoterieApiError(Exception):
    """Root of this room's errors."""


class InvalidObject(CoterieApiError, ValueError):
    """An object does not parse; `errors` names every field that is at fault."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = errors
