"""What pods say when they end."""

from __future__ import annotations

from typing import Any

DROP = {
    "client": "someone/else",
    "reason": "TaskImportFailed",
    "errorClass": "ModuleNotFoundError",
    "where": "task.py:3",
    "incident": "ab12cd34",
}


def word(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"reason": reason, "message": message, **more}
