from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from tests.cluster import components, configuration, layout
from tests.cluster.layout import FolderTooLongError, Layout

PLACE = Layout(Path("/srv/cluster"))
CREDENTIALS = [PLACE.credentials / name for name in ("ca.crt", "server.crt", "server.key")]
FILES = configuration.files(PLACE, *CREDENTIALS)
FOREIGN = {"/etc/resolv.conf", str(layout.CNI_BINARIES)}  # read, never written
LIMIT = 107  # bytes of the path of a Unix socket


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_lies_below_the_clusters_folder_and_so_does_all_it_names(path: Path) -> None:
    named = set(re.findall(r"(?:^|[\s\"'])(?:unix://)?(/[\w./-]{2,})", FILES[path], re.MULTILINE))

    assert path.is_relative_to(PLACE.folder)
    assert [name for name in named - FOREIGN if not Path(name).is_relative_to(PLACE.folder)] == []


def test_containerds_configuration_is_toml_with_the_pause_image_pinned() -> None:
    plugins = tomllib.loads(FILES[PLACE.configuration / "containerd.toml"])["plugins"]

    assert plugins["io.containerd.cri.v1.images"]["pinned_images"] == {"sandbox": layout.PAUSE_IMAGE}
    assert plugins["io.containerd.cri.v1.runtime"]["restrict_oom_score_adj"] is True


def test_the_default_folder_leaves_room_for_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COTERIE_CLUSTER_FOLDER", raising=False)

    assert len(f"{Layout.default().containerd_socket}.ttrpc") <= LIMIT


def test_a_folder_with_too_long_a_path_is_refused_by_name() -> None:
    longest = LIMIT - len("/shims/") - 64

    assert Layout.within(Path("/" + "f" * (longest - 1)))
    with pytest.raises(FolderTooLongError, match=r"/fff\S* has 1 bytes too many"):
        Layout.within(Path("/" + "f" * longest))


def test_the_kubelet_lets_nobody_in_unasked() -> None:
    kubelet = json.loads(FILES[PLACE.configuration / "kubelet.yaml"])

    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert kubelet["authorization"] == {"mode": "Webhook"}


def test_the_audit_log_has_each_request_once_and_no_content() -> None:
    (rule,) = configuration.audit_policy()["rules"]

    assert rule == {"level": "Metadata", "omitStages": ["RequestReceived"]}


def test_the_name_server_changes_nothing_and_the_provisioner_only_volumes() -> None:
    roles = {each["metadata"]["name"]: each["rules"] for each in components.objects() if each["kind"] == "ClusterRole"}
    changes = {
        (name, resource)
        for name, rules in roles.items()
        for rule in rules
        for resource in rule["resources"]
        if set(rule["verbs"]) - {"get", "list", "watch"}
    }

    assert changes == {("tests:volumes", "persistentvolumes")}


def test_the_storage_class_waits_for_the_first_pod() -> None:
    (storage,) = (each for each in components.objects() if each["kind"] == "StorageClass")

    assert storage["volumeBindingMode"] == "WaitForFirstConsumer"
    assert storage["reclaimPolicy"] == "Delete"
    assert storage["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
