"""What is written from the chart and committed beside it: its README, and each set of values as rendered.

    python -m tests.cluster.chartfiles            writes them (`make chart-docs`)

A render leaves out the bodies of files that are written and proved fresh elsewhere (definitions, dashboards, rules), and what names a
version, so that only a change of the chart changes it.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import yaml
from tests.cluster import binaries, chart

if TYPE_CHECKING:
    from pathlib import Path

README: Final = chart.CHART / "README.md"
GOLDEN: Final = chart.CHART / "tests" / "golden"
ELSEWHERE: Final = "(a file of its own)"
VERSIONED: Final = ("helm.sh/chart", "app.kubernetes.io/version")


def generated() -> dict[Path, str]:
    """Return the content of each file. Raises BinariesUnavailableError."""
    return {README: readme()} | {GOLDEN / f"{name}.yaml": golden(name) for name in chart.VALUE_SETS}


def readme() -> str:
    """Return the chart's page, as helm-docs makes it of README.md.gotmpl and the comments in values.yaml."""
    command = [str(binaries.locate(binaries.HELM_DOCS)), "--chart-search-root", chart.CHART.name, "--template-files", "README.md.gotmpl"]
    command += ["--sort-values-order", "file", "--dry-run", "--log-level", "error"]
    done = subprocess.run(command, cwd=chart.CHART.parent, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip() + "\n"


def golden(name: str) -> str:
    """Return the objects of one set of values, sorted."""
    objects = sorted((_own(manifest) for manifest in chart.render_set(name)), key=_order)
    return f"# Written by `make chart-docs` from ci/{name}-values.yaml.\n" + yaml.safe_dump_all(objects, width=140)


def _order(manifest: dict[str, Any]) -> tuple[str, str, str]:
    return manifest["kind"], manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]


def _own(manifest: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(manifest)
    _without_versions(found)
    kind = found["kind"]
    if kind in {"CustomResourceDefinition", "PrometheusRule"}:
        found["spec"] = ELSEWHERE
    elif kind == "ConfigMap":
        found["data"] = dict.fromkeys(found["data"], ELSEWHERE)
    elif kind == "Pod":
        found["spec"]["containers"][0]["args"] = [ELSEWHERE]
    return found


def _without_versions(manifest: dict[str, Any]) -> None:
    labels = [manifest["metadata"].get("labels", {})]
    if manifest["kind"] == "Deployment":
        labels.append(manifest["spec"]["template"]["metadata"]["labels"])
    for each in labels:
        for name in VERSIONED:
            each.pop(name, None)


def main() -> int:
    """Write every file."""
    for path, content in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
