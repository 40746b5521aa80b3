"""Numbers that the aggregator chooses and the client's shell would act upon."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from coterie_api.fields import canonical
from coterie_api.names import FILE_JOB, FILE_ROLE, PATH_CONFIG, PATH_IDENTITY, PATH_TLS
from coterie_api.pinned import pin
from coterie_api.podconfig import Aggregation, ClientRole, JobConfig, RosterEntry, TenantPolicy
from coterie_api.v1alpha1.types import Evaluation, Strategy, Task, Training
from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.client.shell import Client, log
from coterie_worker.client.state import SlotRecord
from coterie_worker.client.work import Withdrawn
from coterie_worker.config import Pod
from coterie_worker.secagg import ClientStage
from coterie_worker.secagg.messages import EpochStart, encode_message
from coterie_worker.transport import Finished, Vector, VectorKind, frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUNDS = 5
KEYS = [Ed25519PrivateKey.generate() for _ in range(3)]


def client(folder: Path, record: SlotRecord, *, pinned: TenantPolicy | None = None) -> Client:
    """The shell of one client, on no network."""
    roster = tuple(RosterEntry(f"t{i}", "d", base64.b64encode(key.public_key().public_bytes_raw()).decode()) for i, key in enumerate(KEYS))
    job = JobConfig(
        "uid",
        "ns",
        "job",
        ROUNDS,
        7,
        Task("a:B"),
        Training(),
        Strategy(),
        Aggregation("SecAggPlus", 3, 0, 3),
        roster,
        3,
        60,
        60,
        Evaluation(),
    )
    pem = KEYS[0].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files = {
        f"{PATH_CONFIG}/{FILE_JOB}": canonical(job),
        f"{PATH_CONFIG}/{FILE_ROLE}": canonical(ClientRole(0, "a.ns.svc", TenantPolicy(), has_state=True)),
        f"{PATH_IDENTITY}/private.pem": pem if pinned is None else pin(pem, pinned),
        f"{PATH_TLS}/ca.crt": b"",
    }
    for path, content in files.items():
        place = folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    pod = Pod(folder)
    found, spec_hash = pod.job()
    return Client(pod, found, spec_hash, pod.role(ClientRole), record)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[SlotRecord]:
    (tmp_path / "state").mkdir()
    with SlotRecord(tmp_path / "state") as made:
        yield made


@pytest.mark.parametrize(("version", "is_taken"), [(0, True), (ROUNDS - 1, True), (ROUNDS, False), (2**63, False), (2**64 - 1, False)])
async def test_a_model_of_a_round_that_the_job_does_not_have_is_not_trained(
    tmp_path: Path, record: SlotRecord, version: int, is_taken: bool
) -> None:
    shell = client(tmp_path, record)

    await shell._take_model(Vector(VectorKind.PARAMETERS, version, np.zeros(4, np.float32)))

    assert (shell._model is not None) is is_taken


@pytest.mark.parametrize(
    "payload", [b"", b"\x80", b"\x83\x01\x09\x00", b"\xff" * 40, encode_message(EpochStart(2, 3)), encode_message(EpochStart(2, 3)) + b"x"]
)
async def test_a_message_that_is_none_or_goes_back_is_refused_and_the_client_goes_on(
    tmp_path: Path, record: SlotRecord, payload: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    record.use("uid", 3)
    said: list[str] = []
    monkeypatch.setattr(log, "warning", lambda text, *_: said.append(text))
    shell = client(tmp_path, record)
    await shell._take_control(encode_message(EpochStart(1, 4)))
    await shell._take_control(payload)
    assert said == ["refused a message of the aggregator: %s: %s"]

    await shell._take_control(encode_message(EpochStart(3, 4)))

    assert shell._epoch is not None
    assert shell._epoch.stage is ClientStage.ADVERTISED


def test_the_last_word_of_an_aggregator_is_short_and_printable() -> None:
    message = frames.decode(pb.Frame(finished=pb.Finished(reason="x\n\x1b[31m" * 1000)))

    assert isinstance(message, Finished)
    assert len(message.reason) <= 256
    assert message.reason.isprintable()


def test_a_pinned_policy_is_checked_before_each_epoch(tmp_path: Path, record: SlotRecord) -> None:
    with pytest.raises(Withdrawn, match="least survivors: 3, the policy pinned beside the tenant's key requires 4"):
        client(tmp_path, record, pinned=TenantPolicy(min_clients=4))._new_epoch()

    assert client(tmp_path, record, pinned=TenantPolicy(min_clients=3))._new_epoch().index == 0
