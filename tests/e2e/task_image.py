"""The example's image as its users build it: the task's code on top of the worker's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.cluster import images
from tests.controlplane.scenario import DIGITS

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "localhost/research/digits:1"


def archives() -> dict[str, Path]:
    """Return the archives that the suite's node needs. Raises ImagesUnavailableError."""
    return {**images.archives("operator"), NAME: images.on_top(DIGITS, NAME)}
