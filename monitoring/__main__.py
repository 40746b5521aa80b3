"""`python -m monitoring`: write every generated file."""

from __future__ import annotations

from monitoring.files import ROOT, generated

for path, content in generated().items():
    (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / path).write_text(content, encoding="utf-8")
