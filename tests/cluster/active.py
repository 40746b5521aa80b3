"""Which cluster is the machine's: one at a time, since its addresses, control groups and network rules are the machine's."""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster import layout
from tests.cluster.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Active:
    """What was written down before anything on the machine was changed."""

    folder: str
    boot: str
    settings: dict[str, str]  # the kernel's, as they were before
    absent: list[str]  # folders that the node's programs make whatever their settings say, and that weren't there before

    @property
    def place(self) -> Layout:
        return Layout(Path(self.folder))

    @classmethod
    def read(cls) -> Active | None:
        """Return the machine's cluster, None if it has none."""
        try:
            return cls(**json.loads(layout.ACTIVE.read_text()))
        except FileNotFoundError:
            return None

    def write(self) -> None:
        unfinished = layout.ACTIVE.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.rename(layout.ACTIVE)

    @staticmethod
    def forget() -> None:
        layout.ACTIVE.unlink(missing_ok=True)


@contextmanager
def locked() -> Iterator[None]:
    """Let one process at a time start or end clusters. The kernel drops the lock when its holder dies."""
    with layout.LOCK.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
