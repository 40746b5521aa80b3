from __future__ import annotations

import signal
from pathlib import Path

import pytest
from tests.local.runner import Rig, container, once, python, rig, wait_for

from coterie_operator.cluster import CONFIG_MAP, POD, SECRET, SERVICE

pytestmark = pytest.mark.local


@pytest.fixture
async def node(tmp_path: Path):
    async with rig(tmp_path) as running:
        yield running


def status_of(pod, name="main", part="containerStatuses"):
    return next(status for status in pod["status"][part] if status["name"] == name)


def ended_of(pod, name="main", part="containerStatuses"):
    return status_of(pod, name, part)["state"]["terminated"]


async def test_a_pod_that_does_its_work_succeeds(node: Rig) -> None:
    await node.apply(once(container("echo hello")))
    pod = await node.ended()

    assert pod["status"]["phase"] == "Succeeded"
    assert (ended_of(pod)["exitCode"], ended_of(pod)["reason"]) == (0, "Completed")
    assert node.log() == "hello\n"


@pytest.mark.parametrize("status", [1, 64, 70, 255])
async def test_a_pod_that_fails_fails_with_its_exit_status(node: Rig, status: int) -> None:
    await node.apply(once(container(f"exit {status}")))
    pod = await node.ended()

    assert pod["status"]["phase"] == "Failed"
    assert (ended_of(pod)["exitCode"], ended_of(pod)["reason"]) == (status, "Error")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_signal_shows_as_128_and_its_number(node: Rig, number: signal.Signals) -> None:
    await node.apply(once(container(f"kill -{int(number)} $$$$")))

    assert ended_of(await node.ended())["exitCode"] == 128 + number


async def test_a_running_pod_says_so_and_is_ready(node: Rig) -> None:
    await node.apply(once(container("sleep 60")))
    pod = await node.phase("Running")

    assert {c["type"]: c["status"] for c in pod["status"]["conditions"]}["Ready"] == "True"
    assert pod["status"]["podIP"].startswith("127.")
    assert status_of(pod)["ready"] is True


async def test_pods_have_addresses_of_their_own(node: Rig) -> None:
    await node.apply(once(container("sleep 60")), "one")
    await node.apply(once(container("sleep 60")), "two")
    pods = [await node.phase("Running", name=name) for name in ("one", "two")]

    assert len({pod["status"]["podIP"] for pod in pods}) == 2


async def test_a_command_that_does_not_exist_can_not_start(node: Rig) -> None:
    await node.apply(once({"name": "main", "command": ["/no/such/program"]}))
    pod = await node.ended()

    assert (ended_of(pod)["exitCode"], ended_of(pod)["reason"]) == (128, "StartError")
    assert "/no/such/program" in ended_of(pod)["message"]


async def test_a_container_without_a_command_can_not_start(node: Rig) -> None:
    await node.apply(once({"name": "main", "image": "x"}))

    assert "no command specified" in ended_of(await node.ended())["message"]


async def test_pods_of_others_are_left_alone(node: Rig) -> None:
    await node.cluster.create(POD, {"metadata": {"name": "other", "namespace": "tenant"}, "spec": once(container("true"))})
    await node.apply(once(container("true")))
    await node.ended()

    assert (await node.cluster.get(POD, "tenant", "other"))["status"]["phase"] == "Pending"


# -- files, variables, names


async def test_the_last_word_is_read_from_the_termination_log(node: Rig) -> None:
    await node.apply(once(container('printf "all is well" > "$COTERIE_ROOT/dev/termination-log"; exit 3')))

    assert ended_of(await node.ended())["message"] == "all is well"


async def test_a_long_last_word_is_cut_at_4096_bytes(node: Rig) -> None:
    await node.apply(once(python("import os; open(os.environ['COTERIE_ROOT'] + '/dev/termination-log', 'w').write('x' * 10000)")))

    assert len(ended_of(await node.ended())["message"]) == 4096


async def test_a_last_word_that_is_a_link_is_not_followed(node: Rig, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("a secret of the machine")
    await node.apply(once(container(f'ln -sf {tmp_path}/private "$COTERIE_ROOT/dev/termination-log"')))

    assert "message" not in ended_of(await node.ended())


async def test_config_maps_and_secrets_are_files_at_their_mount_paths(node: Rig) -> None:
    await node.cluster.create(CONFIG_MAP, {"metadata": {"name": "c", "namespace": "tenant"}, "data": {"job.json": "{}", "more": "x"}})
    await node.cluster.create(SECRET, {"metadata": {"name": "s", "namespace": "tenant"}, "stringData": {"tls.key": "hush"}})
    volumes = [
        {"name": "c", "configMap": {"name": "c", "items": [{"key": "job.json", "path": "sub/job.json"}]}},
        {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
    ]
    mounts = [{"name": "c", "mountPath": "/etc/coterie/config"}, {"name": "s", "mountPath": "/etc/coterie/tls"}]
    script = 'cd "$COTERIE_ROOT/etc/coterie"; cat config/sub/job.json tls/tls.key; ls config; stat -Lc %a tls/tls.key'
    await node.apply(once(container(script, volumeMounts=mounts), volumes=volumes))
    await node.ended()

    assert node.log() == "{}hushsub\n400\n"


async def test_a_pod_waits_for_a_config_map_that_comes_later(node: Rig) -> None:
    mounts = [{"name": "c", "mountPath": "/c"}]
    spec = once(container('cat "$COTERIE_ROOT/c/k"', volumeMounts=mounts), volumes=[{"name": "c", "configMap": {"name": "late"}}])
    await node.apply(spec)

    async def says_so() -> bool:
        pod = await node.pod()
        return "late" in str(pod["status"].get("containerStatuses"))

    await wait_for(says_so, "the status names what is missing")
    assert (await node.pod())["status"]["phase"] == "Pending"
    await node.cluster.create(CONFIG_MAP, {"metadata": {"name": "late", "namespace": "tenant"}, "data": {"k": "v"}})
    await node.ended()
    assert node.log() == "v"


async def test_a_claim_outlives_its_pod_and_an_empty_dir_does_not(node: Rig) -> None:
    volumes = [{"name": "keep", "persistentVolumeClaim": {"claimName": "claim"}}, {"name": "lose", "emptyDir": {}}]
    mounts = [{"name": "keep", "mountPath": "/keep"}, {"name": "lose", "mountPath": "/lose"}]
    script = 'echo kept > "$COTERIE_ROOT/keep/file"; echo lost > "$COTERIE_ROOT/lose/file"; pwd -P'
    await node.apply(once(container(script, volumeMounts=mounts), volumes=volumes))
    await node.ended()

    async def is_removed() -> bool:
        return not Path(node.log().strip()).exists()

    await wait_for(is_removed, "the pod's folder goes with it")
    assert (node.claim("claim") / "file").read_text() == "kept\n"


async def test_containers_of_a_pod_share_an_empty_dir(node: Rig) -> None:
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    first = container('echo 42 > "$COTERIE_ROOT/shared/n"', "first", volumeMounts=mounts)
    second = container('cat "$COTERIE_ROOT/shared/n"', volumeMounts=mounts)
    await node.apply(once(second, initContainers=[first], volumes=[{"name": "shared", "emptyDir": {}}]))
    await node.ended()

    assert node.log() == "42\n"


async def test_variables_are_expanded_in_variables_and_arguments(node: Rig) -> None:
    env = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "WHERE", "value": "$(POD_IP):80 $(UNKNOWN) $$(POD_IP)"},
        {"name": "ROLE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['role']"}}},
    ]
    main = {"name": "main", "command": ["sh", "-c", 'echo "$0" "$WHERE" "$ROLE"'], "args": ["--host=$(POD_IP)"], "env": env}
    await node.apply(once(main), labels={"role": "client"})
    pod = await node.ended()
    ip = pod["status"]["podIP"]

    assert node.log() == f"--host={ip} {ip}:80 $(UNKNOWN) $(POD_IP) client\n"


async def test_variables_come_from_secrets_and_config_maps(node: Rig) -> None:
    await node.cluster.create(SECRET, {"metadata": {"name": "s", "namespace": "tenant"}, "stringData": {"k": "hush"}})
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    await node.apply(once(container('echo "$A"', env=env)))
    await node.ended()

    assert node.log() == "hush\n"


async def test_nothing_of_the_runners_environment_is_seen(node: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNERS_TOKEN", "hush")
    await node.apply(once(container('echo "[$RUNNERS_TOKEN]"')))
    await node.ended()

    assert node.log() == "[]\n"


async def test_the_hosts_file_names_the_pods_of_a_service(node: Rig) -> None:
    spec = {"selector": {"role": "aggregator"}, "clusterIP": "None"}
    await node.cluster.create(SERVICE, {"metadata": {"name": "agg", "namespace": "tenant"}, "spec": spec})
    await node.apply(once(container("sleep 60")), "agg", labels={"role": "aggregator"})
    server = await node.phase("Running", name="agg")
    await node.apply(once(container('until grep agg "$COTERIE_ROOT/etc/hosts"; do sleep 0.05; done')))
    await node.ended()

    assert node.log().split()[:2] == [server["status"]["podIP"], "agg.tenant.svc"]


HOSTILE = {
    "a mount path with dots": {"volumeMounts": [{"name": "v", "mountPath": "/../../escaped"}]},
    "a mount path that is the root": {"volumeMounts": [{"name": "v", "mountPath": "/"}]},
    "a sub path with dots": {"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "../../.."}]},
    "a container name with slashes": {"name": "../../escaped"},
    "a termination log with dots": {"terminationMessagePath": "/../../../escaped"},
    "a mount inside another": {"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v/w"}]},
}


@pytest.mark.parametrize("parts", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_pod_runs_nothing_and_writes_nothing_outside(node: Rig, tmp_path: Path, parts) -> None:
    main = {**container(f"touch {tmp_path}/escaped"), **parts}
    await node.apply(once(main, volumes=[{"name": "v", "emptyDir": {}}]))

    async def is_refused() -> bool:
        pod = await node.pod()
        return "found" in str(pod["status"]) or "mount" in str(pod["status"])

    await wait_for(is_refused, "the pod says why it can't run")
    assert not list(tmp_path.rglob("escaped*"))


@pytest.mark.parametrize("volume", [{"name": "../v", "emptyDir": {}}, {"name": "v", "hostPath": {"path": "/etc"}}])
async def test_a_volume_that_leads_outside_is_refused(node: Rig, volume) -> None:
    await node.apply(once(container("true"), volumes=[volume]))

    async def is_refused() -> bool:
        return "volume" in str((await node.pod())["status"].get("containerStatuses"))

    await wait_for(is_refused, "the pod says why it can't run")
    assert (await node.pod())["status"]["phase"] == "Pending"


# -- init containers, sidecars, restarts


async def test_init_containers_run_in_order_before_the_main_one(node: Rig) -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    init = [container(f'echo {name} >> "$COTERIE_ROOT/v/order"', name, volumeMounts=mounts) for name in ("a", "b")]
    main = container('cat "$COTERIE_ROOT/v/order"', volumeMounts=mounts)
    await node.apply(once(main, initContainers=init, volumes=[{"name": "v", "emptyDir": {}}]))
    pod = await node.ended()

    assert node.log() == "a\nb\n"
    assert [status["ready"] for status in pod["status"]["initContainerStatuses"]] == [True, True]


async def test_a_failed_init_container_fails_the_pod_before_its_work(node: Rig) -> None:
    await node.apply(once(container("echo worked"), initContainers=[container("exit 64", "init")]))
    pod = await node.ended()

    assert pod["status"]["phase"] == "Failed"
    assert ended_of(pod, "init", "initContainerStatuses")["exitCode"] == 64
    assert "waiting" in status_of(pod)["state"] or ended_of(pod)["reason"] == "ContainerStatusUnknown"
    assert not (node.folder / "logs" / "tenant_one" / "main.0.log").exists()


async def test_a_sidecar_runs_beside_the_main_container_and_ends_after_it(node: Rig) -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    side = container(
        'trap "echo ended; exit 0" TERM; touch "$COTERIE_ROOT/v/up"; while :; do sleep 0.05; done', "side", volumeMounts=mounts
    )
    main = container('until [ -e "$COTERIE_ROOT/v/up" ]; do sleep 0.02; done', volumeMounts=mounts)
    await node.apply(once(main, initContainers=[{**side, "restartPolicy": "Always"}], volumes=[{"name": "v", "emptyDir": {}}]))
    pod = await node.ended()

    assert pod["status"]["phase"] == "Succeeded"
    assert node.log("side") == "ended\n"


async def test_a_sidecar_that_ends_is_started_again_and_never_fails_the_pod(node: Rig) -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    side = container('echo x >> "$COTERIE_ROOT/v/starts"; exit 1', "side", volumeMounts=mounts)
    main = container('until [ "$(wc -l < "$COTERIE_ROOT/v/starts")" -ge 3 ]; do sleep 0.02; done', volumeMounts=mounts)
    await node.apply(once(main, initContainers=[{**side, "restartPolicy": "Always"}], volumes=[{"name": "v", "emptyDir": {}}]))
    pod = await node.ended()

    assert pod["status"]["phase"] == "Succeeded"
    assert status_of(pod, "side", "initContainerStatuses")["restartCount"] >= 2


async def test_a_container_is_restarted_on_failure_until_it_succeeds(node: Rig) -> None:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "claim"}}]
    script = 'cd "$COTERIE_ROOT/v"; echo x >> starts; [ "$(wc -l < starts)" -ge 3 ]'
    main = container(script, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    await node.apply({**once(main, volumes=volumes), "restartPolicy": "OnFailure"})
    pod = await node.ended()

    assert pod["status"]["phase"] == "Succeeded"
    assert status_of(pod)["restartCount"] == 2
    assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 1


# -- ends


async def test_a_deleted_pod_gets_sigterm_and_its_grace(node: Rig) -> None:
    await node.apply(
        once(container('trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.05; done')), finalizers=["example.com/hold"]
    )
    await node.phase("Running")

    async def is_up() -> bool:
        return node.log() == "up\n"

    await wait_for(is_up, "the container has set its trap")
    await node.cluster.delete(POD, "tenant", "one")
    pod = await node.ended()

    assert node.log() == "up\nbye\n"
    assert pod["metadata"]["deletionTimestamp"]
    assert ended_of(pod)["exitCode"] == 0


async def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace(node: Rig) -> None:
    spec = {**once(container('trap "" TERM; while :; do sleep 0.05; done')), "terminationGracePeriodSeconds": 0.2}
    await node.apply(spec, finalizers=["example.com/hold"])
    await node.phase("Running")
    await node.cluster.delete(POD, "tenant", "one")
    pod = await node.ended()

    assert ended_of(pod)["exitCode"] == 137
    assert pod["status"]["phase"] == "Failed"


async def test_a_deleted_pod_is_gone_and_its_processes_too(node: Rig) -> None:
    await node.apply(once(container("echo $$$$; exec sleep 60")))
    await node.phase("Running")

    async def pid() -> int:
        return int(node.log() or 0)

    number = await wait_for(pid, "the container has started")
    await node.cluster.delete(POD, "tenant", "one")

    async def is_gone() -> bool:
        return await node.pod() is None and not Path(f"/proc/{number}").exists()

    await wait_for(is_gone, "pod and process are gone")


async def test_what_a_container_leaves_behind_ends_with_it(node: Rig) -> None:
    await node.apply(once(container("sleep 60 & echo $!")))
    await node.ended()
    number = int(node.log())

    async def is_gone() -> bool:
        return not Path(f"/proc/{number}").exists()

    await wait_for(is_gone, "the child of the container is gone")


async def test_a_pod_that_ran_under_another_runner_is_lost(node: Rig) -> None:
    pod = {"metadata": {"name": "one", "namespace": "tenant"}, "spec": once(container("true"))}
    await node.cluster.create(POD, pod)
    await node.cluster.patch(POD, "tenant", "one", {"status": {"phase": "Running"}}, status=True)
    await node.cluster.patch(POD, "tenant", "one", {"metadata": {"labels": dict(node.kubelet.labels)}})
    ended = await node.ended()

    assert (ended_of(ended)["exitCode"], ended_of(ended)["reason"]) == (137, "ContainerStatusUnknown")
