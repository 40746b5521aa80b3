"""The only room that knows gRPC: TLS, authentication, streams, chunks. Shells see typed messages."""

from __future__ import annotations

import coterie_worker.transport.tls13  # noqa: F401  # isort: skip  # before anything imports gRPC
from coterie_worker.transport.auth import Admission
from coterie_worker.transport.client import Connection, Credential, Incoming, Peer
from coterie_worker.transport.limits import Limits, control_bytes
from coterie_worker.transport.messages import (
    Control,
    Dropped,
    Event,
    Finished,
    Greeting,
    Joined,
    Left,
    Message,
    Note,
    Received,
    Reset,
    TransportError,
    Vector,
    VectorKind,
    initial_hash,
    model_hash,
)
from coterie_worker.transport.server import RoundsServer
from coterie_worker.transport.tls import OPERATOR_URI, ServerCertificate, role_uri

__all__ = [
    "OPERATOR_URI",
    "Admission",
    "Connection",
    "Control",
    "Credential",
    "Dropped",
    "Event",
    "Finished",
    "Greeting",
    "Incoming",
    "Joined",
    "Left",
    "Limits",
    "Message",
    "Note",
    "Peer",
    "Received",
    "Reset",
    "RoundsServer",
    "ServerCertificate",
    "TransportError",
    "Vector",
    "VectorKind",
    "control_bytes",
    "initial_hash",
    "model_hash",
    "role_uri",
]
