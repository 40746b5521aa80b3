"""However many clients take the initial model at a time, its file is in memory once."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

from coterie_worker.aggregator.model import Mapped

if TYPE_CHECKING:
    from pathlib import Path


def test_clients_share_one_map(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"abc")
    mapped = Mapped(tmp_path / "model")

    first, second = mapped.words(), mapped.words()

    assert first is second
    assert first.tobytes() == b"abc"


def test_the_map_is_gone_with_the_last_who_sends_it(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"abc")
    mapped = Mapped(tmp_path / "model")
    held = weakref.ref(mapped.words())
    gc.collect()

    assert held() is None
    assert mapped.words().tobytes() == b"abc"
