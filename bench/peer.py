"""Environments for peers, whose dependencies disagree with ours: made once, kept in the user's cache."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

FLOWER: Final = "1.41.0"


def flower() -> Path:
    """Return an environment with Flower's simulation that also sees our packages, after its own.

    `COTERIE_BENCH_FLOWER` names one that is there already.
    """
    named = os.environ.get("COTERIE_BENCH_FLOWER")
    home = Path(named) if named else _cache() / f"flower-{FLOWER}"
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    installed = subprocess.run([str(python), "-c", "import flwr, ray"], check=False, capture_output=True)
    if installed.returncode:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"flwr[simulation]=={FLOWER}"], check=True)
    # Behind its own packages: Flower's protobuf must win, our torch and task code must be found.
    ours = sysconfig.get_path("purelib")
    site = Path(
        subprocess.run(
            [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True
        ).stdout.strip()
    )
    (site / "zz_coterie.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return home


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coterie" / "bench"
