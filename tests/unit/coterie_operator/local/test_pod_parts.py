"""Parts of the kubelet that need no process: variables, paths, hosts, statuses, addresses."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coterie_operator.cluster import CONFIG_MAP, SECRET, Kind, Object
from coterie_operator.local.hosts import hosts_text
from coterie_operator.local.podenv import ConfigError, PodFacts, argv, environment, expand
from coterie_operator.local.podfiles import PodFolder, entry, inside
from coterie_operator.local.podrun import Backoff
from coterie_operator.local.podstatus import Phase, new_state, terminated
from coterie_operator.local.references import references

# From k8s.io/kubernetes third_party/forked/golang/expansion/expand_test.go: input, expected.
EXPANSIONS = [
    ("$(VAR_A)", "A"),
    ("___$(VAR_B)___", "___B___"),
    ("$(VAR_A)$(VAR_B)", "AB"),
    ("$$(VAR_A)", "$(VAR_A)"),
    ("$$$(VAR_A)", "$A"),
    ("$$$$(VAR_A)", "$$(VAR_A)"),
    ("$(VAR_DNE)", "$(VAR_DNE)"),
    ("$VAR_A", "$VAR_A"),
    ("$(EMPTY)", ""),
    ("f000-$$VAR_A", "f000-$VAR_A"),
    ("$(", "$("),
    ("foo$", "foo$"),
]
VARIABLES = {"VAR_A": "A", "VAR_B": "B", "EMPTY": ""}
POD: Object = {"metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"role": "client"}}, "spec": {}}


def nothing(kind: Kind, name: str) -> Object:
    raise ConfigError(f"{kind.plural} {name} not found")


@pytest.mark.parametrize(("text", "expected"), EXPANSIONS)
def test_references_expand_as_kubernetes_expands_them(text: str, expected: str) -> None:
    assert expand(text, VARIABLES) == expected


def test_a_variable_sees_those_before_it_alone() -> None:
    env = [{"name": "A", "value": "$(B)"}, {"name": "B", "value": "b"}, {"name": "C", "value": "$(B)"}]

    assert environment({"name": "main", "env": env}, PodFacts(POD, "127.1.2.3"), nothing) == {"A": "$(B)", "B": "b", "C": "b"}


def test_a_resource_is_read_from_the_container() -> None:
    source = {"resourceFieldRef": {"resource": "limits.cpu"}}
    container = {"name": "main", "env": [{"name": "CPU", "valueFrom": source}], "resources": {"limits": {"cpu": "2"}}}

    assert environment(container, PodFacts(POD, ""), nothing) == {"CPU": "2"}


@pytest.mark.parametrize(
    "source",
    [
        {"fieldRef": {"fieldPath": "status.nothing"}},
        {"resourceFieldRef": {"resource": "limits.cpu"}},
        {"secretKeyRef": {"name": "absent", "key": "k"}},
        {"fileKeyRef": {}},
    ],
)
def test_a_variable_that_has_no_value_is_refused(source: Object) -> None:
    with pytest.raises(ConfigError):
        environment({"name": "main", "env": [{"name": "X", "valueFrom": source}]}, PodFacts(POD, ""), nothing)


def test_a_missing_key_is_refused_unless_it_is_optional() -> None:
    def lookup(kind: Kind, name: str) -> Object:
        return {"data": {"there": base64.b64encode(b"hush").decode() if kind == SECRET else "hush"}}

    def read(key: str, **more: bool) -> dict[str, str]:
        source = {"secretKeyRef": {"name": "s", "key": key, **more}}
        return environment({"name": "main", "env": [{"name": "X", "valueFrom": source}]}, PodFacts(POD, ""), lookup)

    assert read("there") == {"X": "hush"}
    assert read("gone", optional=True) == {}
    with pytest.raises(ConfigError, match="gone"):
        read("gone")


def test_python_stands_for_this_interpreter_and_nothing_else_is_changed() -> None:
    container = {"name": "main", "command": ["python", "-m", "python"], "args": ["$(HOST)"]}

    assert argv(container, {"HOST": "h"}, "/venv/python") == ["/venv/python", "-m", "python", "h"]
    assert argv({"name": "m", "command": ["sh"]}, {}, "/venv/python") == ["sh"]


@pytest.mark.parametrize("path", ["..", "/..", "a/../..", "/a/../../b", "", "/", "a\0b", "./.."])
def test_a_path_that_leads_outside_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError):
        inside(tmp_path, path, "mountPath")


@given(st.text(st.sampled_from("ab./\0")))
@example("//v")
@example("///v")
def test_a_path_either_lies_inside_or_is_refused(path: str) -> None:
    root = Path("/root/of/pod")
    try:
        found = inside(root, path, "mountPath")
    except ConfigError:
        return

    assert found.is_relative_to(root)
    assert ".." not in found.parts
    assert found != root


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0"])
def test_a_name_that_is_more_than_a_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        entry(tmp_path, name, "volume name")


def volumes(tmp_path: Path, *given_volumes: Object, mounts: tuple[Object, ...] = ()) -> Path:
    """Prepare a pod with these volumes, and return its container's root."""

    def lookup(kind: Kind, name: str) -> Object:
        if name == "absent":
            raise ConfigError("not found")
        return {"data": {"key": "value"}} if kind == CONFIG_MAP else {"data": {"key": "dmFsdWU="}}

    pod = {
        "metadata": {"namespace": "ns"},
        "spec": {"volumes": list(given_volumes), "containers": [{"name": "c", "volumeMounts": list(mounts)}]},
    }
    (tmp_path / "hosts").touch()
    folder = PodFolder(tmp_path / "pod", tmp_path / "hosts", lambda _, claim: tmp_path / claim)
    folder.prepare(pod, lookup)
    return folder.root("c")


def test_an_optional_config_map_that_is_absent_is_an_empty_folder(tmp_path: Path) -> None:
    root = volumes(tmp_path, {"name": "v", "configMap": {"name": "absent", "optional": True}}, mounts=({"name": "v", "mountPath": "/v"},))

    assert list((root / "v").iterdir()) == []


@pytest.mark.parametrize(
    "volume",
    [
        {"name": "v", "configMap": {"name": "absent"}},
        {"name": "v", "secret": {"secretName": "absent"}},
        {"name": "v", "persistentVolumeClaim": {"claimName": "absent"}},
        {"name": "v", "configMap": {"name": "c", "items": [{"key": "other", "path": "x"}]}},
        {"name": "v", "configMap": {"name": "c", "items": [{"key": "key", "path": "../x"}]}},
        {"name": "v", "image": {"reference": "x"}},
        {"name": "v", "hostPath": {"path": "/"}},
        {"name": "../v", "emptyDir": {}},
    ],
)
def test_a_volume_that_can_not_be_made_is_refused(tmp_path: Path, volume: Object) -> None:
    with pytest.raises(ConfigError):
        volumes(tmp_path, volume)


@pytest.mark.parametrize("paths", [("/v", "/v"), ("/v", "/v/w"), ("/v/w", "/v"), ("/etc", "/x"), ("/v", "//v")])
def test_mounts_that_meet_are_refused(tmp_path: Path, paths: tuple[str, str]) -> None:
    mounts = tuple({"name": "v", "mountPath": path} for path in paths)

    with pytest.raises(ConfigError):
        volumes(tmp_path, {"name": "v", "emptyDir": {}}, mounts=mounts)
    assert not list((tmp_path / "pod" / "volumes" / "v").iterdir())


def test_a_pod_names_what_its_volumes_and_variables_come_from() -> None:
    variable = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "k"}}}
    spec = {
        "volumes": [{"name": "a", "configMap": {"name": "c"}}, {"name": "b", "secret": {"secretName": "s"}}, {"name": "e", "emptyDir": {}}],
        "containers": [{"name": "main", "env": [variable, {"name": "Y", "value": "y"}]}],
    }

    assert {(kind.kind, name) for kind, name in references({"spec": spec})} == {("ConfigMap", "c"), ("Secret", "s"), ("Secret", "s2")}


def server(name: str, ip: str, phase: str = "Running", namespace: str = "ns", **metadata: object) -> Object:
    return {"metadata": {"name": name, "namespace": namespace, "labels": {"app": "x"}, **metadata}, "status": {"phase": phase, "podIP": ip}}


def test_a_service_is_the_running_pods_of_its_namespace_that_it_selects() -> None:
    service = {"metadata": {"name": "s", "namespace": "ns"}, "spec": {"selector": {"app": "x"}}}
    pods = [
        server("a", "127.0.0.2"),
        server("b", "127.0.0.3", "Pending"),
        server("c", "127.0.0.4", "Failed"),
        server("d", "127.0.0.5", namespace="other"),
        server("e", "127.0.0.6", deletionTimestamp="now"),
        server("f", "127.0.0.7", labels={"app": "y"}),
    ]
    lines = [line for line in hosts_text([service], pods).splitlines() if "s.ns.svc" in line]

    assert lines == ["127.0.0.2 s.ns.svc s.ns.svc.cluster.local"]


def test_a_service_without_a_selector_has_no_pods() -> None:
    assert "s.ns" not in hosts_text([{"metadata": {"name": "s", "namespace": "ns"}, "spec": {}}], [server("a", "127.0.0.2")])


def test_the_backoff_doubles_up_to_its_limit() -> None:
    assert [Backoff().seconds(restarts) for restarts in (0, 1, 2, 5, 100)] == [10, 20, 40, 300, 300]


def test_a_pod_is_ready_only_while_all_its_containers_run() -> None:
    pod = {"spec": {"containers": [{"name": "one"}, {"name": "two"}]}}
    state = new_state(pod, "127.0.0.2", "t0")
    state.phase = Phase.RUNNING

    def ready() -> tuple[str, str]:
        found = next(c for c in state.to_json("t9")["conditions"] if c["type"] == "Ready")
        return found["status"], found["lastTransitionTime"]

    seen = [ready()]
    state.containers["one"].run("t1")
    seen.append(ready())
    state.containers["two"].run("t2")
    seen.append(ready())
    state.containers["one"].end(terminated(0, "t1", "t3", ""))
    seen.append(ready())

    assert [status for status, _ in seen] == ["False", "False", "True", "False"]


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    state = new_state({"spec": {"containers": [{"name": "one"}]}}, "127.0.0.2", "t0")
    first = {c["type"]: c["lastTransitionTime"] for c in state.to_json("t1")["conditions"]}
    state.phase = Phase.RUNNING
    state.containers["one"].run("t2")
    second = {c["type"]: c["lastTransitionTime"] for c in state.to_json("t2")["conditions"]}

    assert first["PodScheduled"] == second["PodScheduled"] == "t1"
    assert (first["Ready"], second["Ready"]) == ("t1", "t2")


def test_restarts_are_counted_and_the_last_end_is_remembered() -> None:
    state = new_state({"spec": {"containers": [{"name": "one"}]}}, "", "t0").containers["one"]
    state.run("t1")
    state.end(terminated(1, "t1", "t2", "bye"))
    state.back_off("wait")
    waiting = state.to_json()
    state.run("t3")

    assert (waiting["restartCount"], waiting["state"]["waiting"]["reason"]) == (0, "CrashLoopBackOff")
    assert state.to_json()["restartCount"] == 1
    assert state.to_json()["lastState"]["terminated"]["message"] == "bye"
