from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import coterie_operator
from coterie_operator.settings import ContainerResources, Settings, from_environment


def test_an_empty_environment_gives_the_defaults() -> None:
    assert from_environment({"PATH": "/bin", "COTERIE_ROOT": "/", "COTERIE_THREADS": "2"}) == Settings()


def test_each_setting_has_an_effect_somewhere() -> None:
    sources = [path.read_text() for path in Path(coterie_operator.__file__).parent.rglob("*.py") if path.name != "settings.py"]
    read = set(re.findall(r"\b\w*settings\.(\w+)", "\n".join(sources)))

    assert {entry.name for entry in fields(Settings)} <= read


def test_each_type_of_setting_is_read() -> None:
    found = from_environment(
        {
            "COTERIE_NAMESPACE": "ops",
            "COTERIE_WORKERS": "8",
            "COTERIE_RESYNC_SECONDS": "1.5",
            "COTERIE_FS_GROUP": "null",
            "COTERIE_NAMESPACES": "research, hospital-a,",
            "COTERIE_WORKER_RESOURCES": '{"requests": {"cpu": "1"}, "limits": {}}',
        }
    )

    assert (found.namespace, found.workers, found.resync_seconds, found.fs_group) == ("ops", 8, 1.5, None)
    assert found.namespaces == ("research", "hospital-a")
    assert found.worker_resources == ContainerResources({"cpu": "1"}, {})


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("COTERIE_WORKER", "8", "no such setting"),
        ("COTERIE_WORKERS", "many", "COTERIE_WORKERS=many: allowed is int"),
        ("COTERIE_RESYNC_SECONDS", "", "allowed is float"),
        ("COTERIE_FS_GROUP", "group", "allowed is int | None"),
        ("COTERIE_WORKER_RESOURCES", "1 CPU", "JSON"),
        ("COTERIE_WORKER_RESOURCES", '{"cpu": "1"}', "requests and limits"),
    ],
)
def test_a_setting_that_can_not_be_used_is_refused(variable: str, value: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"COTERIE_") as caught:
        from_environment({variable: value})

    assert told in str(caught.value)
