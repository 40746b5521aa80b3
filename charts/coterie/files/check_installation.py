"""What `helm test` runs in the operator's image: whether the cluster serves this version's kinds, and a replica is ready.

It needs no right: discovery is open to every account, and `/readyz` to this pod by its NetworkPolicy.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coterie_api.names import API_VERSION, GROUP, VERSION
from coterie_api.v1alpha1.crds import DEFINITIONS, definition_object

if TYPE_CHECKING:
    from collections.abc import Callable

ACCOUNT: Final = Path(os.environ.get("COTERIE_TEST_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
PAUSE_SECONDS: Final = 2.0


class MissingError(Exception):
    """Something of the installation isn't as this version needs it; the message says what to do."""


def ask_cluster(path: str) -> Any:
    """Return what the API server answers. Raises urllib.error.URLError."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    address = f"https://[{host}]:{port}{path}" if ":" in host else f"https://{host}:{port}{path}"
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    authority = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10, context=authority) as answer:  # noqa: S310 - https, above
        return json.load(answer)


def kinds_are_served() -> None:
    """Raise MissingError unless every kind of this version is served."""
    served = {resource["name"] for resource in ask_cluster(f"/apis/{API_VERSION}")["resources"]}
    if missing := sorted({definition.plural for definition in DEFINITIONS} - served):
        raise MissingError(f"the cluster serves no {', '.join(missing)} of {API_VERSION}: install the definitions (crds.enabled)")


def definitions_are_current() -> None:
    """Raise MissingError unless the definitions of the cluster know every field of this version's specs."""
    schemas = ask_cluster(f"/openapi/v3/apis/{API_VERSION}")["components"]["schemas"].values()
    for definition in DEFINITIONS:
        manifest = definition_object(definition)
        kind = manifest["spec"]["names"]["kind"]
        wanted = _fields(manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec")
        here = {"group": GROUP, "version": VERSION, "kind": kind}
        served = next(schema for schema in schemas if here in schema.get("x-kubernetes-group-version-kind", []))
        if missing := sorted(wanted - _fields(served["properties"]["spec"], "spec")):
            raise MissingError(f"{kind}: the cluster's definition has no {missing[0]}, which the operator knows: upgrade the definitions")


def _fields(schema: dict[str, Any], path: str) -> set[str]:
    found = {path}
    for name, child in schema.get("properties", {}).items():
        found |= _fields(child, f"{path}.{name}")
    return found | (_fields(schema["items"], f"{path}[]") if "items" in schema else set())


def replica_is_ready() -> None:
    """Raise MissingError unless a replica answers on `/readyz` that it leads or stands by."""
    with urllib.request.urlopen(f"http://{os.environ['COTERIE_TEST_SERVICE']}/readyz", timeout=10) as answer:
        if (said := answer.read().decode().strip()) not in {"leading", "standing by"}:
            raise MissingError(f"the operator says {said!r}, not that it leads or stands by")


def insist(check: Callable[[], None], until: float) -> str:
    """Return an empty text once `check` passes, or what was wrong when the time was over."""
    while True:
        try:
            check()
        except (OSError, MissingError) as error:  # urllib's errors are OSErrors
            if time.monotonic() >= until:
                return f"{type(error).__name__}: {error}"
            time.sleep(PAUSE_SECONDS)
        else:
            return ""


def main() -> int:
    """Say of each check whether it passed; return the exit status."""
    until = time.monotonic() + float(os.environ.get("COTERIE_TEST_SECONDS", "60"))
    wrong = 0
    for check in (kinds_are_served, definitions_are_current, replica_is_ready):
        fault = insist(check, until)
        wrong += bool(fault)
        print(f"{check.__name__.replace('_', ' ')}: {fault or 'ok'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
