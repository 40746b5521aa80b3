"""`python -m tests.fuzz TARGET [libFuzzer options]`: fuzz one target with atheris, beginning from its seeds and its corpus."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["coterie_worker.secagg", "coterie_worker.layout", "coterie_worker.transport"]):
    from tests.fuzz.targets import TARGETS, seeds

CORPUS = Path(__file__).with_name("corpus")


def main() -> None:
    """Fuzz until told to stop, or until something is found."""
    warnings.simplefilter("error")  # a warning of numpy is a finding
    name, *options = sys.argv[1:]
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "coterie" / "fuzz" / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (folder / f"seed-{number:03}").write_bytes(seed)
    kept = [str(path) for path in (CORPUS / name,) if path.is_dir()]
    atheris.Setup([sys.argv[0], str(folder), *kept, "-rss_limit_mb=2048", "-timeout=20", *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
