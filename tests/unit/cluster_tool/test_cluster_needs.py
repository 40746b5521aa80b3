from __future__ import annotations

import pytest
from tests.cluster.needs import PACKAGES, Machine, NeedsError, check, missing


def machine(**changed: object) -> Machine:
    found: dict[str, object] = {"system": "linux", "user_id": 0, "has": lambda what: True, "foreign_node": False}
    return Machine(**{**found, **changed})  # type: ignore[arg-type]


def test_a_machine_that_has_all_lacks_nothing() -> None:
    check(machine())


def test_everything_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(NeedsError) as caught:
        check(machine(user_id=1000, has=lambda what: False))

    message = str(caught.value)
    assert "sudo" in message
    assert f"apt-get install --no-install-recommends {' '.join(PACKAGES)}" in message


def test_only_missing_packages_are_named() -> None:
    reasons = missing(machine(has=lambda what: what != "runc"))

    assert len(reasons) == 1
    assert reasons[0].endswith("install --no-install-recommends runc")


def test_another_system_is_told_so_and_nothing_else() -> None:
    reasons = missing(machine(system="darwin", user_id=501, has=lambda what: False))

    assert reasons == ["it needs Linux, not darwin: run it in a virtual machine"]


def test_another_kubernetes_node_is_left_in_peace() -> None:
    with pytest.raises(NeedsError, match="another Kubernetes node"):
        check(machine(foreign_node=True))
