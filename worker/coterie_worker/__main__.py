"""`python -m coterie_worker`."""

from __future__ import annotations

from coterie_worker.cli import main

main()
